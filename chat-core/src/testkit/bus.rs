//! A bus that fails the way buses do.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;

use crate::bus::{BusError, MessageBus, Subscriber, Topic};

/// Wraps a bus and drops or doubles envelopes, by a seed; or falls silent, without saying so.
#[derive(Clone, Debug)]
pub struct LossyBus {
    inner: Arc<dyn MessageBus>,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    random: AtomicU64,
    /// In 1000.
    drop: u64,
    double: u64,
    silent: AtomicBool,
    dropped: AtomicU64,
}

impl LossyBus {
    /// Drops and doubles so many of 1000 envelopes.
    #[must_use]
    pub fn new(inner: Arc<dyn MessageBus>, seed: u64, drop: u64, double: u64) -> Self {
        let state = State {
            random: AtomicU64::new(seed),
            drop,
            double,
            silent: AtomicBool::new(false),
            dropped: AtomicU64::new(0),
        };
        Self {
            inner,
            state: Arc::new(state),
        }
    }

    /// Takes everything and delivers nothing, from now on or no more.
    pub fn set_silent(&self, silent: bool) {
        self.state.silent.store(silent, Ordering::SeqCst);
    }

    /// How many envelopes it has dropped.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.state.dropped.load(Ordering::SeqCst)
    }

    /// A number below 1000 (SplitMix64).
    fn random(&self) -> u64 {
        let mut z = self.state.random.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::SeqCst);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % 1000
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl MessageBus for LossyBus {
    async fn publish(&self, topic: Topic, envelope: Bytes) -> Result<(), BusError> {
        if self.state.silent.load(Ordering::SeqCst) || self.random() < self.state.drop {
            self.state.dropped.fetch_add(1, Ordering::SeqCst);
            return Ok(());
        }
        if self.random() < self.state.double {
            self.inner.publish(topic, envelope.clone()).await?;
        }
        self.inner.publish(topic, envelope).await
    }

    async fn connect(&self) -> Result<Box<dyn Subscriber>, BusError> {
        self.inner.connect().await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}
