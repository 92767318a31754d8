//! [`LossyBus`]: a bus that injects faults.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::sleep;

use crate::bus::{BusError, BusMessage, MessageBus, Subscriber, Topic, Topics};
use crate::sync::Mutex;

/// Probabilities of the faults of a [`LossyBus`], in thousandths. A lost envelope is neither
/// duplicated nor delayed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Probability that an envelope is lost, without a [`BusMessage::Gap`].
    pub drop_per_mille: u64,
    /// Probability that an envelope arrives twice.
    pub duplicate_per_mille: u64,
    /// Probability that an envelope arrives up to [`Faults::MAX_DELAY`] late, and so perhaps after
    /// envelopes that were published later. The copies of a duplicated envelope are delayed
    /// independently.
    pub delay_per_mille: u64,
}

impl Faults {
    /// Maximum delay of an envelope.
    pub const MAX_DELAY: Duration = Duration::from_millis(500);
}

/// A bus that wraps another bus, and drops, duplicates, delays and reorders envelopes
/// pseudo-randomly, from a seed. [`set_silent`](Self::set_silent) makes it drop all envelopes.
/// Dropped envelopes cause no [`BusMessage::Gap`]; [`send_gap`](Self::send_gap) injects one.
///
/// Each delayed envelope waits in a task of the current tokio runtime, which ends once the envelope
/// is published.
#[derive(Clone, Debug)]
pub struct LossyBus {
    inner: Arc<dyn MessageBus>,
    state: Arc<State>,
}

/// State that all clones of a bus share.
#[derive(Debug)]
struct State {
    /// State of the random number generator.
    random_state: AtomicU64,
    faults: Mutex<Faults>,
    is_silent: AtomicBool,
    /// Number of gaps that were injected. A change delivers a gap to every subscriber.
    gaps: tokio::sync::watch::Sender<u64>,
    dropped: AtomicU64,
    delayed: AtomicU64,
}

impl LossyBus {
    /// Creates a bus that drops and duplicates envelopes with these probabilities, in thousandths.
    #[must_use]
    pub fn new(inner: Arc<dyn MessageBus>, seed: u64, drop_per_mille: u64, duplicate_per_mille: u64) -> Self {
        let faults = Faults {
            drop_per_mille,
            duplicate_per_mille,
            ..Faults::default()
        };
        Self::with_faults(inner, seed, faults)
    }

    /// Creates a bus with these faults.
    #[must_use]
    pub fn with_faults(inner: Arc<dyn MessageBus>, seed: u64, faults: Faults) -> Self {
        let state = State {
            random_state: AtomicU64::new(seed),
            faults: Mutex::new(faults),
            is_silent: AtomicBool::new(false),
            gaps: tokio::sync::watch::Sender::new(0),
            dropped: AtomicU64::new(0),
            delayed: AtomicU64::new(0),
        };
        Self {
            inner,
            state: Arc::new(state),
        }
    }

    /// Replaces the faults.
    pub fn set_faults(&self, faults: Faults) {
        *self.state.faults.lock() = faults;
    }

    /// Starts or stops dropping every envelope.
    pub fn set_silent(&self, silent: bool) {
        self.state.is_silent.store(silent, Ordering::SeqCst);
    }

    /// Delivers a gap to every subscriber, as a bus does after an outage. A subscriber that has not
    /// received an earlier gap yet receives one gap for both.
    pub fn send_gap(&self) {
        self.state.gaps.send_modify(|gaps| *gaps += 1);
    }

    /// Returns how many envelopes were dropped.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.state.dropped.load(Ordering::SeqCst)
    }

    /// Returns how many envelopes were delayed. Copies of a duplicated envelope count separately.
    #[must_use]
    pub fn delayed(&self) -> u64 {
        self.state.delayed.load(Ordering::SeqCst)
    }

    /// Returns a pseudo-random number below 1000 (SplitMix64).
    fn random(&self) -> u64 {
        let mut z = self
            .state
            .random_state
            .fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::SeqCst);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % 1000
    }

    /// Publishes an envelope at once, or in a separate task after a random delay.
    async fn publish_or_delay(&self, faults: Faults, topic: Topic, envelope: Bytes) -> Result<(), BusError> {
        if self.random() >= faults.delay_per_mille {
            return self.inner.publish(topic, envelope).await;
        }
        self.state.delayed.fetch_add(1, Ordering::SeqCst);
        let delay = Faults::MAX_DELAY.mul_f64(self.random() as f64 / 1000.0);
        let inner = Arc::clone(&self.inner);
        tokio::spawn(async move {
            sleep(delay).await;
            // `publish` has returned already, so an error has the effect of a lost envelope.
            let _ = inner.publish(topic, envelope).await;
        });
        Ok(())
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl MessageBus for LossyBus {
    async fn publish(&self, topic: Topic, envelope: Bytes) -> Result<(), BusError> {
        let faults = *self.state.faults.lock();
        if self.state.is_silent.load(Ordering::SeqCst) || self.random() < faults.drop_per_mille {
            self.state.dropped.fetch_add(1, Ordering::SeqCst);
            return Ok(());
        }
        if self.random() < faults.duplicate_per_mille {
            self.publish_or_delay(faults, topic, envelope.clone()).await?;
        }
        self.publish_or_delay(faults, topic, envelope).await
    }

    async fn connect(&self) -> Result<Box<dyn Subscriber>, BusError> {
        Ok(Box::new(LossySubscriber {
            inner: self.inner.connect().await?,
            gaps: self.state.gaps.subscribe(),
        }))
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

#[derive(Debug)]
struct LossySubscriber {
    inner: Box<dyn Subscriber>,
    gaps: tokio::sync::watch::Receiver<u64>,
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Subscriber for LossySubscriber {
    fn topics(&self) -> Box<dyn Topics> {
        self.inner.topics()
    }

    async fn next(&mut self) -> Option<BusMessage> {
        tokio::select! {
            // Both futures are cancel safe. `biased` takes a gap first, so that no envelope that is
            // published after it overtakes it.
            biased;
            Ok(()) = self.gaps.changed() => Some(BusMessage::Gap),
            message = self.inner.next() => message,
        }
    }
}
