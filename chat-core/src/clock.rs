//! [`Clock`], the port (an interface that the application may implement) to the wall clock, for
//! displayed and stored times. Durations are measured with `Instant`.

use std::fmt::Debug;

use crate::model::Timestamp;
use crate::time::wall_clock;

/// Source of the wall-clock time.
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
