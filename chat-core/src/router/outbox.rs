//! The bounded queue of one session's pushes: packets that the server sends without a request.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::shared_push::SharedPush;
use crate::model::{CloseCode, ConversationId, Push, Seq};
use crate::sync::Mutex;

/// Maximum capacity that an empty queue keeps, so that a push to an idle session need not allocate:
/// 64 bytes a session.
const KEPT_CAPACITY: usize = 8;

/// Bounds of an [`Outbox`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutboxLimits {
    /// Maximum number of pushes. Default 256.
    pub max_packets: usize,
    /// Approximate maximum size of the pushes, in bytes. Default 256 KiB: the memory that one slow
    /// reader may use.
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

/// The queue of one session's pushes. The router fills it; the task that writes to the client
/// drains it.
///
/// Filling never waits. When the queue overflows, all of it is dropped, and so is every later push
/// until the queue is drained. The client then gets a [`Push::Behind`] for each conversation whose
/// events were dropped, and reads the log. The session continues.
///
/// ```text
/// open ── push, queue full ──► overflowed ── drain ──► open
///   └──────── close ───────────────┴──► closed: drains what is queued, then Closed, then nothing
/// ```
#[derive(Debug)]
pub struct Outbox {
    limits: OutboxLimits,
    state: Mutex<State>,
    ready: Notify,
    /// True once `state` has a close code. Separate from `state`, because it is read for every
    /// packet.
    is_closed: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<SharedPush>,
    /// Approximate size of the queued pushes.
    bytes: usize,
    /// Conversations whose events or `Behind` pushes were dropped since the queue was last drained,
    /// each with the last `Seq` of these.
    behind: BTreeMap<ConversationId, Seq>,
    /// True if pushes were dropped since the queue was last drained.
    overflowed: bool,
    /// Time since which pushes or an overflow have been waiting to be drained, or time of the last
    /// drain if it left pushes. `None` if nothing waits.
    waiting_since: Option<Instant>,
    close_code: Option<CloseCode>,
    close_was_drained: bool,
}

impl Outbox {
    /// Creates an empty queue.
    #[must_use]
    pub fn new(limits: OutboxLimits) -> Arc<Self> {
        Arc::new(Self {
            limits,
            state: Mutex::default(),
            ready: Notify::new(),
            is_closed: AtomicBool::new(false),
        })
    }

    /// Queues a push. If the queue is full, drops all queued pushes and this one; if it was full
    /// since it was last drained, drops this one. Has no effect on a closed outbox. Never waits.
    pub fn push(&self, push: SharedPush) {
        self.push_all(&[push], Instant::now());
    }

    /// Queues several pushes at once, with one lock and at most one wake-up. The caller passes the
    /// time as `now`, so that a fan-out reads the clock once for all recipients.
    pub(crate) fn push_all(&self, pushes: &[SharedPush], now: Instant) {
        let mut state = self.state.lock();
        if state.close_code.is_some() {
            return;
        }
        for push in pushes {
            state.push(push, self.limits);
        }
        let was_idle = state.waiting_since.is_none();
        if was_idle {
            state.waiting_since = Some(now);
        }
        drop(state);
        if was_idle {
            self.ready.notify_one();
        }
    }

