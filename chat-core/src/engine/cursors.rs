//! Acknowledgements and read marks: collected, and written together.
//!
//! Losing the last of them only repeats deliveries, so they are not units of work: a mark waits for at most
//! `EngineConfig::cursor_flush_interval`, is merged with later ones of the same conversation, and is kept while the store is away.
//! What was written is then told: to the others as a receipt, to the user's own other devices as a read mark.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream;
use tokio::sync::Notify;
use tokio::time::timeout_at;

use super::breaker::Scope;
use super::contact::Standing;
use super::core::Core;
use super::policy::{self, DirectAct};
use crate::model::{Caller, ConversationId, ConversationKind, DeviceId, DirectPolicy, Push, Seq, UserId};
use crate::store::{MembershipView, StoreError};
use crate::sync::{Mutex, MutexGuard};

/// Marks of one user that wait, in conversations that their session is not known to be in: old ones that are over, or none at
/// all.
const STRANGE: usize = 64;
/// Places that are read at the same time after marks were written.
const HEADS_AT_ONCE: usize = 16;

/// Marks that wait to be written.
#[derive(Debug, Default)]
pub(super) struct CursorQueue {
    marks: Mutex<Marks>,
    some: Notify,
    full: Notify,
    batch: usize,
    limits: Limits,
}

/// How many marks may wait.
#[derive(Clone, Copy, Debug, Default)]
struct Limits {
    all: usize,
    of_user: usize,
}

/// What is marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Place {
    /// A device has everything.
    Cursor(UserId, DeviceId, ConversationId),
    /// A user has read everything.
    Read(UserId, ConversationId),
}

impl Place {
    fn user(self) -> UserId {
        match self {
            Self::Cursor(user, ..) | Self::Read(user, _) => user,
        }
    }
}

/// Up to where, and who said so.
#[derive(Clone, Copy, Debug)]
struct Mark {
    seq: Seq,
    caller: Caller,
    strange: bool,
}

#[derive(Debug, Default)]
struct Marks {
    waiting: HashMap<Place, Mark>,
    /// The same places, oldest first.
    order: VecDeque<Place>,
    /// All of a user's, and the strange ones of them.
    of_users: HashMap<UserId, (usize, usize)>,
}

impl Marks {
    /// `false`: there is no room.
    fn add(&mut self, place: Place, mark: Mark, limits: Limits) -> bool {
        let len = self.waiting.len();
        let entry = match self.waiting.entry(place) {
            Entry::Occupied(mut entry) => {
                if mark.seq > entry.get().seq {
                    let strange = entry.get().strange;
                    entry.insert(Mark { strange, ..mark });
                }
                return true;
            }
            Entry::Vacant(entry) => entry,
        };
        let (all, strange) = self.of_users.entry(place.user()).or_default();
        if len >= limits.all || *all >= limits.of_user || (mark.strange && *strange >= STRANGE) {
            if *all == 0 {
                self.of_users.remove(&place.user());
            }
            return false;
        }
        *all += 1;
        *strange += usize::from(mark.strange);
        entry.insert(mark);
        self.order.push_back(place);
        true
    }

    fn take(&mut self, most: usize) -> Vec<(Place, Mark)> {
        let places: Vec<Place> = self.order.drain(..most.min(self.order.len())).collect();
        let mut taken = Vec::with_capacity(places.len());
        for place in places {
            let Some(mark) = self.waiting.remove(&place) else {
                continue;
            };
            if let Entry::Occupied(mut entry) = self.of_users.entry(place.user()) {
                let (all, strange) = entry.get_mut();
                *all = all.saturating_sub(1);
                *strange = strange.saturating_sub(usize::from(mark.strange));
                if *all == 0 {
                    entry.remove();
                }
            }
            taken.push((place, mark));
        }
        taken
    }
}

impl CursorQueue {
    pub(super) fn new(batch: usize, all: usize, of_user: usize) -> Self {
        Self {
            batch,
            limits: Limits { all, of_user },
            ..Self::default()
        }
    }

    fn add(&self, place: Place, mark: Mark) {
        let mut marks = self.marks();
        // A full queue means that the store has been away for long. A mark that is dropped is made up for by the next.
        if !marks.add(place, mark, self.limits) {
            return;
        }
        let waiting = marks.waiting.len();
        drop(marks);
        if waiting == 1 {
            self.some.notify_one();
        }
        if waiting >= self.batch {
            self.full.notify_one();
        }
    }

    fn take(&self, most: usize) -> Vec<(Place, Mark)> {
        self.marks().take(most)
    }

    /// Behind what waits, so that marks that cannot be written keep no others from it.
    fn put_back(&self, taken: Vec<(Place, Mark)>) {
        let mut marks = self.marks();
        for (place, mark) in taken {
            marks.add(place, mark, self.limits);
        }
    }

