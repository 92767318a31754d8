//! [`Clock`], the port (an interface that the application may implement) to the wall clock.
//! Durations are measured with `Instant`.

use std::fmt::Debug;

use crate::model::Timestamp;
use crate::time::wall_clock;

/// Source of the wall-clock time of a node. The engine stores and shows times of this clock only if
/// the store has no clock; see [`EngineBuilder::clock`](crate::engine::EngineBuilder::clock).
pub trait Clock: Debug + Send + Sync + 'static {
    /// Returns the current time. It may step back; the engine still gives the events of a
    /// conversation growing times.
    fn now(&self) -> Timestamp;
}

/// The operating system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        wall_clock()
    }
}
