//! Marks: acknowledgements of devices and read marks of users, which are collected and written in
//! batches. Losing the latest marks only repeats deliveries, so they are written without units of
//! work (the durable transactions of commands). A mark waits for at most
//! `EngineConfig::cursor_flush_interval`, or until a command of its user reads marks. It is merged
//! with later marks of the same conversation, and is kept while the store is unavailable. Once it
//! is written, other members get a receipt, and the user's other devices get the new read mark.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet, VecDeque};
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::engine::breaker::Scope;
use crate::engine::config::EngineConfig;
use crate::engine::signals::may_signal;
use crate::engine::units::Units;
use crate::model::{Caller, ConversationId, ConversationKind, DeviceId, Push, Seq, UserId};
use crate::panics;
use crate::router::Router;
use crate::store::{MembershipView, Store, StoreError};
use crate::sync::Mutex;

/// Maximum number of one user's queued marks in conversations that no session of the caller
/// follows, because the user has left them or the caller has no session.
const MAX_UNFOLLOWED: usize = 64;
/// Maximum time for which a command waits until earlier marks of its user are written.
const MARKS_WRITE_TIMEOUT: Duration = Duration::from_secs(1);
/// Maximum number of memberships that are read at the same time after marks were written.
const MAX_CONCURRENT_READS: usize = 16;

/// The position that a mark advances.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Target {
    /// The cursor of a device: the last event that the device has acknowledged.
    Delivered(UserId, DeviceId, ConversationId),
    /// The last event that a user has read.
    Read(UserId, ConversationId),
}

impl Target {
    fn user(self) -> UserId {
        match self {
            Self::Delivered(user, ..) | Self::Read(user, _) => user,
        }
    }
}

/// The new position, and the session that reported it.
#[derive(Clone, Copy, Debug)]
struct Mark {
    seq: Seq,
    caller: Caller,
    /// True if a session of the caller follows the conversation, that is, receives its events.
    is_followed: bool,
}

/// Maximum number of queued marks.
#[derive(Clone, Copy, Debug)]
struct Limits {
    total: usize,
    per_user: usize,
}

/// Number of queued marks of one user.
#[derive(Clone, Copy, Debug, Default)]
struct UserCount {
    total: usize,
    unfollowed: usize,
}

/// The queued marks, at most one for each target.
#[derive(Debug)]
struct Marks {
    queued: HashMap<Target, Mark>,
    /// Keys of `queued`, oldest first.
    order: VecDeque<Target>,
    counts: HashMap<UserId, UserCount>,
    /// Users of the marks that are being written.
    in_flight: HashSet<UserId>,
    limits: Limits,
}

impl Marks {
    fn new(limits: Limits) -> Self {
        Self {
            queued: HashMap::new(),
            order: VecDeque::new(),
            counts: HashMap::new(),
            in_flight: HashSet::new(),
            limits,
        }
    }

    /// Queues a mark. If its target has a queued mark, the greater of the two is kept. Returns
    /// `false` if the queue has no room.
    fn add(&mut self, target: Target, mark: Mark) -> bool {
        if let Some(queued) = self.queued.get_mut(&target) {
            if mark.seq > queued.seq {
                let is_followed = queued.is_followed;
                *queued = Mark { is_followed, ..mark };
            }
            return true;
        }
        let count = self.counts.get(&target.user()).copied().unwrap_or_default();
        if self.queued.len() >= self.limits.total
            || count.total >= self.limits.per_user
            || (!mark.is_followed && count.unfollowed >= MAX_UNFOLLOWED)
        {
            return false;
        }
        let count = self.counts.entry(target.user()).or_default();
        count.total += 1;
        count.unfollowed += usize::from(!mark.is_followed);
        self.queued.insert(target, mark);
        self.order.push_back(target);
        true
    }

    /// Takes the oldest `max` marks.
    fn take(&mut self, max: usize) -> Vec<(Target, Mark)> {
        let targets: Vec<Target> = self.order.drain(..max.min(self.order.len())).collect();
        let mut taken = Vec::with_capacity(targets.len());
        for target in targets {
            let Some(mark) = self.queued.remove(&target) else {
                continue;
            };
            if let Entry::Occupied(mut entry) = self.counts.entry(target.user()) {
                let count = entry.get_mut();
                count.total = count.total.saturating_sub(1);
                count.unfollowed = count.unfollowed.saturating_sub(usize::from(!mark.is_followed));
                if count.total == 0 {
                    entry.remove();
                }
            }
            self.in_flight.insert(target.user());
            taken.push((target, mark));
        }
        taken
    }