    fn len(&self) -> usize {
        self.marks().waiting.len()
    }

    fn marks(&self) -> MutexGuard<'_, Marks> {
        self.marks.lock()
    }
}

impl Core {
    /// The device has everything up to there.
    pub(super) fn acknowledge(&self, caller: Caller, conversation: ConversationId, seq: Seq) {
        self.mark(
            Place::Cursor(caller.user, caller.device, conversation),
            caller,
            conversation,
            seq,
        );
    }

    /// The user has read everything up to there.
    pub(super) fn mark_read(&self, caller: Caller, conversation: ConversationId, seq: Seq) {
        self.mark(Place::Read(caller.user, conversation), caller, conversation, seq);
    }

    fn mark(&self, place: Place, caller: Caller, conversation: ConversationId, seq: Seq) {
        // What comes from a session that is over is dropped: its device logged in again, or was revoked.
        let Some(inside) = self.router.is_subscribed(caller, conversation) else {
            return;
        };
        let strange = !inside;
        self.cursors.add(place, Mark { seq, caller, strange });
    }
}

/// Writes marks until the engine drains; then a last time.
pub(super) async fn run(core: Arc<Core>) {
    let mut group = core.config.max_cursor_batch;
    loop {
        tokio::select! {
            () = core.cursors.some.notified() => {}
            () = core.draining.cancelled() => {
                flush(&core, &mut group).await;
                return;
            }
        }
        while core.cursors.len() > 0 {
            tokio::select! {
                () = tokio::time::sleep(core.config.cursor_flush_interval) => {}
                () = core.cursors.full.notified() => {}
                () = core.draining.cancelled() => {}
            }
            if !flush(&core, &mut group).await && !core.draining.is_cancelled() {
                // However much waits: not at once again.
                tokio::time::sleep(core.config.cursor_flush_interval).await;
            }
            if core.draining.is_cancelled() {
                return;
            }
        }
    }
}

/// Writes what waits, at most `group` marks in one transaction; `false` if that failed. One of them that cannot be written, since
/// its row is locked, fails its whole group: the next groups are smaller then, until they are one mark each.
async fn flush(core: &Core, group: &mut usize) -> bool {
    // What comes meanwhile has its turn later.
    let mut left = core.cursors.len();
    while left > 0 {
        if !core.writes.admits(crate::time::now()) {
            return false;
        }
        let taken = core.cursors.take(*group);
        if taken.is_empty() {
            return true;
        }
        left = left.saturating_sub(taken.len());
        let written = timeout_at(core.deadline().into(), write(core, &taken)).await;
        let written = written.unwrap_or_else(|_| Err(StoreError::unavailable("it did not answer in time")));
        core.writes.note(Scope::Marks, written.as_ref().err());
        if let Err(error) = written {
            let error = &error as &dyn std::error::Error;
            tracing::debug!(marks = taken.len(), error, "cannot write marks; trying again");
            core.cursors.put_back(taken);
            *group = (*group / 4).max(1);
            return false;
        }
        *group = group.saturating_mul(2).min(core.config.max_cursor_batch);
        tell_all(core, &taken).await;
    }
    true
}

/// One notice for each user and conversation, however many of their devices moved.
async fn tell_all(core: &Core, written: &[(Place, Mark)]) {
    let mut moved: HashMap<(UserId, ConversationId), (DeviceId, Option<Caller>)> = HashMap::new();
    for (place, mark) in written {
        match *place {
            Place::Cursor(user, device, conversation) => {
                moved.entry((user, conversation)).or_insert((device, None));
            }
            Place::Read(user, conversation) => {
                let reader = mark.caller;
                moved.insert((user, conversation), (reader.device, Some(reader)));
            }
        }
    }
    stream::iter(moved)
        .for_each_concurrent(HEADS_AT_ONCE, async |((user, conversation), (device, reader))| {
            if let Ok(Some(head)) = core.read(core.store.membership(user, device, conversation)).await {
                tell(core, user, reader, &head).await;
            }
        })
        .await;
}

async fn write(core: &Core, marks: &[(Place, Mark)]) -> Result<(), StoreError> {
    let mut cursors = Vec::new();
    let mut reads = Vec::new();
    for (place, mark) in marks {
        match *place {
            Place::Cursor(user, device, conversation) => cursors.push((user, device, conversation, mark.seq)),
            Place::Read(user, conversation) => reads.push((user, conversation, mark.seq)),
        }
    }
    if !cursors.is_empty() {
        core.store.advance_cursors(&cursors).await?;
    }
    if !reads.is_empty() {
        core.store.advance_reads(&reads).await?;
    }
    Ok(())
}

/// Tells who has to know how far the user has got.
async fn tell(core: &Core, user: UserId, reader: Option<Caller>, head: &MembershipView) {
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
        ConversationKind::Group if head.conversation.member_count <= core.config.max_receipt_members => {
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
