//! [`Options`], and what becomes of the URL.

use std::path::PathBuf;
use std::time::Duration;

use mysql_async::{Opts, OptsBuilder, PoolConstraints, PoolOpts};

use crate::OpenError;

/// How a [`MysqlStore`](crate::MysqlStore) behaves. Start from `default()` and change fields.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// Connections for units of work. Default 16.
    pub write_connections: u32,
    /// Connections for reads. Default 16.
    pub read_connections: u32,
    /// Requests that wait for a connection, of each kind; one more is refused as overloaded. Default 4 096.
    pub max_waiting: u32,
    /// Longest time for one request, waits included. Default 5 s.
    pub deadline: Duration,
    /// Serve from a server that may lose or take back what it acknowledged; it is warned about. Default false.
    pub allow_unsafe_durability: bool,
    /// Demand TLS, with a certificate of the authorities in this PEM file and no others. Needs the feature `tls`. Default none: the URL
    /// decides.
    pub ca_file: Option<PathBuf>,
    /// Bring the schema up to date when opening. Otherwise an old one is refused. Default true.
    pub migrate: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            write_connections: 16,
            read_connections: 16,
            max_waiting: 4096,
            deadline: Duration::from_secs(5),
            allow_unsafe_durability: false,
            ca_file: None,
            migrate: true,
        }
    }
}

/// How long connections may be silent.
struct Silence {
    /// Unused connections are closed after so long: before the server does it, and before firewalls forget them.
    unused: Duration,
    /// The server ends sessions that were silent for so many seconds; those of a frozen node too, with the locks that they hold.
    session: u32,
}

const MARIADB: Silence = Silence {
    unused: Duration::from_secs(30),
    session: 60,
};
/// It cannot end a silent transaction alone.
const MYSQL: Silence = Silence {
    unused: Duration::from_secs(5),
    session: 10,
};
/// Longest wait for another transaction's lock, in seconds; less than the deadline.
const LOCK_WAIT: u32 = 3;
/// Seconds after which MariaDB ends a transaction whose node says nothing, whether it has written yet or only locked, so that a
/// frozen node frees its locks.
const IDLE_TRANSACTION: u32 = 3;
/// Prepared statements kept for each connection: more than there are texts.
const STATEMENTS: usize = 128;

/// What the driver is told. `is_mariadb`: what the server turned out to be.
pub(crate) fn driver(url: &str, options: &Options, is_mariadb: bool) -> Result<Opts, OpenError> {
    let opts = Opts::from_url(url).map_err(|error| OpenError::Url(error.to_string()))?;
    if opts.db_name().is_none_or(str::is_empty) {
        return Err(OpenError::Url("it names no database".to_owned()));
    }
    let silence = if is_mariadb { MARIADB } else { MYSQL };
    let mut setup = vec![
        "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED".to_owned(),
        format!(
            "SET SESSION innodb_lock_wait_timeout = {LOCK_WAIT}, wait_timeout = {}",
            silence.session
        ),
        "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'".to_owned(),
    ];
    if is_mariadb {
        setup.push(format!(
            "SET SESSION idle_transaction_timeout = {IDLE_TRANSACTION}, idle_write_transaction_timeout = {IDLE_TRANSACTION}"
        ));
    }
    let most = options.write_connections.saturating_add(options.read_connections) as usize;
    let constraints = PoolConstraints::new(0, most.max(1)).expect("0 is not more than the most");
    let pool = PoolOpts::default()
        .with_constraints(constraints)
        .with_inactive_connection_ttl(silence.unused)
        .with_ttl_check_interval(silence.unused)
        // Would forget prepared statements and the session's settings. Connections that were cut short are closed instead.
        .with_reset_connection(false);
    let builder = OptsBuilder::from_opts(opts)
        .pool_opts(pool)
        .init(setup)
        .prefer_socket(false)
        .tcp_nodelay(true)
        .client_found_rows(true)
        .stmt_cache_size(STATEMENTS);
    Ok(encrypted(builder, options)?.into())
}

#[cfg(feature = "tls")]
fn encrypted(builder: OptsBuilder, options: &Options) -> Result<OptsBuilder, OpenError> {
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
fn encrypted(builder: OptsBuilder, options: &Options) -> Result<OptsBuilder, OpenError> {
    if options.ca_file.is_some() {
        return Err(OpenError::Url(
            "this program was built without TLS to the database".to_owned(),
        ));
    }
    Ok(builder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_url_is_refused_without_repeating_it() {
        for url in [
            "",
            "postgres://u:hunter2@h/db",
            "mysql://u:hunter2@h:99999/db",
            "mysql://u:hunter2@h",
        ] {
            let error = driver(url, &Options::default(), true).unwrap_err();
            assert!(matches!(error, OpenError::Url(_)), "{url}");
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
        }
    }
}
