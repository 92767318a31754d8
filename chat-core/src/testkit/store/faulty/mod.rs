//! [`FaultyStore`]: a store that fails on demand.

mod forward;

use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::model::{
    Account, ClientMessageId, Contact, Conversation, ConversationId, ConversationKind, Device, DeviceId, Event, Member,
    NodeId, Page, Seq, StoreEpoch, Timestamp, UserId,
};
use crate::store::{
    AccountStore, AuditPage, AuditRecord, ContactStore, ConversationStore, CursorStore, EventPage, FeedBacklog,
    FeedLease, FeedPosition, FeedShard, FeedStore, Heartbeat, ListedGroup, LogVersion, MembershipView, MessageStore,
    NamedGroup, OperatorStore, SentEvent, Store, StoreError, StoreStats, Transaction, TxError, Unit, UserChange,
};
use crate::sync::Mutex;

/// A store that wraps another [`Store`] and injects the faults that a test requests.
///
/// Each method `fail_…` adds a fault to a queue. Each unit of work takes the first fault out of the
/// queue, and fails as that method describes. It commits normally if the queue is empty.
#[derive(Debug)]
pub struct FaultyStore {
    inner: Arc<dyn Store>,
    plan: Mutex<Plan>,
    /// True while every call but `close` waits.
    held: watch::Sender<bool>,
    /// True while the answers of [`ConversationStore::memberships`] are held back.
    memberships_held: watch::Sender<bool>,
    /// True while every unit of work waits before it runs.
    units_held: watch::Sender<bool>,
}

/// The faults to inject, the time to report, and counts of calls.
#[derive(Debug, Default)]
struct Plan {
    /// True if every call but `close` fails.
    unavailable: bool,
    /// Conversation whose log cannot be read outside of units of work, except by `find_sent`.
    unreadable: Option<ConversationId>,
    /// Conversation whose cursors and read marks are never written: calls that contain one of them
    /// wait forever.
    stuck_marks: Option<ConversationId>,
    /// True if writes of cursors and read marks fail.
    marks_fail: bool,
    /// Largest number of cursors or read marks in one call.
    largest_mark_batch: usize,
    /// Number of calls that write cursors or read marks.
    mark_writes: u64,
    /// Number of calls of methods of [`AccountStore`].
    account_reads: u64,
    /// Time that the store reports as its clock instead of the time of the wrapped store.
    time: Option<Timestamp>,
    /// Faults of the next commits, in order.
    commit_faults: VecDeque<Fault>,
}

/// Fault of one commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// The commit does not happen; the error is `Unavailable`.
    Before,
    /// The commit happens, but the error is `Unavailable`.
    After,
    /// The commit does not happen; the error is `Full`.
    Full,
    /// The commit does not happen; the error is `Overloaded`.
    Overloaded,
    /// The commit does not happen; the error is `AlreadySent`.
    AlreadySent,
    /// The unit does not run, and no answer arrives.
    Hang,
    /// The commit happens, and no answer arrives.
    HangAfter,
    /// The unit does not run, and the store panics.
    Panic,
}

/// Guard that makes calls to the store wait until the guard is dropped. The method that returned
/// the guard determines which calls wait. If the method returned several guards, the calls wait
/// until the first of them is dropped.
#[derive(Debug)]
#[must_use]
pub struct HoldGuard(watch::Sender<bool>);

impl Drop for HoldGuard {
    fn drop(&mut self) {
        self.0.send_replace(false);
    }
}

impl FaultyStore {
    /// Wraps `inner`, without faults at first.
    #[must_use]
    pub fn new(inner: Arc<dyn Store>) -> Self {
        Self {
            inner,
            plan: Mutex::default(),
            held: watch::Sender::new(false),
            memberships_held: watch::Sender::new(false),
            units_held: watch::Sender::new(false),
        }
    }

    /// Returns the wrapped store, which has no injected faults.
    #[must_use]
    pub fn inner(&self) -> &Arc<dyn Store> {
        &self.inner
    }

    /// Queues a fault: the commit fails. Its unit runs and is rolled back, and the answer is
    /// [`StoreError::Unavailable`].
    pub fn fail_before_commit(&self) {
        self.plan(|plan| plan.commit_faults.push_back(Fault::Before));
    }

    /// Queues a fault: the commit happens, but the answer is [`StoreError::Unavailable`].
    pub fn fail_after_commit(&self) {
        self.plan(|plan| plan.commit_faults.push_back(Fault::After));
    }

    /// Queues a fault: the commit fails with [`StoreError::Full`].
    pub fn fail_full(&self) {
        self.plan(|plan| plan.commit_faults.push_back(Fault::Full));
    }

    /// Queues a fault: the commit fails with [`StoreError::Overloaded`].
    pub fn fail_overloaded(&self) {
        self.plan(|plan| plan.commit_faults.push_back(Fault::Overloaded));
    }

    /// Queues a fault: the commit fails with [`StoreError::AlreadySent`].
    pub fn fail_already_sent(&self) {
        self.plan(|plan| plan.commit_faults.push_back(Fault::AlreadySent));
    }

    /// Sets whether every call but `close` fails with [`StoreError::Unavailable`] and does nothing.
    pub fn set_unavailable(&self, unavailable: bool) {
        self.plan(|plan| plan.unavailable = unavailable);
    }

    /// Sets the conversation whose log cannot be read, if any. Units of work and `find_sent` can
    /// still read it.
    pub fn set_unreadable(&self, conversation: Option<ConversationId>) {
        self.plan(|plan| plan.unreadable = conversation);
    }

