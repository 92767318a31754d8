//! [`Delays`]: times from acknowledgements to deliveries.

use std::collections::HashMap;
use std::time::Duration;

use crate::history::{History, Observation};

/// Times from the first acknowledgement of a message to each of its deliveries. The delay of a
/// delivery before the acknowledgement is zero. Messages without an acknowledgement are left out.
#[derive(Clone, Debug, Default)]
pub struct Delays {
    /// Time of the acknowledgement, and the delay of a delivery after it, in nanoseconds.
    delays: Vec<(u64, u64)>,
}

impl Delays {
    /// Computes the delays of a history.
    #[must_use]
    pub fn of(history: &History) -> Self {
        let mut acked = HashMap::new();
        for record in history.records() {
            if let Observation::Acked { message, .. } = &record.observation {
                acked.entry(message.as_str()).or_insert(record.at);
            }
        }
        let mut delays = Vec::new();
        for record in history.records() {
            if let Observation::Delivered { event, .. } = &record.observation
                && let Some(at) = event.message.as_deref().and_then(|message| acked.get(message))
            {
                // A delivery may precede the acknowledgement.
                delays.push((*at, record.at.saturating_sub(*at)));
            }
        }
        Self { delays }
    }

    /// Returns the delays of messages acknowledged in `from..to` of the history's clock.
    #[must_use]
    pub fn between(&self, from: u64, to: u64) -> Self {
        let delays = self.delays.iter().filter(|(at, _)| (from..to).contains(at));
        Self {
            delays: delays.copied().collect(),
        }
    }

    /// Returns the number of delays.
    #[must_use]
    pub fn len(&self) -> usize {
        self.delays.len()
    }

    /// Returns whether there are no delays.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.delays.is_empty()
    }

    /// Returns a delay that at least the given share (0 to 1) of all delays does not exceed; zero
    /// if there are no delays.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Duration {
        let mut delays: Vec<u64> = self.delays.iter().map(|(_, delay)| *delay).collect();
        delays.sort_unstable();
        let last = delays.len().saturating_sub(1);
        let at = (share * last as f64).ceil() as usize;
        Duration::from_nanos(delays.get(at.min(last)).copied().unwrap_or(0))
    }
}