    /// Returns whether this user has marks that are not written yet.
    fn has_unwritten(&self, user: UserId) -> bool {
        self.counts.contains_key(&user) || self.in_flight.contains(&user)
    }
}

/// Queue of marks. When it is full, further marks are dropped; the next mark of the same
/// conversation replaces a dropped one.
#[derive(Debug)]
pub(in crate::engine) struct CursorQueue {
    marks: Mutex<Marks>,
    added: Notify,
    /// Ends the worker's wait for the next write.
    write_now: Notify,
    /// Number of writes that failed; notified after every write.
    failures: watch::Sender<u64>,
    /// Number of queued marks from which on the worker does not wait any longer.
    max_batch: usize,
}

impl CursorQueue {
    pub(in crate::engine) fn new(config: &EngineConfig) -> Self {
        let limits = Limits {
            total: config.max_queued_cursors,
            per_user: config.max_queued_cursors_per_user,
        };
        Self {
            marks: Mutex::new(Marks::new(limits)),
            added: Notify::new(),
            write_now: Notify::new(),
            failures: watch::Sender::default(),
            max_batch: config.max_cursor_batch,
        }
    }

    /// Records that the caller's device has received everything up to `seq`.
    pub(in crate::engine) fn acknowledge(
        &self,
        caller: Caller,
        device: DeviceId,
        conversation: ConversationId,
        seq: Seq,
        is_followed: bool,
    ) {
        let target = Target::Delivered(caller.user, device, conversation);
        self.add(target, caller, seq, is_followed);
    }

    /// Records that the caller has read everything up to `seq`.
    pub(in crate::engine) fn mark_read(
        &self,
        caller: Caller,
        conversation: ConversationId,
        seq: Seq,
        is_followed: bool,
    ) {
        self.add(Target::Read(caller.user, conversation), caller, seq, is_followed);
    }

    fn add(&self, target: Target, caller: Caller, seq: Seq, is_followed: bool) {
        let mark = Mark {
            seq,
            caller,
            is_followed,
        };
        let queued = {
            let mut marks = self.marks.lock();
            if !marks.add(target, mark) {
                return;
            }
            marks.queued.len()
        };
        if queued == 1 {
            self.added.notify_one();
        }
        if queued >= self.max_batch {
            self.write_now.notify_one();
        }
    }

    /// Waits until the marks of this user are written, so that the user's next command sees them.
    /// Gives up when a write fails or takes more than a second: the command then reads the earlier
    /// marks.
    pub(in crate::engine) async fn wait_until_written(&self, user: UserId) {
        if !self.marks.lock().has_unwritten(user) {
            return;
        }
        let mut failures = self.failures.subscribe();
        let before = *failures.borrow_and_update();
        let written = async {
            while self.marks.lock().has_unwritten(user) {
                self.write_now.notify_one();
                if failures.changed().await.is_err() || *failures.borrow_and_update() != before {
                    return;
                }
            }
        };
        if tokio::time::timeout(MARKS_WRITE_TIMEOUT, written).await.is_err() {
            tracing::debug!(
                user = user.0,
                "the marks of a user took too long to write; a command reads the earlier ones"
            );
        }
    }

    fn take(&self, max: usize) -> Vec<(Target, Mark)> {
        self.marks.lock().take(max)
    }

    /// Records the end of a write, and wakes the commands that wait for it.
    fn write_ended(&self, succeeded: bool) {
        self.marks.lock().in_flight.clear();
        self.failures.send_modify(|failures| *failures += u64::from(!succeeded));
    }

    /// Queues marks again after a failed write: at the end of the queue, so that a mark that cannot
    /// be written does not block the others.
    fn put_back(&self, taken: Vec<(Target, Mark)>) {
        let mut marks = self.marks.lock();
        for (target, mark) in taken {
            marks.add(target, mark);
        }
    }

