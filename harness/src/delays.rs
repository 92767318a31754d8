//! How long deliveries took.

use std::collections::HashMap;
use std::time::Duration;

use crate::history::{History, What};

/// Times from acknowledgements to deliveries of the acknowledged.
#[derive(Clone, Debug, Default)]
pub struct Delays {
    /// When it was acknowledged, and how long each delivery took after that; in nanoseconds.
    delays: Vec<(u64, u64)>,
}

impl Delays {
    /// Of this history.
    #[must_use]
    pub fn of(history: &History) -> Self {
        let mut acked = HashMap::new();
        for record in history.records() {
            if let What::Acked { message, .. } = &record.what {
                acked.entry(message.as_str()).or_insert(record.at);
            }
        }
        let mut delays = Vec::new();
        for record in history.records() {
            if let What::Delivered { event, .. } = &record.what
                && let Some(at) = event.message.as_deref().and_then(|message| acked.get(message))
            {
                // Deliveries may come before the sender has its answer.
                delays.push((*at, record.at.saturating_sub(*at)));
            }
        }
        Self { delays }
    }

    /// Those of messages that were acknowledged between these times of the history's clock.
    #[must_use]
    pub fn between(&self, from: u64, to: u64) -> Self {
        let delays = self.delays.iter().filter(|(at, _)| (from..to).contains(at));
        Self {
            delays: delays.copied().collect(),
        }
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.delays.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.delays.is_empty()
    }

    /// The delay that this share of them (0 to 1) does not exceed.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Duration {
        let mut delays: Vec<u64> = self.delays.iter().map(|(_, delay)| *delay).collect();
        delays.sort_unstable();
        let last = delays.len().saturating_sub(1);
        let at = (share * last as f64).ceil() as usize;
        Duration::from_nanos(delays.get(at.min(last)).copied().unwrap_or(0))
    }
}