    /// Moves the oldest pushes into `taken`: at most `max_bytes` bytes, but at least one push if
    /// the queue is not empty. After the last queued push, adds a [`Push::Behind`] for each
    /// conversation whose events were dropped and, once, [`Push::Closed`] if the session was
    /// closed. Returns whether more pushes wait.
    pub fn drain(&self, max_bytes: usize, taken: &mut Vec<SharedPush>) -> bool {
        let mut state = self.state.lock();
        let mut bytes = 0_usize;
        while let Some(next) = state.queue.front() {
            if bytes > 0 && bytes.saturating_add(next.size()) > max_bytes {
                break;
            }
            bytes = bytes.saturating_add(next.size());
            state.bytes -= next.size();
            taken.extend(state.queue.pop_front());
        }
        if !state.queue.is_empty() {
            state.waiting_since = Some(Instant::now());
            return true;
        }
        if state.queue.capacity() > KEPT_CAPACITY {
            state.queue = VecDeque::new();
        }
        state.overflowed = false;
        // Almost always empty. The check costs less than the iterator of an empty map.
        if !state.behind.is_empty() {
            for (conversation, last_seq) in std::mem::take(&mut state.behind) {
                taken.push(SharedPush::new(Push::Behind { conversation, last_seq }));
            }
        }
        if let Some(code) = state.close_code
            && !state.close_was_drained
        {
            state.close_was_drained = true;
            taken.push(SharedPush::new(Push::Closed(code)));
        }
        state.waiting_since = None;
        false
    }

    /// Waits until [`is_ready`](Self::is_ready) returns `true`.
    ///
    /// # Cancel safety
    /// Safe. Only one task may wait at a time, for this or for [`Outbox::closed`].
    pub async fn ready(&self) {
        while !self.is_ready() {
            self.ready.notified().await;
        }
    }

    /// Returns whether [`drain`](Self::drain) has something to do: pushes to move, an overflow to
    /// end, or a close to report.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let state = self.state.lock();
        !state.queue.is_empty() || state.overflowed || (state.close_code.is_some() && !state.close_was_drained)
    }

    /// Closes the session. Queued pushes can still be drained, and after them [`Push::Closed`] with
    /// the code of the first call. The server starts no further command of a closed session.
    pub fn close(&self, code: CloseCode) {
        let mut state = self.state.lock();
        if state.close_code.is_none() {
            state.close_code = Some(code);
            self.is_closed.store(true, Ordering::Release);
            drop(state);
            self.ready.notify_one();
        }
    }

    /// Returns whether the session was closed. Takes no lock.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    /// Waits until the session is closed.
    ///
    /// # Cancel safety
    /// Safe. Only one task may wait at a time, for this or for [`Outbox::ready`].
    pub async fn closed(&self) {
        while !self.is_closed() {
            self.ready.notified().await;
        }
    }

    /// Returns the code with which the session was closed, or `None` while it is open.
    #[must_use]
    pub fn close_code(&self) -> Option<CloseCode> {
        self.state.lock().close_code
    }

    /// Returns for how long pushes or an overflow have been waiting while nothing was drained, or
    /// `None` if nothing waits.
    #[must_use]
    pub fn stalled_for(&self, now: Instant) -> Option<Duration> {
        let since = self.state.lock().waiting_since;
        since.map(|since| now.saturating_duration_since(since))
    }

    /// Returns the number of queued pushes, and their approximate size in bytes.
    #[must_use]
    pub fn queued(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.queue.len(), state.bytes)
    }
}

impl State {
    fn push(&mut self, push: &SharedPush, limits: OutboxLimits) {
        let is_full =
            self.queue.len() >= limits.max_packets || self.bytes.saturating_add(push.size()) > limits.max_bytes;
        if is_full || self.overflowed {
            self.overflow(push);
        } else {
            self.bytes += push.size();
            self.queue.push_back(push.clone());
        }
    }

    /// Drops all queued pushes and `newest`, and records which logs the client has to read. All
    /// pushes but events and `Behind` are lost, because their delivery is best effort.
    fn overflow(&mut self, newest: &SharedPush) {
        self.overflowed = true;
        self.bytes = 0;
        let dropped = std::mem::take(&mut self.queue);
        for push in dropped.iter().chain([newest]) {
            let (conversation, seq) = match push.push() {
                Push::Event(event) => (event.conversation, event.seq),
                Push::Behind { conversation, last_seq } => (*conversation, *last_seq),
                _ => continue,
            };
            let last = self.behind.entry(conversation).or_insert(seq);
            *last = seq.max(*last);
        }
    }
}
