//! Rate limit of log lines per callsite (place in the source code that logs), so that no callsite
//! can fill the disk within a short time.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chat_core::sync::Mutex;
use tracing::callsite::Identifier;
use tracing::{Event, Level, Metadata};
use tracing_subscriber::layer::{Context, Filter};

/// Maximum number of lines per callsite in one [`WINDOW`].
const MAX_LINES: u32 = 100;
/// Period in which the lines of a callsite are counted.
const WINDOW: Duration = Duration::from_secs(1);

/// Filter that limits each callsite to [`MAX_LINES`] in each [`WINDOW`]. The next line of the
/// callsite reports the number of suppressed lines. Debug and trace lines are not limited, because
/// an operator who enables them wants all of them.
#[derive(Debug, Clone, Default)]
pub(super) struct FloodGuard {
    callsites: Arc<Mutex<HashMap<Identifier, LineCount>>>,
}

/// Numbers of lines of one callsite.
#[derive(Debug)]
struct LineCount {
    /// Start of the current window.
    window_start: Instant,
    /// Lines written in the current window.
    lines: u32,
    /// Suppressed lines that no line has reported yet.
    suppressed: u64,
}

impl FloodGuard {
    /// Returns `true` if the callsite may write another line. Counts the line as written or
    /// suppressed.
    fn admit(&self, callsite: Identifier, now: Instant) -> bool {
        let mut callsites = self.callsites.lock();
        let count = match callsites.entry(callsite) {
            Entry::Occupied(occupied) => occupied.into_mut(),
            Entry::Vacant(vacant) => vacant.insert(LineCount {
                window_start: now,
                lines: 0,
                suppressed: 0,
            }),
        };
        if now.saturating_duration_since(count.window_start) >= WINDOW {
            count.window_start = now;
            count.lines = 0;
        }
        if count.lines >= MAX_LINES {
            count.suppressed += 1;
            return false;
        }
        count.lines += 1;
        true
    }

    /// Returns and resets the number of suppressed lines of this callsite.
    pub(super) fn take_suppressed(&self, metadata: &Metadata<'_>) -> u64 {
        let mut callsites = self.callsites.lock();
        let count = callsites.get_mut(&metadata.callsite());
        count.map_or(0, |count| std::mem::take(&mut count.suppressed))
    }
}

impl<S> Filter<S> for FloodGuard {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        let metadata = event.metadata();
        *metadata.level() > Level::INFO || self.admit(metadata.callsite(), Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use tracing::Callsite as _;

    use super::*;

    #[test]
    fn flood_guard_limits_each_callsite_and_counts_suppressed_lines() {
        let guard = FloodGuard::default();
        let callsite = tracing::callsite::DefaultCallsite::new(&META);
        let metadata = callsite.metadata();
        let start = Instant::now();
        let admitted = (0..10_000).filter(|_| guard.admit(metadata.callsite(), start)).count();
        assert_eq!(admitted, 100);
        assert!(guard.admit(metadata.callsite(), start + WINDOW));
        assert_eq!(guard.take_suppressed(metadata), 9900);
        assert_eq!(guard.take_suppressed(metadata), 0);
    }

    static CALLSITE: tracing::callsite::DefaultCallsite = tracing::callsite::DefaultCallsite::new(&META);
    static META: Metadata<'static> = tracing::metadata! {
        name: "test",
        target: "test",
        level: Level::WARN,
        fields: &[],
        callsite: &CALLSITE,
        kind: tracing::metadata::Kind::EVENT,
    };
}
