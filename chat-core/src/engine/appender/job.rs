//! What waits for the appender, and how much of it may.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use futures_util::future::BoxFuture;
use tokio::sync::{Notify, oneshot};

use super::holds::Refused;
use crate::engine::core::{Core, panic_text};
use crate::engine::directory::Target;
use crate::engine::error::CommandError;
use crate::engine::message::Prepared;
use crate::model::{Caller, ConversationRef, Draft, Outcome};
use crate::sync::{Mutex, MutexGuard};

/// Something that has to happen in a conversation, in its turn.
pub(in crate::engine) struct Job {
    pub(in crate::engine) caller: Caller,
    pub(in crate::engine) conversation: ConversationRef,
    pub(in crate::engine) work: Work,
    pub(in crate::engine) reply: Reply,
    /// When it is given up.
    pub(in crate::engine) deadline: Instant,
    /// Its share of the node's queue.
    pub(in crate::engine) charge: Charge,
}

/// What it is.
pub(in crate::engine) enum Work {
    /// To append a draft; it is kept only where hooks have to see it.
    Append(Box<Prepared>, Option<Draft>),
    /// Anything else.
    Other(LaneWork),
}

/// Something else that runs in a lane.
pub(in crate::engine) type LaneWork =
    Box<dyn FnOnce(Arc<Core>, Target) -> BoxFuture<'static, Result<Outcome, CommandError>> + Send>;

/// Where the answer goes.
pub(in crate::engine) type Reply = oneshot::Sender<Result<Outcome, CommandError>>;

/// Answers whoever waits, if they still do. Their waker runs here: a panic of it is theirs, and others do not suffer for it.
pub(super) fn answer(reply: Reply, result: Result<Outcome, CommandError>) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(reply.send(result)))) {
        tracing::error!(
            panic = panic_text(&*panic),
            "what waited for a command panicked when it was woken"
        );
    }
}

impl Job {
    /// Answers without doing it.
    pub(super) fn refuse(self, error: CommandError) {
        answer(self.reply, Err(error));
    }

    /// What it is called once it was refused; `None` for what has no id to come again with.
    pub(super) fn as_refused(&self) -> Option<Refused> {
        match &self.work {
            Work::Append(draft, _) => Some(Refused {
                caller: self.caller,
                conversation: self.conversation.clone(),
                id: draft.client_message_id,
            }),
            Work::Other(_) => None,
        }
    }
}

/// What comes out of the queue.
#[derive(Debug)]
pub(super) enum Arrival {
    Job(Job),
    /// There was no room for it.
    Refused(Refused),
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job")
            .field("caller", &self.caller)
            .field("conversation", &self.conversation)
            .finish_non_exhaustive()
    }
}

/// A share of the bytes that may wait on this node; given back when dropped.
#[derive(Debug)]
pub(in crate::engine) struct Charge {
    used: Arc<AtomicUsize>,
    bytes: usize,
}

impl Charge {
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Length of the queue up to which it also remembers what it had no room for.
const MOST_WITH_REFUSED: usize = 65_536;

/// The queue in front of the appender. Bounded by bytes, see `EngineConfig::max_queued_bytes`; whoever finds it full is told that
/// the node is busy.
#[derive(Debug)]
pub(in crate::engine) struct AppendQueue {
    /// `None` once nobody will take jobs any more.
    jobs: Mutex<Option<Vec<Arrival>>>,
    ready: Notify,
    used: Arc<AtomicUsize>,
    limit: usize,
    /// Where the appender panics, once.
    #[cfg(test)]
    pub(in crate::engine) panics_at: Mutex<Option<&'static str>>,
}

impl AppendQueue {
    pub(in crate::engine) fn new(limit: usize) -> Self {
        Self {
            jobs: Mutex::new(Some(Vec::new())),
            ready: Notify::new(),
            used: Arc::default(),
            limit,
            #[cfg(test)]
            panics_at: Mutex::default(),
        }
    }

    /// The appender has come to this step, at which a test may have it panic.
    #[cfg(test)]
    pub(super) fn step(&self, step: &'static str) {
        let mut panics_at = self.panics_at.lock();
        if *panics_at == Some(step) {
            *panics_at = None;
            drop(panics_at);
            panic!("a test wants it at {step}");
        }
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "only tests look at it")]
    pub(super) fn step(&self, _: &'static str) {}

    /// Takes a share, if there is room.
    pub(in crate::engine) fn charge(&self, bytes: usize) -> Result<Charge, CommandError> {
        let charge = Charge {
            used: Arc::clone(&self.used),
            bytes,
        };
        // Dropping the charge gives it back.
        if self.used.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) > self.limit {
            return Err(CommandError::busy());
        }
        Ok(charge)
    }

    /// Queues a job. Its place is fixed when this returns.
    pub(in crate::engine) fn push(&self, job: Job) {
        let mut queue = self.queue();
        let Some(jobs) = queue.as_mut() else {
            drop(queue);
            job.refuse(CommandError::shutting_down());
            return;
        };
        jobs.push(Arrival::Job(job));
        let first = jobs.len() == 1;
        drop(queue);
        if first {
            self.ready.notify_one();
        }
    }

    /// Notes the place of a draft that was refused for want of room: nothing that was sent after it may overtake it.
    pub(in crate::engine) fn push_refused(&self, refused: Refused) {
        let mut queue = self.queue();
        if let Some(jobs) = queue.as_mut()
            && jobs.len() < MOST_WITH_REFUSED
        {
            jobs.push(Arrival::Refused(refused));
            let first = jobs.len() == 1;
            drop(queue);
            if first {
                self.ready.notify_one();
            }
        }
    }

    /// Everything that has come.
    pub(super) fn take(&self) -> Vec<Arrival> {
        self.queue().as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Everything that has come, or nothing for ever: then what comes later is refused.
    pub(super) fn take_or_close(&self) -> Option<Vec<Arrival>> {
        let mut queue = self.queue();
        if queue.as_ref().is_none_or(Vec::is_empty) {
            *queue = None;
        }
        queue.as_mut().map(std::mem::take)
    }

    /// Refuses whatever waits and whatever comes.
    pub(in crate::engine) fn close(&self) {
        let waiting = self.queue().take();
        for arrival in waiting.unwrap_or_default() {
            if let Arrival::Job(job) = arrival {
                job.refuse(CommandError::shutting_down());
            }
        }
    }

    fn queue(&self) -> MutexGuard<'_, Option<Vec<Arrival>>> {
        self.jobs.lock()
    }

    /// Waits until something has come.
    pub(super) async fn ready(&self) {
        self.ready.notified().await;
    }

    /// Bytes that wait.
    pub(in crate::engine) fn queued_bytes(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}
