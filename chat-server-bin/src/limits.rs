//! How many connections the operating system lets this process have.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::{Checked, StoreUrl};
use crate::failure::Failure;

/// Files that are not connections: store, log, listeners, the runtime's own (21 of an idle server), and some to spare.
const OWN: u64 = 48;
/// For each port: its socket, and the file kept to turn people away with when there is no other.
const PER_LISTENER: u64 = 2;
/// Connections to Redis.
const BUS: u64 = 8;
/// A server with less room than this is of use to nobody.
const LEAST: u32 = 8;
/// With less room than this, and no limit of their own, operators will want to know.
const SCARCE: u32 = 500;

const ADVICE: &str = "raise the limit of open files: `ulimit -n 65536` in the shell that starts the server, LimitNOFILE=65536 in a systemd unit, --ulimit nofile=65536 for a container";

/// How many connections there may be: what is configured, or as many as the limit of open files, which it raises, has room for.
/// Warns if that is less than operators expect.
///
/// # Errors
/// There is hardly room for any.
pub(crate) fn connections(config: &Checked) -> Result<u32, Failure> {
    let open_files = raise_open_files();
    let room = Room::new(config.settings.limits.max_connections, open_files, own_files(config));
    let (connections, open_files) = (room.connections(), open_files.unwrap_or(u64::MAX));
    match room {
        Room::Enough(_) => tracing::debug!(connections, open_files, "room for connections"),
        Room::Scarce(_) => {
            tracing::warn!(
                connections,
                open_files,
                "room for few connections, more will be refused; {ADVICE}"
            );
        }
        Room::TooLittle(_) => {
            return Err(Failure::Unavailable(format!(
                "only {open_files} files may be open, which leaves room for {connections} connections; {ADVICE}"
            )));
        }
    }
    Ok(connections)
}

/// Raises the soft limit of open files to the hard one and says what it is now. `None`: unlimited.
fn raise_open_files() -> Option<u64> {
    let before = getrlimit(Resource::Nofile);
    let wanted = Rlimit {
        current: before.maximum,
        maximum: before.maximum,
    };
    if before.current != before.maximum
        && let Err(error) = setrlimit(Resource::Nofile, wanted)
    {
        tracing::warn!(%error, limit = before.current, "cannot raise the limit of open files");
    }
    getrlimit(Resource::Nofile).current
}

/// Files that this server needs for itself.
fn own_files(config: &Checked) -> u64 {
    let settings = &config.settings;
    let listeners = u64::try_from(config.listen.len()).unwrap_or(u64::MAX);
    let store = match config.store {
        StoreUrl::Sqlite(_) => 0,
        StoreUrl::Mysql(_) => u64::from(settings.store.max_connections),
    };
    let bus = if settings.bus.url.is_empty() { 0 } else { BUS };
    OWN.saturating_add(listeners.saturating_mul(PER_LISTENER))
        .saturating_add(store)
        .saturating_add(bus)
}

/// How many connections fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Room {
    /// As many as anybody may want.
    Enough(u32),
    /// Fewer than were configured, or than a server is expected to have.
    Scarce(u32),
    /// Not enough to be of use.
    TooLittle(u32),
}

impl Room {
    /// 0 configured: no limit of its own.
    fn new(configured: u32, open_files: Option<u64>, own: u64) -> Self {
        let most = open_files.map_or(u32::MAX, |files| {
            u32::try_from(files.saturating_sub(own)).unwrap_or(u32::MAX)
        });
        match configured {
            configured if configured != 0 && configured <= most => Self::Enough(configured),
            _ if most < LEAST => Self::TooLittle(most),
            0 if most >= SCARCE => Self::Enough(most),
            _ => Self::Scarce(most),
        }
    }

    const fn connections(self) -> u32 {
        match self {
            Self::Enough(connections) | Self::Scarce(connections) | Self::TooLittle(connections) => connections,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_fit_into_the_open_files() {
        for (configured, open_files, room) in [
            (0, Some(1024), Room::Enough(974)),
            (500, Some(1024), Room::Enough(500)),
            (0, None, Room::Enough(u32::MAX)),
            (5, None, Room::Enough(5)),
            (3, Some(64), Room::Enough(3)),
            (5000, Some(1024), Room::Scarce(974)),
            (0, Some(256), Room::Scarce(206)),
            (0, Some(64), Room::Scarce(14)),
            (100, Some(64), Room::Scarce(14)),
            (0, Some(57), Room::TooLittle(7)),
            (3, Some(50), Room::TooLittle(0)),
            (0, Some(10), Room::TooLittle(0)),
        ] {
            assert_eq!(
                Room::new(configured, open_files, OWN + PER_LISTENER),
                room,
                "{configured} {open_files:?}"
            );
        }
    }
}
