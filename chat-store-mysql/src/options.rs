//! [`Options`], and the options of the driver that follow from them and the URL.

use std::path::PathBuf;
use std::time::Duration;

use mysql_async::{Opts, OptsBuilder, PoolConstraints, PoolOpts};

use crate::OpenError;

/// Options of a [`MysqlStore`](crate::MysqlStore). Start from `default()` and change fields.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// Maximum number of connections for writes: units of work, and moves of cursors and read
    /// marks. 0 counts as 1. Default 16.
    pub write_connections: u32,
    /// Maximum number of connections for reads and heartbeats. 0 counts as 1. Default 16.
    pub read_connections: u32,
    /// Maximum number of reads and heartbeats that wait for a connection, and separately of writes
    /// that wait. Further requests fail with
    /// [`StoreError::Overloaded`](chat_core::store::StoreError::Overloaded). Default 4096.
    pub max_waiting: u32,
    /// Maximum duration of one request, waits included, and of the first connection attempt when
    /// opening. Migrations may take longer. Default 5 s.
    pub request_timeout: Duration,
    /// Accepts a server whose settings may lose acknowledged commits, with a warning in the log.
    /// Default false.
    pub allow_unsafe_durability: bool,
    /// PEM file of CA certificates. If set, connections require TLS with a server certificate
    /// that one of these authorities issued. Needs the feature `tls`. Default none; then the URL
    /// decides whether connections use TLS.
    pub ca_file: Option<PathBuf>,
    /// If true, opening brings the schema up to date. If false, opening fails if the schema is old
    /// or the database is empty. Default true.
    pub migrate: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            write_connections: 16,
            read_connections: 16,
            max_waiting: 4096,
            request_timeout: Duration::from_secs(5),
            allow_unsafe_durability: false,
            ca_file: None,
            migrate: true,
        }
    }
}

/// Maximum idle times of connections.
struct IdleTimeouts {
    /// Time without use after which the next check of the pool closes a connection. The checks are
    /// this time apart, so a connection is closed within twice this time, which must not exceed
    /// `session_s`, and before a firewall drops it.
    unused: Duration,
    /// Time in seconds after which the server ends an idle session and releases its locks, for
    /// example the session of a frozen node.
    session_s: u32,
}

const MARIADB: IdleTimeouts = IdleTimeouts {
    unused: Duration::from_secs(30),
    session_s: 60,
};
/// MySQL has no timeout for idle transactions, so the end of the session has to release locks.
const MYSQL: IdleTimeouts = IdleTimeouts {
    unused: Duration::from_secs(5),
    session_s: 10,
};
/// Maximum wait for a lock of another transaction, in seconds. Less than the default request
/// timeout, so that the rest of that time is left to run the transaction again.
const LOCK_WAIT_TIMEOUT_S: u32 = 3;
/// Time in seconds after which MariaDB ends an idle transaction, whether it has written or only
/// locked, so that a frozen node releases its locks.
const IDLE_TRANSACTION_TIMEOUT_S: u32 = 3;
/// Maximum number of prepared statements kept for each connection. This crate has fewer, not
/// counting statements that concern feeds and have ids of conversations in their text.
const MAX_STATEMENTS: usize = 128;

/// Returns the options of the driver. Reads the file of CA certificates, if there is one.
/// `is_mariadb` is true if the server is known to be MariaDB.
pub(crate) fn driver_options(url: &str, options: &Options, is_mariadb: bool) -> Result<Opts, OpenError> {
    if has_unescaped_credentials(url) {
        let text = "in the user and the password, write / as %2F, ? as %3F, # as %23 and @ as %40; write @ as %40 in \
                    the rest of the URL too";
        return Err(OpenError::Url(text.to_owned()));
    }
    let opts = Opts::from_url(url).map_err(|error| OpenError::Url(error.to_string()))?;
    if opts.db_name().is_none_or(str::is_empty) {
        return Err(OpenError::Url("the URL names no database".to_owned()));
    }
    let timeouts = if is_mariadb { MARIADB } else { MYSQL };
    let mut setup = vec![
        "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED".to_owned(),
        format!(
            "SET SESSION innodb_lock_wait_timeout = {LOCK_WAIT_TIMEOUT_S}, wait_timeout = {}",
            timeouts.session_s
        ),
        "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'".to_owned(),
    ];
    if is_mariadb {
        setup.push(format!(
            "SET SESSION idle_transaction_timeout = {IDLE_TRANSACTION_TIMEOUT_S}, idle_write_transaction_timeout = {IDLE_TRANSACTION_TIMEOUT_S}"
        ));
    }
    // As many as the gates of writes and reads admit.
    let [writes, reads] = [options.write_connections, options.read_connections].map(|count| count.max(1));
    let max_connections = writes.saturating_add(reads) as usize;
    let constraints = PoolConstraints::new(0, max_connections).expect("the minimum 0 is not above the maximum");
    let pool = PoolOpts::default()
        .with_constraints(constraints)
        .with_inactive_connection_ttl(timeouts.unused)
        .with_ttl_check_interval(timeouts.unused)
        // A reset of each returned connection would lose its prepared statements and the settings
        // of its session. It is not needed: the driver does not reuse a connection whose request
        // was interrupted before the answer began, and otherwise reads the rest of the answer.
        .with_reset_connection(false);
    let builder = OptsBuilder::from_opts(opts)
        .pool_opts(pool)
        .init(setup)
        .prefer_socket(false)
        .tcp_nodelay(true)
        // An UPDATE then counts the rows that it matches, not only those that it changes.
        .client_found_rows(true)
        .stmt_cache_size(MAX_STATEMENTS);
    Ok(with_tls(builder, options)?.into())
}

/// Returns whether an `@` follows the first `/`, `?` or `#` after `://`. The user or the password
/// then probably contains one of these characters, and the text before it would be taken for the
/// host.
fn has_unescaped_credentials(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    rest[authority_end..].contains('@')
}

#[cfg(feature = "tls")]
fn with_tls(builder: OptsBuilder, options: &Options) -> Result<OptsBuilder, OpenError> {
    let Some(file) = &options.ca_file else {
        return Ok(builder);
    };
    let authorities = std::fs::read(file).map_err(|error| OpenError::Authorities {
        file: file.clone(),
        source: error,
    })?;
    let tls = mysql_async::SslOpts::default()
        .with_root_certs(vec![authorities.into()])
        .with_disable_built_in_roots(true);
    Ok(builder.ssl_opts(tls))
}

#[cfg(not(feature = "tls"))]
fn with_tls(builder: OptsBuilder, options: &Options) -> Result<OptsBuilder, OpenError> {
    if options.ca_file.is_some() {
        return Err(OpenError::NoTls);
    }
    Ok(builder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_url_is_rejected_without_repeating_its_password() {
        for url in [
            "",
            "postgres://u:hunter2@h/db",
            "mysql://u:hunter2@h:99999/db",
            "mysql://u:hunter2@h",
            "mysql://u:S@e/hunter2@h/db",
            "mysql://u:12?hunter2@h/db",
        ] {
            let error = driver_options(url, &Options::default(), true).unwrap_err();
            assert!(matches!(error, OpenError::Url(_)), "{url}");
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
        }
    }
}