    fn len(&self) -> usize {
        self.marks.lock().queued.len()
    }
}

/// Writes queued marks, and notifies the user's other devices and the other members.
#[derive(Debug)]
pub(in crate::engine) struct CursorWorker {
    queue: Arc<CursorQueue>,
    units: Arc<Units>,
    router: Router,
    flush_interval: Duration,
    max_receipt_members: u32,
    max_batch: usize,
    /// Number of marks in the next transaction. A mark whose row is locked fails its whole batch,
    /// so batches shrink after a failure, down to one mark, and grow again after a success.
    batch: usize,
}

impl CursorWorker {
    pub(in crate::engine) fn new(
        queue: Arc<CursorQueue>,
        units: Arc<Units>,
        router: Router,
        config: &EngineConfig,
    ) -> Self {
        Self {
            queue,
            units,
            router,
            flush_interval: config.cursor_flush_interval,
            max_receipt_members: config.max_receipt_members,
            max_batch: config.max_cursor_batch,
            batch: config.max_cursor_batch,
        }
    }

    /// Runs until the engine drains, then writes the remaining marks.
    pub(in crate::engine) async fn run(mut self, draining: CancellationToken) {
        loop {
            tokio::select! {
                () = self.queue.added.notified() => {}
                () = draining.cancelled() => {
                    self.flush().await;
                    return;
                }
            }
            while self.queue.len() > 0 {
                tokio::select! {
                    () = tokio::time::sleep(self.flush_interval) => {}
                    () = self.queue.write_now.notified() => {}
                    () = draining.cancelled() => {}
                }
                if !self.flush().await && !draining.is_cancelled() {
                    // After a failure, a full queue does not shorten the wait.
                    tokio::time::sleep(self.flush_interval).await;
                }
                if draining.is_cancelled() {
                    return;
                }
            }
        }
    }

    /// Writes the marks that are queued now. Returns `false` if the store failed. After a panic,
    /// the marks of the batch are lost.
    async fn flush(&mut self) -> bool {
        let written = panics::step("cursors", self.write_queued()).await;
        if written.is_none() {
            self.queue.write_ended(false);
        }
        written.unwrap_or(false)
    }

    /// Writes the marks that are queued now, in batches. Returns `false` after the first failure.
    async fn write_queued(&mut self) -> bool {
        let mut remaining = self.queue.len();
        while remaining > 0 {
            let taken = self.queue.take(self.batch);
            if taken.is_empty() {
                return true;
            }
            remaining = remaining.saturating_sub(taken.len());
            let write = write(self.units.store(), &taken);
            match self.units.write(Scope::Marks, write).await {
                Some(Ok(())) => self.queue.write_ended(true),
                Some(Err(error)) => {
                    let error = &error as &dyn Error;
                    tracing::debug!(marks = taken.len(), error, "cannot write marks; trying again");
                    self.queue.put_back(taken);
                    self.queue.write_ended(false);
                    self.batch = (self.batch / 4).max(1);
                    return false;
                }
                // The store is known to be unavailable, so nothing was tried.
                None => {
                    self.queue.put_back(taken);
                    self.queue.write_ended(false);
                    return false;
                }
            }
            self.batch = self.batch.saturating_mul(2).min(self.max_batch);
            self.notify(&taken).await;
        }
        true
    }

    /// Sends pushes about written marks, once for each user and conversation, no matter how many of
    /// the user's devices have acknowledged events.
    async fn notify(&self, written: &[(Target, Mark)]) {
        let mut advanced: HashMap<(UserId, ConversationId), (DeviceId, Option<Caller>)> = HashMap::new();
        for (target, mark) in written {
            match *target {
                Target::Delivered(user, device, conversation) => {
                    advanced.entry((user, conversation)).or_insert((device, None));
                }
                Target::Read(user, conversation) => {
                    let reader = mark.caller;
                    advanced.insert((user, conversation), (reader.device_or_none(), Some(reader)));
                }
            }
        }
        stream::iter(advanced)
            .for_each_concurrent(
                MAX_CONCURRENT_READS,
                async |((user, conversation), (device, reader))| {
                    let membership = self.units.store().membership(user, device, conversation);
                    if let Ok(Some(membership)) = self.units.read(membership).await {
                        self.notify_of(user, reader, &membership).await;
                    }
                },
            )
            .await;
    }

