//! One session's bounded queue of pushes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::SharedPush;
use crate::model::{CloseCode, ConversationId, Push, Seq};

/// Places of an empty queue that are kept, so that a push to an idle session need not allocate: 64 bytes a session.
const KEPT: usize = 8;

/// How much may wait for one reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutboxLimits {
    /// Packets. Default 256.
    pub max_packets: usize,
    /// Bytes, about. Default 256 KiB: this much memory a slow reader can cost.
    pub max_bytes: usize,
}

impl Default for OutboxLimits {
    fn default() -> Self {
        Self {
            max_packets: 256,
            max_bytes: 256 * 1024,
        }
    }
}

impl OutboxLimits {
    /// These limits.
    #[must_use]
    pub const fn new(max_packets: usize, max_bytes: usize) -> Self {
        Self { max_packets, max_bytes }
    }
}

/// One session's queue of pushes, filled by the router and drained by whoever writes to the session.
///
/// Filling never waits. A queue that is full is dropped whole, and so is what comes after, until it is drained; then the
/// session is told, for each conversation concerned, that it is [`Push::Behind`], and reads the log. The session itself lives.
///
/// ```text
/// open ── push, no room ──► behind ── drain ──► open
///   └──────── close ────────────┴──► closed: what is queued, then Closed, then nothing
/// ```
#[derive(Debug)]
pub struct Outbox {
    limits: OutboxLimits,
    state: Mutex<State>,
    ready: Notify,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<SharedPush>,
    bytes: usize,
    /// Conversations whose events were dropped, and the last of them.
    behind: BTreeMap<ConversationId, Seq>,
    overflowed: bool,
    /// Since when something has waited without any of it being taken.
    waiting_since: Option<Instant>,
    closed: Option<CloseCode>,
    close_told: bool,
}

impl Outbox {
    /// An empty queue.
    #[must_use]
    pub fn new(limits: OutboxLimits) -> Arc<Self> {
        Arc::new(Self {
            limits,
            state: Mutex::default(),
            ready: Notify::new(),
        })
    }

    /// Queues a push, or drops the queue if it is full. Never waits.
    pub fn push(&self, delivery: SharedPush) {
        let mut state = self.state();
        if state.closed.is_some() {
            return;
        }
        let full = state.queue.len() >= self.limits.max_packets
            || state.bytes.saturating_add(delivery.size()) > self.limits.max_bytes;
        if full || state.overflowed {
            state.overflow(&delivery);
        } else {
            state.bytes += delivery.size();
            state.queue.push_back(delivery);
        }
        let woken = state.waiting_since.is_none();
        if woken {
            state.waiting_since = Some(Instant::now());
        }
        drop(state);
        if woken {
            self.ready.notify_one();
        }
    }

    /// Moves up to about `max_bytes` of the oldest pushes into `taken`, at least one if there is one. Returns whether more
    /// wait.
    pub fn drain(&self, max_bytes: usize, taken: &mut Vec<SharedPush>) -> bool {
        let mut state = self.state();
        let mut bytes = 0_usize;
        while let Some(next) = state.queue.front() {
            if bytes > 0 && bytes.saturating_add(next.size()) > max_bytes {
                break;
            }
            bytes = bytes.saturating_add(next.size());
            state.bytes -= next.size();
            taken.extend(state.queue.pop_front());
        }
        if state.queue.is_empty() {
            if state.queue.capacity() > KEPT {
                state.queue = VecDeque::new();
            }
            state.overflowed = false;
            for (conversation, last_seq) in std::mem::take(&mut state.behind) {
                taken.push(SharedPush::new(Push::Behind { conversation, last_seq }));
            }
            if let Some(code) = state.closed
                && !state.close_told
            {
                state.close_told = true;
                taken.push(SharedPush::new(Push::Closed(code)));
            }
            state.waiting_since = None;
            false
        } else {
            state.waiting_since = Some(Instant::now());
            true
        }
    }

    /// Waits until there is something to drain.
    ///
    /// # Cancel safety
    /// Safe. Meant for one waiter.
    pub async fn ready(&self) {
        while !self.is_ready() {
            self.ready.notified().await;
        }
    }

    /// Whether there is something to drain.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let state = self.state();
        !state.queue.is_empty() || state.overflowed || (state.closed.is_some() && !state.close_told)
    }

    /// Ends the session: what is queued is still drained, then [`Push::Closed`]. The first code stays.
    pub fn close(&self, code: CloseCode) {
        let mut state = self.state();
        if state.closed.is_none() {
            state.closed = Some(code);
            drop(state);
            self.ready.notify_one();
        }
    }

    /// Why it was closed, if it was.
    #[must_use]
    pub fn closed(&self) -> Option<CloseCode> {
        self.state().closed
    }

    /// How long something has waited without any of it being taken.
    #[must_use]
    pub fn stalled_for(&self, now: Instant) -> Option<Duration> {
        self.state()
            .waiting_since
            .map(|since| now.saturating_duration_since(since))
    }

    /// Packets and bytes that wait.
    #[must_use]
    pub fn pressure(&self) -> (usize, usize) {
        let state = self.state();
        (state.queue.len(), state.bytes)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Drops everything, remembering which logs have to be read. What is not an event is lost, as it may be.
    fn overflow(&mut self, newest: &SharedPush) {
        self.overflowed = true;
        self.bytes = 0;
        let dropped = std::mem::take(&mut self.queue);
        for delivery in dropped.iter().chain([newest]) {
            let (conversation, seq) = match delivery.push() {
                Push::Event(event) => (event.conversation, event.seq),
                Push::Behind { conversation, last_seq } => (*conversation, *last_seq),
                _ => continue,
            };
            let last = self.behind.entry(conversation).or_insert(seq);
            *last = seq.max(*last);
        }
    }
}
