//! Worker that writes marks and tells sessions about them.

use std::collections::HashMap;
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream;
use tokio_util::sync::CancellationToken;

use super::pending::{Mark, MarkedPosition};
use super::queue::MarkQueue;
use crate::engine::breaker::Scope;
use crate::engine::config::EngineConfig;
use crate::engine::signals::may_signal;
use crate::engine::store_access::StoreAccess;
use crate::engine::workers::router_ports::NoticeSender;
use crate::model::{Caller, ConversationId, ConversationKind, DeviceId, Push, UserId};
use crate::panics;
use crate::store::{MembershipView, Store, StoreError};
use crate::time::now;

/// Maximum number of memberships that are read at the same time after marks were written.
const MAX_CONCURRENT_READS: usize = 16;

/// Minimum time from the start of a flush to the next one that a waiting command causes. A client
/// that requests a conversation after each of its marks would otherwise cause a write for each
/// mark.
const MIN_AWAITED_INTERVAL: Duration = Duration::from_millis(20);

/// Maximum time at the end of the worker for commands that ask the store before they add a mark.
/// After it, such a command fails.
const MAX_EXPECTED_WAIT: Duration = Duration::from_secs(2);

/// Writes queued marks, and notifies the user's other devices and the other members.
#[derive(Debug)]
pub(in crate::engine) struct MarkWorker {
    queue: Arc<MarkQueue>,
    access: Arc<StoreAccess>,
    notices: Arc<dyn NoticeSender>,
    flush_interval: Duration,
    /// Maximum number of members of a group in which receipts are sent.
    max_receipt_members: u32,
    /// Maximum value of `batch_limit`.
    max_batch: usize,
    /// Maximum number of marks in the next batch. A mark whose row is locked fails its whole batch,
    /// so batches shrink after a failure, down to one mark, and grow again after a success.
    batch_limit: usize,
    /// Start of the last flush.
    last_flush: Option<Instant>,
}

impl MarkWorker {
    pub(in crate::engine) fn new(
        queue: Arc<MarkQueue>,
        access: Arc<StoreAccess>,
        notices: Arc<dyn NoticeSender>,
        config: &EngineConfig,
    ) -> Self {
        Self {
            queue,
            access,
            notices,
            flush_interval: config.mark_flush_interval,
            max_receipt_members: config.max_receipt_members,
            max_batch: config.max_mark_batch,
            batch_limit: config.max_mark_batch,
            last_flush: None,
        }
    }

    /// Runs until the engine drains, then writes the remaining marks. Waits at most
    /// [`MAX_EXPECTED_WAIT`] for commands that ask the store before they add a mark, then closes
    /// the queue and writes their marks too.
    pub(in crate::engine) async fn run(mut self, draining: CancellationToken) {
        while !draining.is_cancelled() {
            tokio::select! {
                () = self.queue.added.notified() => {}
                () = draining.cancelled() => {}
            }
            while self.queue.len() > 0 && !draining.is_cancelled() {
                draining.run_until_cancelled(self.wait_until_flush_is_due()).await;
                if !self.flush().await {
                    // After a failure, neither a full queue nor a command shortens the wait.
                    draining
                        .run_until_cancelled(tokio::time::sleep(self.flush_interval))
                        .await;
                }
            }
        }
        self.flush().await;
        let expected = self.queue.wait_for_expected();
        if tokio::time::timeout(MAX_EXPECTED_WAIT, expected).await.is_err() {
            tracing::warn!("some marks are lost: the store did not say in time which events their users may read");
        }
        self.queue.close();
        self.flush().await;
    }

    /// Waits until the queued marks have to be written: after the flush interval, when there are
    /// enough for a batch, or when a command waits for them. In the last case, also waits until
    /// [`MIN_AWAITED_INTERVAL`] has passed since the start of the last flush, or the flush interval
    /// is over.
    async fn wait_until_flush_is_due(&self) {
        let early = async {
            while !self.queue.has_full_batch() {
                if self.queue.is_awaited() {
                    let earliest = self.last_flush.map(|last| last + MIN_AWAITED_INTERVAL);
                    return tokio::time::sleep_until(earliest.unwrap_or_else(now).into()).await;
                }
                self.queue.write_now.notified().await;
            }
        };
        tokio::select! {
            () = early => {}
            () = tokio::time::sleep(self.flush_interval) => {}
        }
    }

    /// Writes the marks that are queued now, and sends pushes about them. Returns `false` if the
    /// store failed or one of these steps panicked. After a panic, the marks of the batch may be
    /// lost.
    async fn flush(&mut self) -> bool {
        self.last_flush = Some(now());
        let written = panics::step("marks", self.write_queued()).await;
        if written.is_none() {
            self.queue.write_ended();
        }
        written.unwrap_or(false)
    }

