//! [`Shared`]: the state that the consumer and the driver of a feed share.

use std::sync::Arc;

use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;

use super::machine::Machine;
use crate::model::{ConversationId, Event, Seq};
use crate::sync::Mutex;
use crate::time::now;

/// State that the consumer of a feed shares with the driver, the task that reads the events and
/// writes the cursors.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) machine: Mutex<Machine>,
    /// Notifies the driver that the machine may have work.
    pub(super) work: Notify,
    /// Notifies a consumer that an event may be ready.
    pub(super) ready: Notify,
    /// Cancelled when the feed starts to close and hands out no more events.
    pub(super) closing: CancellationToken,
    /// Cancelled when the driver has ended.
    pub(super) closed: CancellationToken,
}

impl Shared {
    pub(super) fn new(machine: Machine, closing: CancellationToken) -> Self {
        Self {
            machine: Mutex::new(machine),
            work: Notify::new(),
            ready: Notify::new(),
            closing,
            closed: CancellationToken::new(),
        }
    }

    /// Takes the next event to hand out, with the term of the lease under which it was read, or
    /// returns `None` if no event can be handed out now.
    pub(super) fn take(&self) -> Option<(Event, u64)> {
        let mut machine = self.machine.lock();
        let taken = machine.take(now())?;
        if machine.has_ready() {
            self.ready.notify_one();
        }
        Some(taken)
    }

    /// Acknowledges an event that was handed out under the lease with this term. Changes nothing if
    /// the lease is lost.
    pub(super) fn acknowledge(&self, conversation: ConversationId, seq: Seq, term: u64) {
        self.machine.lock().acknowledge(now(), conversation, seq, term);
        self.work.notify_one();
    }

    /// Acknowledges an event. Returns a receiver that completes when the store has recorded the
    /// acknowledgement, and fails if the lease is lost or the driver ends first; or `None` if that
    /// has happened already.
    pub(super) fn acknowledge_durably(
        &self,
        conversation: ConversationId,
        seq: Seq,
        term: u64,
    ) -> Option<oneshot::Receiver<()>> {
        let recorded = self.machine.lock().acknowledge_durably(now(), conversation, seq, term);
        self.work.notify_one();
        recorded
    }

    /// Records that the consumer acknowledged or dropped an item. Notifies the driver if the feed
    /// is closing, because the driver may wait for this item.
    pub(super) fn item_returned(&self) {
        if self.machine.lock().item_returned() {
            self.work.notify_one();
        }
    }
}

/// Guard that ends the feed when the driver is dropped, also if the driver panics or is cancelled.
/// Consumers that wait for an event or an acknowledgement then stop waiting.
#[derive(Debug)]
pub(super) struct EndGuard(pub(super) Arc<Shared>);

impl Drop for EndGuard {
    fn drop(&mut self) {
        self.0.closing.cancel();
        self.0.machine.lock().end();
        self.0.closed.cancel();
    }
}