    /// Queues a fault: the unit does not run, and no answer arrives, as when a unit of work waits
    /// for a lock.
    pub fn fail_hanging(&self) {
        self.plan(|plan| plan.commit_faults.push_back(Fault::Hang));
    }

    /// Queues a fault: the commit happens, but no answer arrives.
    pub fn fail_hanging_after_commit(&self) {
        self.plan(|plan| plan.commit_faults.push_back(Fault::HangAfter));
    }

    /// Queues a fault: the store panics instead of running the unit, like a store with a defect.
    pub fn fail_panicking(&self) {
        self.plan(|plan| plan.commit_faults.push_back(Fault::Panic));
    }

    /// Sets the conversation whose cursors and read marks are never written, if any: calls of
    /// methods of [`CursorStore`] that contain one of them wait forever.
    pub fn set_marks_stuck(&self, conversation: Option<ConversationId>) {
        self.plan(|plan| plan.stuck_marks = conversation);
    }

    /// Sets whether calls of methods of [`CursorStore`], which write cursors and read marks, fail
    /// with [`StoreError::Unavailable`].
    pub fn set_marks_failing(&self, failing: bool) {
        self.plan(|plan| plan.marks_fail = failing);
    }

    /// Returns the largest number of cursors or read marks in one of the calls that
    /// [`mark_writes`](Self::mark_writes) counts.
    #[must_use]
    pub fn largest_mark_batch(&self) -> usize {
        self.plan(|plan| plan.largest_mark_batch)
    }

    /// Returns the number of calls that write cursors or read marks so far, including those that
    /// failed or wait because of [`set_marks_failing`](Self::set_marks_failing) or
    /// [`set_marks_stuck`](Self::set_marks_stuck).
    #[must_use]
    pub fn mark_writes(&self) -> u64 {
        self.plan(|plan| plan.mark_writes)
    }

    /// Returns the number of calls of methods of [`AccountStore`] so far.
    #[must_use]
    pub fn account_reads(&self) -> u64 {
        self.plan(|plan| plan.account_reads)
    }

    /// Removes all faults from the queue of commits.
    pub fn clear_commit_faults(&self) {
        self.plan(|plan| plan.commit_faults.clear());
    }

    /// Makes [`Store::time`] and heartbeats report this time as the store's clock. `None` reports
    /// the clock of the wrapped store again.
    pub fn set_time(&self, time: Option<Timestamp>) {
        self.plan(|plan| plan.time = time);
    }

    /// Makes every call but `close` wait until the guard is dropped.
    pub fn hold(&self) -> HoldGuard {
        self.held.send_replace(true);
        HoldGuard(self.held.clone())
    }

    /// Makes calls of [`ConversationStore::memberships`] read the store at once, but return only
    /// when the guard is dropped. Their results may then be outdated.
    pub fn hold_memberships(&self) -> HoldGuard {
        self.memberships_held.send_replace(true);
        HoldGuard(self.memberships_held.clone())
    }

    /// Makes units of work wait before they run, until the guard is dropped. Reads outside of units
    /// continue.
    pub fn hold_units(&self) -> HoldGuard {
        self.units_held.send_replace(true);
        HoldGuard(self.units_held.clone())
    }

    /// Returns the number of units of work that wait because of [`hold_units`](Self::hold_units) or
    /// [`hold`](Self::hold).
    #[must_use]
    pub fn waiting_units(&self) -> usize {
        self.units_held.receiver_count()
    }

    /// Reads or changes the plan.
    fn plan<T>(&self, change: impl FnOnce(&mut Plan) -> T) -> T {
        change(&mut self.plan.lock())
    }

    /// Waits while units of work are held, then applies the faults that affect every call. Returns
    /// the wrapped store.
    async fn enter_unit(&self) -> Result<&dyn Store, StoreError> {
        let mut held = self.units_held.subscribe();
        // Cannot fail: the sender is in `self`.
        let _ = held.wait_for(|held| !held).await;
        self.enter().await
    }

    /// Waits while every call is held, then fails if the store is unavailable. Returns the wrapped
    /// store.
    async fn enter(&self) -> Result<&dyn Store, StoreError> {
        let mut held = self.held.subscribe();
        // Cannot fail: the sender is in `self`.
        let _ = held.wait_for(|held| !held).await;
        if self.plan(|plan| plan.unavailable) {
            return Err(injected());
        }
        Ok(&*self.inner)
    }

    /// Applies the faults that affect calls of methods of [`AccountStore`], and counts the call.
    async fn enter_accounts(&self) -> Result<&dyn Store, StoreError> {
        self.plan(|plan| plan.account_reads += 1);
        self.enter().await
    }

    /// Applies the faults that affect reads of a log.
    async fn enter_log(&self, conversation: ConversationId) -> Result<&dyn Store, StoreError> {
        let inner = self.enter().await?;
        match self.plan(|plan| plan.unreadable == Some(conversation)) {
            true => Err(injected()),
            false => Ok(inner),
        }
    }

    /// Applies the faults that affect writes of cursors and read marks.
    async fn enter_marks(&self, conversations: Vec<ConversationId>) -> Result<&dyn Store, StoreError> {
        let inner = self.enter().await?;
        let (stuck, is_failing) = self.plan(|plan| {
            plan.mark_writes += 1;
            plan.largest_mark_batch = plan.largest_mark_batch.max(conversations.len());
            (plan.stuck_marks, plan.marks_fail)
        });
        if stuck.is_some_and(|stuck| conversations.contains(&stuck)) {
            std::future::pending::<()>().await;
        }
        if is_failing { Err(injected()) } else { Ok(inner) }
    }
}

fn injected() -> StoreError {
    StoreError::unavailable("injected by a test")
}