    /// Writes the marks that are queued now, in batches, and sends pushes about each batch. Stops
    /// and returns `false` at the first failure of the store.
    async fn write_queued(&mut self) -> bool {
        let mut remaining = self.queue.len();
        while remaining > 0 {
            let taken = self.queue.take(self.batch_limit);
            if taken.is_empty() {
                return true;
            }
            remaining = remaining.saturating_sub(taken.len());
            let write = write(self.access.store(), &taken);
            match self.access.write(Scope::Marks, write).await {
                Some(Ok(())) => self.queue.write_ended(),
                Some(Err(error)) => {
                    let error = &error as &dyn Error;
                    tracing::debug!(marks = taken.len(), error, "cannot write marks; trying again");
                    self.queue.write_failed(taken);
                    self.batch_limit = (self.batch_limit / 4).max(1);
                    return false;
                }
                // The store is known to be unavailable, so nothing was tried.
                None => {
                    self.queue.write_failed(taken);
                    return false;
                }
            }
            self.batch_limit = self.batch_limit.saturating_mul(2).min(self.max_batch);
            self.notify(&taken).await;
        }
        true
    }

    /// Sends pushes about the marks of a batch, once for each user and conversation, no matter how
    /// many of the user's devices have acknowledged events. Sends none about a conversation if the
    /// user's membership cannot be read.
    async fn notify(&self, written: &[(MarkedPosition, Mark)]) {
        let mut advanced: HashMap<(UserId, ConversationId), (DeviceId, Option<Caller>)> = HashMap::new();
        for (position, mark) in written {
            match *position {
                MarkedPosition::Delivered(user, device, conversation) => {
                    advanced.entry((user, conversation)).or_insert((device, None));
                }
                MarkedPosition::Read(user, conversation) => {
                    let reader = mark.caller;
                    advanced.insert((user, conversation), (reader.device_or_none(), Some(reader)));
                }
            }
        }
        stream::iter(advanced)
            .for_each_concurrent(
                MAX_CONCURRENT_READS,
                async |((user, conversation), (device, reader))| {
                    let membership = self.access.store().membership(user, device, conversation);
                    if let Ok(Some(membership)) = self.access.read(membership).await {
                        self.notify_of(user, reader, &membership).await;
                    }
                },
            )
            .await;
    }

    /// Sends the read mark to the user's other devices if `reader` has moved it. Unless the
    /// conversation has ended for the user, also sends a receipt to the peer of a direct
    /// conversation who may see it, or to the members of a group that is not too large.
    async fn notify_of(&self, user: UserId, reader: Option<Caller>, membership: &MembershipView) {
        let (conversation, member) = (&membership.conversation, &membership.member);
        if reader.is_some() {
            let read = Push::Read {
                conversation: conversation.id,
                read_seq: member.read_seq,
                unread: u32::try_from(membership.unread).unwrap_or(u32::MAX),
                unread_mentions: u32::try_from(membership.unread_mentions).unwrap_or(u32::MAX),
            };
            self.notices.notify_user(user, &read, reader);
        }
        if !member.is_active() || conversation.deleted {
            return;
        }
        let receipt = Push::Receipt {
            conversation: conversation.id,
            user,
            delivered_seq: member.delivered_seq,
            read_seq: member.read_seq,
        };
        match &conversation.kind {
            ConversationKind::Direct { .. } => {
                if let Some(peer) = &membership.peer
                    && may_signal(&self.access, user, peer.user).await
                {
                    self.notices.notify_user(peer.user, &receipt, None);
                }
            }
            ConversationKind::Group if conversation.member_count <= self.max_receipt_members => {
                self.notices.notify_conversation(conversation.id, &receipt);
            }
            ConversationKind::Group | ConversationKind::Inbox { .. } => {}
        }
    }
}

async fn write(store: &dyn Store, marks: &[(MarkedPosition, Mark)]) -> Result<(), StoreError> {
    let mut cursors = Vec::new();
    let mut reads = Vec::new();
    for (position, mark) in marks {
        match *position {
            MarkedPosition::Delivered(user, device, conversation) => {
                cursors.push((user, device, conversation, mark.seq))
            }
            MarkedPosition::Read(user, conversation) => reads.push((user, conversation, mark.seq)),
        }
    }
    if !cursors.is_empty() {
        store.advance_cursors(&cursors).await?;
    }
    if !reads.is_empty() {
        store.advance_reads(&reads).await?;
    }
    Ok(())
}
