//! Queue of marks between the commands that report them and the worker that writes them.

use std::time::Duration;

use tokio::sync::{Notify, watch};

use super::marks::{Limits, Mark, Marks, Target};
use crate::engine::config::EngineConfig;
use crate::model::{Caller, ConversationId, DeviceId, Seq, UserId};
use crate::sync::Mutex;

/// Maximum time for which a command waits until earlier marks of its user are written.
const MARKS_WRITE_TIMEOUT: Duration = Duration::from_secs(1);

/// Queue of marks. When it is full, further marks are dropped; the next mark of the same
/// conversation replaces a dropped one.
#[derive(Debug)]
pub(in crate::engine) struct CursorQueue {
    marks: Mutex<Marks>,
    pub(super) added: Notify,
    /// Ends the worker's wait for the next write.
    pub(super) write_now: Notify,
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
    ) {
        self.add(Target::Delivered(caller.user, device, conversation), caller, seq);
    }

    /// Records that the caller has read everything up to `seq`.
    pub(in crate::engine) fn mark_read(&self, caller: Caller, conversation: ConversationId, seq: Seq) {
        self.add(Target::Read(caller.user, conversation), caller, seq);
    }

    fn add(&self, target: Target, caller: Caller, seq: Seq) {
        let mark = Mark { seq, caller };
        let queued = {
            let mut marks = self.marks.lock();
            if !marks.add(target, mark) {
                return;
            }
            marks.len()
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

    pub(super) fn take(&self, max: usize) -> Vec<(Target, Mark)> {
        self.marks.lock().take(max)
    }

    /// Records the end of a write, and wakes the commands that wait for it.
    pub(super) fn write_ended(&self, succeeded: bool) {
        self.marks.lock().write_ended();
        self.failures.send_modify(|failures| *failures += u64::from(!succeeded));
    }

    /// Queues marks again after a failed write: at the end of the queue, so that a mark that cannot
    /// be written does not block the others.
    pub(super) fn put_back(&self, taken: Vec<(Target, Mark)>) {
        let mut marks = self.marks.lock();
        for (target, mark) in taken {
            marks.add(target, mark);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.marks.lock().len()
    }
}
