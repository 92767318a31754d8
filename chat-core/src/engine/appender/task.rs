//! The appender's task.

use std::collections::{HashMap, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::time::timeout_at;

use super::holds::{Holds, Refused, is_for_now};
use super::job::{Arrival, Charge, Job, LaneWork, Reply, Work};
use super::lane::{Lane, Next, Queued};
use crate::engine::core::{Core, contain, panic_text};
use crate::engine::directory::Target;
use crate::engine::error::CommandError;
use crate::engine::message::{Appends, BatchRules, Prepared};
use crate::model::{Appended, Caller, ConversationId, DeviceId, Outcome, ReplyCode, UserId};

/// Runs until the engine drains and everything that came was answered. A panic costs what was queued, not the task.
pub(in crate::engine) async fn run(core: Arc<Core>) {
    loop {
        let appender = Appender::new(Arc::clone(&core));
        match AssertUnwindSafe(appender.run()).catch_unwind().await {
            Ok(()) => return,
            Err(panic) => tracing::error!(panic = panic_text(&*panic), "the appender panicked; it starts afresh"),
        }
    }
}

type Session = (UserId, DeviceId);

struct Appender {
    core: Arc<Core>,
    lanes: HashMap<ConversationId, Lane>,
    /// Lanes that may have something to begin.
    ripe: Vec<ConversationId>,
    /// Jobs of sessions that wait for an earlier one of theirs to be prepared.
    waiting: HashMap<Session, VecDeque<Job>>,
    /// What must not be overtaken.
    holds: Holds,
    work: FuturesUnordered<BoxFuture<'static, Done>>,
}

/// Something that was under way has ended.
enum Done {
    /// A job knows its conversation, or why it is refused.
    Prepared {
        session: Session,
        job: Box<Result<(Target, Job), (Job, CommandError)>>,
    },
    /// A lane's transaction ended.
    Committed {
        lane: ConversationId,
        /// Drafts that were refused, in their order.
        refused: Vec<(Refused, CommandError)>,
        /// Nothing could be done.
        failed: Option<CommandError>,
    },
}

impl Appender {
    fn new(core: Arc<Core>) -> Self {
        Self {
            holds: Holds::new(core.config.order_patience),
            core,
            lanes: HashMap::new(),
            ripe: Vec::new(),
            waiting: HashMap::new(),
            work: FuturesUnordered::new(),
        }
    }

    async fn run(mut self) {
        let core = Arc::clone(&self.core);
        loop {
            tokio::select! {
                // What has ended frees its lane, so it comes first; new jobs then join the next batch.
                biased;
                Some(done) = self.work.next(), if !self.work.is_empty() => self.finish(done),
                () = core.appends.ready() => {}
                () = core.draining.cancelled(), if self.work.is_empty() => {
                    let Some(last) = core.appends.take_or_close() else {
                        return;
                    };
                    last.into_iter().for_each(|arrival| self.arrive(arrival));
                }
            }
            // Everything that ended or came meanwhile belongs to the same round: the batches get as large as they can.
            while let Some(Some(done)) = self.work.next().now_or_never() {
                self.finish(done);
            }
            for arrival in core.appends.take() {
                self.arrive(arrival);
            }
            self.begin();
        }
    }

    fn arrive(&mut self, arrival: Arrival) {
        match arrival {
            Arrival::Job(job) => self.accept(job),
            Arrival::Refused(draft) => self.holds.refused(draft, &CommandError::busy(), Instant::now()),
        }
    }

    /// Puts a job into its lane, or behind what has to come before.
    fn accept(&mut self, job: Job) {
        let session = (job.caller.user, job.caller.device);
        if let Some(waiting) = self.waiting.get_mut(&session) {
            waiting.push_back(job);
            return;
        }
        let known = self.core.directory.known(job.caller.user, &job.conversation);
        match known {
            Some(target) if !needs_hooks(&job) => self.enter(target, job),
            _ => {
                self.waiting.insert(session, VecDeque::new());
                self.work.push(Box::pin(prepare(Arc::clone(&self.core), session, job)));
            }
        }
    }

    fn enter(&mut self, target: Target, job: Job) {
        let now = Instant::now();
        let draft = job.as_refused();
        if let Some(draft) = &draft
            && let Err(error) = self.holds.pass(draft, Some(target.id), now)
        {
            job.refuse(error);
            return;
        }
        let lane = self.lanes.entry(target.id).or_insert_with(|| Lane::new(target.kind));
        if lane.has_room(&job, &self.core.config) {
            lane.push(job);
        } else {
            let error = CommandError::busy();
            let refused = draft.map(|draft| (draft, error.clone()));
            job.refuse(error);
            self.holds.refused_after_all(Vec::from_iter(refused), target.id, now);
        }
        self.ripe.push(target.id);
    }

    /// Answers a job that has no lane yet.
    fn refuse(&mut self, job: Job, error: &CommandError) {
        if let Some(draft) = job.as_refused() {
            self.holds.refused(draft, error, Instant::now());
        }
        job.refuse(error.clone());
    }

    fn finish(&mut self, done: Done) {
        match done {
            Done::Prepared { session, job } => {
                let waiting = self.waiting.remove(&session).unwrap_or_default();
                let mut failed = None;
                match *job {
                    Ok((target, job)) => self.enter(target, job),
                    Err((job, error)) if is_for_now(&error) => {
                        self.refuse(job, &error);
                        failed = Some(error);
                    }
                    Err((job, error)) => job.refuse(error),
                }
                for next in waiting {
                    match &failed {
                        Some(error) => self.refuse(next, error),
                        None => self.accept(next),
                    }
                }
            }
            Done::Committed {
                lane: id,
                mut refused,
                failed,
            } => {
                if let Some(lane) = self.lanes.get_mut(&id) {
                    lane.in_flight = false;
                    refused.extend(match &failed {
                        Some(error) => lane.fail(error),
                        None if refused.is_empty() => Vec::new(),
                        None => {
                            let sessions: Vec<Caller> = refused.iter().map(|(draft, _)| draft.caller).collect();
                            lane.fail_sessions(&CommandError::try_again(), &sessions)
                        }
                    });
                    self.ripe.push(id);
                }
                self.holds.refused_after_all(refused, id, Instant::now());
            }
        }
    }

    /// Begins what can be begun.
    fn begin(&mut self) {
        for id in std::mem::take(&mut self.ripe) {
            let Some(lane) = self.lanes.get_mut(&id) else { continue };
            let target = Target {
                id,
                kind: lane.kind.clone(),
            };
            match lane.next(&self.core.config) {
                Some(Next::Batch(batch)) => {
                    self.work.push(Box::pin(commit(Arc::clone(&self.core), target, batch)));
                }
                Some(Next::Other(work, reply, charge)) => {
                    let core = Arc::clone(&self.core);
                    self.work.push(Box::pin(other(core, target, work, reply, charge)));
                }
                None if lane.is_idle() => drop(self.lanes.remove(&id)),
                None => {}
            }
        }
    }
}

fn needs_hooks(job: &Job) -> bool {
    matches!(&job.work, Work::Append(_, Some(_)))
}

/// Finds a job's conversation and asks the hooks.
async fn prepare(core: Arc<Core>, session: Session, mut job: Job) -> Done {
    let prepared = contain(async {
        let target = match job.work {
            Work::Append(..) => core.find_or_open(job.caller, &job.conversation).await?,
            Work::Other(_) => core.find(job.caller.user, &job.conversation).await?,
        };
        if let Work::Append(draft, original) = &mut job.work
            && let Some(original) = original.take()
            && let Some(content) = core.ask_before_append(job.caller, target.id, original).await?
        {
            **draft = Prepared::clone(draft).rewritten(content);
        }
        Ok(target)
    });
    let prepared = timeout_at(core.deadline().into(), prepared).await;
    let job = match prepared.unwrap_or_else(|_| Err(CommandError::try_again())) {
        Ok(target) => Ok((target, job)),
        Err(error) => Err((job, error)),
    };
    let job = Box::new(job);
    Done::Prepared { session, job }
}

/// Runs something else in its turn.
async fn other(core: Arc<Core>, target: Target, work: LaneWork, reply: Reply, charge: Charge) -> Done {
    let lane = target.id;
    let result = contain(async { work(core, target).await }).await;
    let _ = reply.send(result);
    drop(charge);
    Done::Committed {
        lane,
        refused: Vec::new(),
        failed: None,
    }
}

/// Appends a batch, tells the sessions, and answers the senders. The last in one step: whoever sends a refused draft again finds it
/// noted.
async fn commit(core: Arc<Core>, target: Target, batch: Vec<Queued>) -> Done {
    let lane = target.id;
    // Whoever has waited longest decides how long the store may take.
    let deadline = batch
        .iter()
        .map(|queued| queued.deadline)
        .min()
        .unwrap_or_else(Instant::now);
    let mut drafts = Vec::with_capacity(batch.len());
    let mut senders = Vec::with_capacity(batch.len());
    for queued in batch {
        let name = Refused {
            caller: queued.draft.caller,
            conversation: queued.conversation,
            id: queued.draft.client_message_id,
        };
        drafts.push(queued.draft);
        senders.push((name, queued.reply, queued.charge));
    }
    let appended = contain(append(&core, &target, drafts.into(), deadline)).await;
    let failed = appended.as_ref().err().cloned();
    let mut results = appended.unwrap_or_default().into_iter();
    let mut refused = Vec::new();
    for (draft, reply, charge) in senders {
        let missing = || Err(failed.clone().unwrap_or_else(CommandError::internal));
        let result = results.next().unwrap_or_else(missing);
        if let Err(error) = &result
            && is_for_now(error)
        {
            refused.push((draft, error.clone()));
        }
        let _ = reply.send(result.map(Outcome::Appended));
        drop(charge);
    }
    Done::Committed { lane, refused, failed }
}

/// One result for each draft, or one failure for all.
async fn append(
    core: &Core,
    target: &Target,
    drafts: Arc<[Prepared]>,
    deadline: Instant,
) -> Result<Vec<Result<Appended, CommandError>>, CommandError> {
    let mut doubt = false;
    let all = unit(core, target, Arc::clone(&drafts));
    match core.run_idempotent(target.id, all, deadline, &mut doubt).await {
        Ok(batch) => {
            core.publish(batch.events);
            Ok(batch.results)
        }
        Err(error) if error.code == ReplyCode::Internal && drafts.len() > 1 => {
            // One of them breaks the unit. The others shall not suffer for it.
            let mut results = Vec::with_capacity(drafts.len());
            let mut stopped: Vec<Caller> = Vec::new();
            for draft in drafts.iter() {
                if stopped.contains(&draft.caller) {
                    results.push(Err(CommandError::try_again()));
                    continue;
                }
                let alone = unit(core, target, Arc::from([draft.clone()]));
                let result = match core.run_idempotent(target.id, alone, deadline, &mut doubt).await {
                    Ok(mut batch) => {
                        core.publish(batch.events);
                        batch.results.pop().unwrap_or_else(|| Err(CommandError::internal()))
                    }
                    Err(error) => Err(error),
                };
                if result.as_ref().is_err_and(is_for_now) {
                    stopped.push(draft.caller);
                }
                results.push(result);
            }
            Ok(results)
        }
        Err(error) => Err(error),
    }
}

fn unit(core: &Core, target: &Target, drafts: Arc<[Prepared]>) -> Appends {
    Appends {
        conversation: target.id,
        kind: target.kind.clone(),
        drafts,
        rules: BatchRules {
            edit_window_ms: u64::try_from(core.config.edit_window.as_millis()).unwrap_or(u64::MAX),
            mentions: core.config.mentions,
        },
        now: core.now(),
    }
}
