//! How many connections the operating system lets this process have.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// File descriptors that are not connections: store, log, listeners, and some to spare.
const KEPT_BACK: u64 = 64;

/// Raises the soft limit of open files to the hard one and says what it is now. `None`: unlimited.
pub(crate) fn raise_open_files() -> Option<u64> {
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

/// How many connections fit: what was configured, or as many as there are files. 0 in the configuration: no limit of its own.
pub(crate) fn connections(configured: u32, open_files: Option<u64>) -> u32 {
    let most = open_files.map_or(u32::MAX, |files| {
        u32::try_from(files.saturating_sub(KEPT_BACK)).unwrap_or(u32::MAX)
    });
    match configured {
        0 => most,
        configured => configured.min(most),
    }
    .max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_fit_into_the_open_files() {
        assert_eq!(connections(0, Some(1024)), 960);
        assert_eq!(connections(500, Some(1024)), 500);
        assert_eq!(connections(5000, Some(1024)), 960);
        assert_eq!(connections(0, None), u32::MAX);
        assert_eq!(connections(0, Some(10)), 1);
    }
}
