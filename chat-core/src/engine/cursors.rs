//! Acknowledgements and read marks: collected, and written together.
//!
//! Losing the last of them only repeats deliveries, so they are not units of work: a mark waits for at most
//! `EngineConfig::cursor_interval`, is merged with later ones of the same conversation, and is kept while the store is away.
//! What was written is then told: to the others as a receipt, to the user's own other devices as a read mark.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::contact::Standing;
use super::core::Core;
use super::policy::{self, DirectAct};
use crate::model::{Caller, ConversationId, ConversationKind, DeviceId, DirectPolicy, Push, Seq, UserId};
use crate::store::{Head, StoreError};

/// Marks that wait to be written.
#[derive(Debug, Default)]
pub(super) struct CursorQueue {
    marks: Mutex<Marks>,
    some: Notify,
    full: Notify,
    batch: usize,
    limit: usize,
}

#[derive(Debug, Default)]
struct Marks {
    cursors: HashMap<(UserId, DeviceId, ConversationId), Seq>,
    reads: HashMap<(UserId, ConversationId), (Seq, Caller)>,
}

impl Marks {
    fn len(&self) -> usize {
        self.cursors.len() + self.reads.len()
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn advance(&mut self, key: (UserId, DeviceId, ConversationId), seq: Seq) {
        let mark = self.cursors.entry(key).or_insert(seq);
        *mark = seq.max(*mark);
    }

    fn read(&mut self, key: (UserId, ConversationId), seq: Seq, caller: Caller) {
        let mark = self.reads.entry(key).or_insert((seq, caller));
        if seq > mark.0 {
            *mark = (seq, caller);
        }
    }
}

impl CursorQueue {
    pub(super) fn new(batch: usize, limit: usize) -> Self {
        Self {
            batch,
            limit,
            ..Self::default()
        }
    }

    /// The device has everything up to there.
    pub(super) fn acknowledge(&self, caller: Caller, conversation: ConversationId, seq: Seq) {
        self.add(|marks| marks.advance((caller.user, caller.device, conversation), seq));
    }

    /// The user has read everything up to there.
    pub(super) fn mark_read(&self, caller: Caller, conversation: ConversationId, seq: Seq) {
        self.add(|marks| marks.read((caller.user, conversation), seq, caller));
    }

    fn add(&self, add: impl FnOnce(&mut Marks)) {
        let mut marks = self.marks();
        // A full queue means that the store has been away for long. A mark that is dropped is made up for by the next.
        if marks.len() >= self.limit {
            return;
        }
        let first = marks.is_empty();
        add(&mut marks);
        let full = marks.len() >= self.batch;
        drop(marks);
        if first {
            self.some.notify_one();
        }
        if full {
            self.full.notify_one();
        }
    }

    fn take(&self) -> Marks {
        std::mem::take(&mut self.marks())
    }

    fn put_back(&self, taken: Marks) {
        let mut marks = self.marks();
        taken.cursors.into_iter().for_each(|(key, seq)| marks.advance(key, seq));
        taken
            .reads
            .into_iter()
            .for_each(|(key, (seq, caller))| marks.read(key, seq, caller));
    }

    fn is_empty(&self) -> bool {
        self.marks().is_empty()
    }

    fn marks(&self) -> MutexGuard<'_, Marks> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes marks until the engine drains; then a last time.
pub(super) async fn run(core: Arc<Core>) {
    loop {
        tokio::select! {
            () = core.cursors.some.notified() => {}
            () = core.draining.cancelled() => {
                flush(&core).await;
                return;
            }
        }
        while !core.cursors.is_empty() {
            tokio::select! {
                () = tokio::time::sleep(core.config.cursor_interval) => {}
                () = core.cursors.full.notified() => {}
                () = core.draining.cancelled() => {}
            }
            flush(&core).await;
            if core.draining.is_cancelled() {
                return;
            }
        }
    }
}

async fn flush(core: &Core) {
    let taken = core.cursors.take();
    if taken.is_empty() {
        return;
    }
    if core.read(write(core, &taken)).await.is_err() {
        core.cursors.put_back(taken);
        return;
    }
    // One notice for each user and conversation, however many of their devices moved.
    let mut moved: HashMap<(UserId, ConversationId), (Option<DeviceId>, Option<Caller>)> = HashMap::new();
    for (user, device, conversation) in taken.cursors.keys() {
        moved.entry((*user, *conversation)).or_default().0 = Some(*device);
    }
    for ((user, conversation), (_, reader)) in &taken.reads {
        moved.entry((*user, *conversation)).or_default().1 = Some(*reader);
    }
    for ((user, conversation), (device, reader)) in moved {
        let device = reader.map(|reader| reader.device).or(device);
        let Some(device) = device else { continue };
        if let Ok(Some(head)) = core.read(core.store.head(user, device, conversation)).await {
            tell(core, user, reader, &head).await;
        }
    }
}

async fn write(core: &Core, marks: &Marks) -> Result<(), StoreError> {
    if !marks.cursors.is_empty() {
        let moves: Vec<_> = marks
            .cursors
            .iter()
            .map(|(&(user, device, id), &seq)| (user, device, id, seq))
            .collect();
        core.store.advance_cursors(&moves).await?;
    }
    if !marks.reads.is_empty() {
        let moves: Vec<_> = marks
            .reads
            .iter()
            .map(|(&(user, id), &(seq, _))| (user, id, seq))
            .collect();
        core.store.advance_reads(&moves).await?;
    }
    Ok(())
}

/// Tells who has to know how far the user has got.
async fn tell(core: &Core, user: UserId, reader: Option<Caller>, head: &Head) {
    let conversation = head.conversation.id;
    if reader.is_some() {
        let own = Push::Read {
            conversation,
            read_seq: head.member.read_seq,
            unread: u32::try_from(head.unread).unwrap_or(u32::MAX),
            mentions: u32::try_from(head.mentions).unwrap_or(u32::MAX),
        };
        core.router.notify_user(user, &own, reader);
    }
    if !head.member.is_active() || head.conversation.closed {
        return;
    }
    let receipt = Push::Receipt {
        conversation,
        user,
        delivered_seq: head.member.delivered_seq,
        read_seq: head.member.read_seq,
    };
    match &head.conversation.kind {
        ConversationKind::Direct { .. } => {
            if let Some(peer) = &head.peer
                && core.may_signal(user, peer.user).await
            {
                core.router.notify_user(peer.user, &receipt, None);
            }
        }
        ConversationKind::Group if head.conversation.member_count <= core.config.receipt_members => {
            core.router.notify_conversation(conversation, &receipt, reader);
        }
        ConversationKind::Group | ConversationKind::Inbox { .. } => {}
    }
}

impl Core {
    /// Whether `user` may be seen writing and reading by `peer`. When in doubt, not.
    pub(super) async fn may_signal(&self, user: UserId, peer: UserId) -> bool {
        let own = self.read(self.store.contact(user, peer)).await;
        let other = self.read(self.store.contact(peer, user)).await;
        let (Ok(own), Ok(other)) = (own, other) else {
            return false;
        };
        let standing = Standing::of(own.as_ref(), other.as_ref());
        let everyone = standing == Standing::Stranger
            && self
                .read(self.store.account(peer))
                .await
                .ok()
                .flatten()
                .is_some_and(|account| account.direct_policy == DirectPolicy::Everyone);
        policy::direct(DirectAct::Signal, standing, everyone).is_ok()
    }
}