    /// Sends the read mark to the user's other devices if `reader` has moved it, and a receipt to
    /// the other members.
    async fn notify_of(&self, user: UserId, reader: Option<Caller>, membership: &MembershipView) {
        let (conversation, member) = (&membership.conversation, &membership.member);
        if reader.is_some() {
            let read = Push::Read {
                conversation: conversation.id,
                read_seq: member.read_seq,
                unread: u32::try_from(membership.unread).unwrap_or(u32::MAX),
                mentions: u32::try_from(membership.mentions).unwrap_or(u32::MAX),
            };
            self.router.notify_user(user, &read, reader);
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
                    && may_signal(&self.units, user, peer.user).await
                {
                    self.router.notify_user(peer.user, &receipt, None);
                }
            }
            ConversationKind::Group if conversation.member_count <= self.max_receipt_members => {
                self.router.notify_conversation(conversation.id, &receipt, reader);
            }
            ConversationKind::Group | ConversationKind::Inbox { .. } => {}
        }
    }
}

async fn write(store: &dyn Store, marks: &[(Target, Mark)]) -> Result<(), StoreError> {
    let mut cursors = Vec::new();
    let mut reads = Vec::new();
    for (target, mark) in marks {
        match *target {
            Target::Delivered(user, device, conversation) => cursors.push((user, device, conversation, mark.seq)),
            Target::Read(user, conversation) => reads.push((user, conversation, mark.seq)),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::SessionEpoch;

    fn caller(user: u64) -> Caller {
        Caller::login(UserId(user), DeviceId([1; 16]), SessionEpoch(1))
    }

    fn mark(user: u64, seq: u64, is_followed: bool) -> Mark {
        Mark {
            seq: Seq(seq),
            caller: caller(user),
            is_followed,
        }
    }

    fn read(user: u64, conversation: u64) -> Target {
        Target::Read(UserId(user), ConversationId(conversation))
    }

    fn marks(total: usize, per_user: usize) -> Marks {
        Marks::new(Limits { total, per_user })
    }

    #[test]
    fn marks_of_one_target_merge_to_the_highest() {
        let mut marks = marks(10, 10);
        for seq in [3, 5, 4] {
            assert!(marks.add(read(1, 1), mark(1, seq, true)));
        }
        let taken = marks.take(10);
        assert_eq!(taken.len(), 1);
        assert_eq!(taken[0].1.seq, Seq(5));
        assert!(marks.counts.is_empty());
    }

    #[test]
    fn marks_are_bounded_in_total_and_per_user() {
        let mut marks = marks(3, 2);
        assert!(marks.add(read(1, 1), mark(1, 1, true)) && marks.add(read(1, 2), mark(1, 1, true)));
        assert!(!marks.add(read(1, 3), mark(1, 1, true)), "the user has too many marks");
        assert!(marks.add(read(2, 1), mark(2, 1, true)));
        assert!(!marks.add(read(3, 1), mark(3, 1, true)), "there are too many marks");
        assert!(marks.add(read(1, 1), mark(1, 2, true)), "merging takes no room");
        assert_eq!(marks.counts.len(), 2, "a refused mark is not counted");
    }

    #[test]
    fn marks_in_unfollowed_conversations_have_a_separate_bound() {
        let mut marks = marks(1000, 1000);
        for conversation in 0..MAX_UNFOLLOWED as u64 {
            assert!(marks.add(read(1, conversation), mark(1, 1, false)));
        }
        assert!(!marks.add(read(1, 999), mark(1, 1, false)));
        assert!(marks.add(read(1, 999), mark(1, 1, true)));
        marks.take(1);
        assert!(marks.add(read(1, 998), mark(1, 1, false)));
    }

    #[test]
    fn marks_are_taken_oldest_first() {
        let mut marks = marks(10, 10);
        for conversation in 1..=3 {
            marks.add(read(1, conversation), mark(1, 1, true));
        }
        marks.add(read(1, 1), mark(1, 2, true));
        let taken: Vec<Target> = marks.take(2).into_iter().map(|(target, _)| target).collect();
        assert_eq!(taken, [read(1, 1), read(1, 2)]);
    }
}
