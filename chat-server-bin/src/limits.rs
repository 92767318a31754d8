//! The number of connections that the limit of open files allows.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::{CheckedConfig, StoreUrl};
use crate::failure::Failure;

/// File descriptors for the SQLite store, the log and the runtime (21 in an idle server), and a
/// reserve.
const BASE_FILES: u64 = 48;
/// File descriptors per listener: its socket, and a reserve to refuse connections when no other
/// descriptor is left.
const FILES_PER_LISTENER: u64 = 2;
/// File descriptors for connections to Redis.
const BUS_FILES: u64 = 8;
/// The server does not start if the limit of open files allows fewer connections than this, unless
/// it allows the configured number.
const MIN_CONNECTIONS: u32 = 8;
/// A server without `limits.max_connections` logs a warning if it can have fewer connections.
const FEW_CONNECTIONS: u32 = 500;

/// Advice about the limit of open files. It is so short that the log, which truncates long values,
/// shows it whole at the end of the warning.
const ADVICE: &str =
    "raise it with `ulimit -n 65536`, LimitNOFILE=65536 (systemd) or --ulimit nofile=65536 (container)";

/// Returns the maximum number of connections: the number that the limit of open files allows, or
/// the configured number if that is lower. First raises the limit of open files. Logs a warning if
/// the limit allows fewer connections than configured or, without a configured number, fewer than
/// [`FEW_CONNECTIONS`].
///
/// # Errors
/// The limit of open files allows fewer than [`MIN_CONNECTIONS`] and, if a number is configured,
/// fewer than that.
pub(crate) fn max_connections(config: &CheckedConfig) -> Result<u32, Failure> {
    let open_files = raise_open_files();
    let capacity = Capacity::new(config.settings.limits.max_connections, open_files, own_files(config));
    let (connections, open_files) = (capacity.connections(), open_files.unwrap_or(u64::MAX));
    match capacity {
        Capacity::Enough(_) => tracing::debug!(connections, open_files, "maximum number of connections"),
        Capacity::Low(_) => {
            tracing::warn!(
                connections,
                open_files,
                "the limit of open files allows only this number of connections, and the server will refuse more; {ADVICE}"
            );
        }
        Capacity::Insufficient(_) => {
            return Err(Failure::Unavailable(format!(
                "the limit of {open_files} open files allows only {connections} connections; {ADVICE}"
            )));
        }
    }
    Ok(connections)
}

/// Raises the soft limit of open files to the hard limit, and returns the limit then in force.
/// Returns `None` if it is unlimited.
fn raise_open_files() -> Option<u64> {
    let before = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: before.maximum,
        maximum: before.maximum,
    };
    if before.current != before.maximum
        && let Err(error) = setrlimit(Resource::Nofile, raised)
    {
        tracing::warn!(%error, limit = before.current, "cannot raise the limit of open files");
    }
    getrlimit(Resource::Nofile).current
}

/// Returns the number of file descriptors that this server needs besides client connections.
fn own_files(config: &CheckedConfig) -> u64 {
    let settings = &config.settings;
    let listeners = u64::try_from(config.listen.len()).unwrap_or(u64::MAX);
    let store = match config.store {
        StoreUrl::Sqlite(_) => 0,
        StoreUrl::Mysql(_) => u64::from(settings.store.max_connections),
    };
    let bus = if settings.bus.url.is_empty() { 0 } else { BUS_FILES };
    BASE_FILES
        .saturating_add(listeners.saturating_mul(FILES_PER_LISTENER))
        .saturating_add(store)
        .saturating_add(bus)
}

/// Maximum number of connections, and whether the limit of open files allows enough of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Capacity {
    /// The configured number; without one, at least [`FEW_CONNECTIONS`].
    Enough(u32),
    /// Fewer than the configured number; without one, fewer than [`FEW_CONNECTIONS`].
    Low(u32),
    /// Fewer than [`MIN_CONNECTIONS`] and, if a number is configured, fewer than that.
    Insufficient(u32),
}

impl Capacity {
    /// Computes the capacity. `configured` is `limits.max_connections`; 0 means as many as
    /// possible.
    fn new(configured: u32, open_files: Option<u64>, own_files: u64) -> Self {
        let max = open_files.map_or(u32::MAX, |files| {
            u32::try_from(files.saturating_sub(own_files)).unwrap_or(u32::MAX)
        });
        match configured {
            configured if configured != 0 && configured <= max => Self::Enough(configured),
            _ if max < MIN_CONNECTIONS => Self::Insufficient(max),
            0 if max >= FEW_CONNECTIONS => Self::Enough(max),
            _ => Self::Low(max),
        }
    }

    const fn connections(self) -> u32 {
        match self {
            Self::Enough(connections) | Self::Low(connections) | Self::Insufficient(connections) => connections,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capacity_is_bounded_by_configuration_and_open_files() {
        for (configured, open_files, expected) in [
            (0, Some(1024), Capacity::Enough(974)),
            (500, Some(1024), Capacity::Enough(500)),
            (0, None, Capacity::Enough(u32::MAX)),
            (5, None, Capacity::Enough(5)),
            (3, Some(64), Capacity::Enough(3)),
            (5000, Some(1024), Capacity::Low(974)),
            (0, Some(256), Capacity::Low(206)),
            (0, Some(64), Capacity::Low(14)),
            (100, Some(64), Capacity::Low(14)),
            (0, Some(57), Capacity::Insufficient(7)),
            (3, Some(50), Capacity::Insufficient(0)),
            (0, Some(10), Capacity::Insufficient(0)),
        ] {
            assert_eq!(
                Capacity::new(configured, open_files, BASE_FILES + FILES_PER_LISTENER),
                expected,
                "{configured} {open_files:?}"
            );
        }
    }
}
