//! Queue of marks between the commands that report them and the worker that writes them.

use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::pending::{Mark, MarkLimits, MarkedPosition, Marks};
use crate::engine::config::EngineConfig;
use crate::engine::error::CommandError;
use crate::model::{Caller, ConversationId, DeviceId, Seq, UserId};
use crate::sync::Mutex;
use crate::time::now;

/// Maximum time for which a command waits until earlier marks of its user are written. It counts
/// from the start of the write that is running, or from the start of the wait if none is.
const MARKS_WRITE_TIMEOUT: Duration = Duration::from_secs(1);

/// Queue of marks. When it is full, or a user has too many marks in it, a mark is refused unless
/// one of its position is queued. The next mark of the position makes up for a refused one.
#[derive(Debug)]
pub(in crate::engine) struct MarkQueue {
    marks: Mutex<Marks>,
    /// Wakes the worker when a mark is added to the empty queue.
    pub(super) added: Notify,
    /// Makes the worker check whether the next write is due.
    pub(super) write_now: Notify,
    /// Number of the latest mark whose write has ended, successfully or not; `u64::MAX` once the
    /// queue is [closed](Self::close).
    ended: watch::Sender<u64>,
    /// Commands that may still add a mark.
    expected: TaskTracker,
    /// Number of queued marks at which the worker writes without waiting any longer.
    max_batch: usize,
}

impl MarkQueue {
    pub(in crate::engine) fn new(config: &EngineConfig) -> Self {
        let limits = MarkLimits {
            total: config.max_queued_marks,
            per_user: config.max_queued_marks_per_user,
        };
        Self {
            marks: Mutex::new(Marks::new(limits)),
            added: Notify::new(),
            write_now: Notify::new(),
            ended: watch::Sender::default(),
            expected: TaskTracker::new(),
            max_batch: config.max_mark_batch,
        }
    }

    /// Records that the caller's device has acknowledged everything up to `seq`.
    ///
    /// # Errors
    /// [`Busy`](crate::model::ReplyCode::Busy): there is no room;
    /// [`ShuttingDown`](crate::model::ReplyCode::ShuttingDown): the queue is
    /// [closed](Self::close). Nothing was recorded.
    pub(in crate::engine) fn acknowledge(
        &self,
        caller: Caller,
        device: DeviceId,
        conversation: ConversationId,
        seq: Seq,
    ) -> Result<(), CommandError> {
        self.add(
            MarkedPosition::Delivered(caller.user, device, conversation),
            caller,
            seq,
        )
    }

    /// Records that the caller has read everything up to `seq`.
    ///
    /// # Errors
    /// [`Busy`](crate::model::ReplyCode::Busy): there is no room;
    /// [`ShuttingDown`](crate::model::ReplyCode::ShuttingDown): the queue is
    /// [closed](Self::close). Nothing was recorded.
    pub(in crate::engine) fn mark_read(
        &self,
        caller: Caller,
        conversation: ConversationId,
        seq: Seq,
    ) -> Result<(), CommandError> {
        self.add(MarkedPosition::Read(caller.user, conversation), caller, seq)
    }

    /// Returns a token for a command that asks the store before it adds a mark. At the end, the
    /// worker waits a limited time for the token to be dropped, so that it writes the mark too.
    pub(in crate::engine) fn expect_mark(&self) -> TaskTrackerToken {
        self.expected.token()
    }

    /// Waits until no command is about to add a mark.
    pub(super) async fn wait_for_expected(&self) {
        self.expected.close();
        self.expected.wait().await;
    }

    fn add(&self, position: MarkedPosition, caller: Caller, seq: Seq) -> Result<(), CommandError> {
        let mark = Mark { seq, caller };
        let queued = {
            let mut marks = self.marks.lock();
            if *self.ended.borrow() == u64::MAX {
                return Err(CommandError::shutting_down());
            }
            if !marks.add(position, mark) {
                return Err(CommandError::busy());
            }
            marks.len()
        };
        if queued == 1 {
            self.added.notify_one();
        }
        if queued >= self.max_batch {
            self.write_now.notify_one();
        }
        Ok(())
    }

    /// Waits until the marks of this user are written, so that the command that waits reads them.
    /// Gives up when their write fails or [`MARKS_WRITE_TIMEOUT`] has passed, and does not wait if
    /// the last write of a mark of this user failed and the mark was queued again: the command then
    /// reads the earlier marks.
    pub(in crate::engine) async fn wait_until_written(&self, user: UserId) {
        let (newest, deadline) = {
            let mut marks = self.marks.lock();
            let Some(newest) = marks.await_user(user) else {
                return;
            };
            let start = marks.write_started().unwrap_or_else(now);
            (newest, start + MARKS_WRITE_TIMEOUT)
        };
        self.write_now.notify_one();
        let mut ended = self.ended.subscribe();
        let written = ended.wait_for(|ended| *ended >= newest);
        if tokio::time::timeout_at(deadline.into(), written).await.is_err() {
            tracing::debug!(
                user = user.0,
                "the marks of a user took too long to write; a command reads the earlier ones"
            );
        }
    }

    pub(super) fn take(&self, max: usize) -> Vec<(MarkedPosition, Mark)> {
        self.marks.lock().take(max, now())
    }

    /// Records the end of a write, and wakes the commands that wait for it.
    pub(super) fn write_ended(&self) {
        let ended = self.marks.lock().write_ended();
        self.wake(ended);
    }

    /// Records that a write failed, queues those of its marks again for which there is room, and
    /// wakes the commands that wait for it.
    pub(super) fn write_failed(&self, taken: Vec<(MarkedPosition, Mark)>) {
        let ended = self.marks.lock().write_failed(taken);
        self.wake(ended);
    }

    /// Refuses further marks, and lets commands read without waiting.
    pub(super) fn close(&self) {
        let _marks = self.marks.lock(); // no mark is being added
        self.wake(u64::MAX);
    }

    fn wake(&self, ended: u64) {
        self.ended.send_modify(|latest| *latest = ended.max(*latest));
    }

    pub(super) fn len(&self) -> usize {
        self.marks.lock().len()
    }

    /// Returns whether the queue has enough marks for a batch of the maximum size.
    pub(super) fn has_full_batch(&self) -> bool {
        self.len() >= self.max_batch
    }

    /// Returns whether a command has requested that a queued mark is written soon.
    pub(super) fn is_awaited(&self) -> bool {
        self.marks.lock().is_awaited()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::SessionEpoch;

    #[tokio::test(start_paused = true)]
    async fn closed_queue_lets_commands_read_at_once() {
        let queue = MarkQueue::new(&EngineConfig::default());
        let caller = Caller::login(UserId(1), DeviceId([1; 16]), SessionEpoch(1));
        queue.mark_read(caller, ConversationId(1), Seq(1)).unwrap();
        queue.close();
        let start = now();
        queue.wait_until_written(caller.user).await;
        assert_eq!(now(), start);
    }
}
