//! Keeps one noisy place in the code from filling the disk.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::callsite::Identifier;
use tracing::{Event, Level, Metadata};
use tracing_subscriber::layer::{Context, Filter};

/// Lines that one place may write in one [`WINDOW`].
const LINES: u32 = 100;
const WINDOW: Duration = Duration::from_secs(1);

/// Lets each place in the code log 100 lines a second at most, and remembers how many were left out for its next line.
/// Debug and trace lines pass: who asks for them wants them all.
#[derive(Debug, Clone, Default)]
pub(super) struct FloodGuard {
    places: Arc<Mutex<HashMap<Identifier, Place>>>,
}

#[derive(Debug)]
struct Place {
    since: Instant,
    lines: u32,
    left_out: u64,
}

impl FloodGuard {
    fn admit(&self, place: Identifier, now: Instant) -> bool {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let place = match places.entry(place) {
            Entry::Occupied(place) => place.into_mut(),
            Entry::Vacant(vacant) => vacant.insert(Place {
                since: now,
                lines: 0,
                left_out: 0,
            }),
        };
        if now.saturating_duration_since(place.since) >= WINDOW {
            place.since = now;
            place.lines = 0;
        }
        if place.lines >= LINES {
            place.left_out += 1;
            return false;
        }
        place.lines += 1;
        true
    }

    /// How many lines of this place were left out since its last one.
    pub(super) fn take_left_out(&self, metadata: &Metadata<'_>) -> u64 {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let place = places.get_mut(&metadata.callsite());
        place.map_or(0, |place| std::mem::take(&mut place.left_out))
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
    fn seed_check_23_one_place_cannot_flood_the_log() {
        let guard = FloodGuard::default();
        let place = tracing::callsite::DefaultCallsite::new(&META);
        let metadata = place.metadata();
        let start = Instant::now();
        let admitted = (0..10_000).filter(|_| guard.admit(metadata.callsite(), start)).count();
        assert_eq!(admitted, 100);
        assert!(guard.admit(metadata.callsite(), start + WINDOW));
        assert_eq!(guard.take_left_out(metadata), 9900);
        assert_eq!(guard.take_left_out(metadata), 0);
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
