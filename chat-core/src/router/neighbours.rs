//! Other nodes that work on the same store. The store itself tells of them: whatever else connects two nodes may be gone while
//! both still commit.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use super::Shared;
use crate::model::{NodeId, Timestamp};
use crate::store::Heartbeat;

/// A clock that differs more from the store's is worth a warning.
const CLOCK_IS_OFF: Duration = Duration::from_secs(2);
/// One that differs more than this is wrong: what it dates cannot be relied upon, and nobody shall begin to.
const CLOCK_IS_WRONG: Duration = Duration::from_secs(5 * 60);

/// Who else is there.
#[derive(Debug, Default)]
pub(super) struct Neighbours {
    /// When the store told of each of them last.
    seen: Mutex<HashMap<NodeId, Instant>>,
    clock_is_wrong: AtomicBool,
}

impl Neighbours {
    pub(super) fn nodes(&self) -> Vec<NodeId> {
        self.seen().keys().copied().collect()
    }

    pub(super) fn is_clock_wrong(&self) -> bool {
        self.clock_is_wrong.load(Ordering::Relaxed)
    }

    /// Takes in what the store told. `true` if there is somebody new. Who is told of no more is forgotten some time later,
    /// because after an outage of the store its nodes come back one by one.
    fn told(&self, others: &[NodeId], keep: Duration) -> bool {
        let now = Instant::now();
        let mut seen = self.seen();
        let mut news = false;
        for other in others {
            news |= seen.insert(*other, now).is_none();
        }
        seen.retain(|_, at| at.elapsed() <= keep);
        news
    }

    /// The store said nothing: everybody may be there still.
    fn not_told(&self) {
        let now = Instant::now();
        self.seen().values_mut().for_each(|at| *at = now);
    }

    fn seen(&self) -> MutexGuard<'_, HashMap<NodeId, Instant>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says in the store that this node lives, and asks who else does.
pub(super) async fn run(shared: Arc<Shared>) {
    let (neighbours, config) = (&shared.neighbours, &shared.config);
    let keep = config.store_heartbeat_interval * 2;
    let mut beats = interval(config.store_heartbeat_interval);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing = false;
    let mut clock = Clock::Right;
    loop {
        beats.tick().await;
        let before = shared.clock.now();
        match shared.read(shared.store.heartbeat(shared.writer.node)).await {
            Ok(Heartbeat {
                peers: others, time, ..
            }) => {
                failing = false;
                if neighbours.told(&others, keep) {
                    // It may have committed before it was known of.
                    shared.heard.ask_for_sweep();
                }
                if let Some(time) = time {
                    clock = clock.judge(difference(before, shared.clock.now(), time));
                    neighbours
                        .clock_is_wrong
                        .store(clock == Clock::Wrong, Ordering::Relaxed);
                }
            }
            Err(error) => {
                neighbours.not_told();
                if !failing {
                    failing = true;
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, "cannot ask the store who else works on it; trying again");
                }
            }
        }
    }
}

/// How far the store's time is outside of what it was here between asking and being told.
fn difference(before: Timestamp, after: Timestamp, store: Timestamp) -> Duration {
    let millis = if store < before {
        before.0.saturating_sub(store.0)
    } else {
        store.0.saturating_sub(after.0).max(0)
    };
    Duration::from_millis(millis.unsigned_abs())
}

/// What this node's clock is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Clock {
    Right,
    Off,
    Wrong,
}

impl Clock {
    fn judge(self, difference: Duration) -> Self {
        let is = match difference {
            difference if difference > CLOCK_IS_WRONG => Self::Wrong,
            difference if difference > CLOCK_IS_OFF => Self::Off,
            _ => Self::Right,
        };
        if is != self {
            match is {
                Self::Wrong => tracing::error!(
                    ?difference,
                    "the clock of this machine and the database's are minutes apart: nobody may log in here until they agree; \
                     synchronise both"
                ),
                Self::Off => tracing::warn!(
                    ?difference,
                    "the clock of this machine and the database's differ; synchronise both"
                ),
                Self::Right => tracing::info!("the clock of this machine and the database's agree again"),
            }
        }
        is
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_are_compared_by_what_they_certainly_differ() {
        let difference = |before, after, store| difference(Timestamp(before), Timestamp(after), Timestamp(store));
        assert_eq!(difference(1_000, 6_000, 3_000), Duration::ZERO, "it took a while");
        assert_eq!(difference(1_000, 6_000, 6_500), Duration::from_millis(500));
        assert_eq!(difference(1_000, 6_000, 400), Duration::from_millis(600));
        assert_eq!(
            difference(9_000, 1_000, 5_000),
            Duration::from_secs(4),
            "it was set back meanwhile"
        );
        assert_eq!(difference(0, 0, i64::MIN), Duration::from_millis(i64::MAX as u64));
    }
}
