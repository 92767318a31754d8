//! The appender's task.

use std::collections::{HashMap, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::time::timeout_at;

use super::job::{Charge, Job, LaneWork, Reply, Work};
use super::lane::{Lane, Next, Queued};
use crate::engine::core::{Core, contain, panic_text};
use crate::engine::directory::Target;
use crate::engine::error::CommandError;
use crate::engine::message::{Appends, BatchRules, Prepared};
use crate::model::{ConversationId, DeviceId, Outcome, ReplyCode, UserId};

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
    work: FuturesUnordered<BoxFuture<'static, Done>>,
}

/// Something that was under way has ended.
enum Done {
    /// A job knows its conversation, or was answered.
    Prepared {
        session: Session,
        job: Option<Box<(Target, Job)>>,
        /// The store failed: nothing of the session may overtake the retry.
        failed: Option<CommandError>,
    },
    /// A lane's transaction ended.
    Committed {
        lane: ConversationId,
        failed: Option<CommandError>,
    },
}

impl Appender {
    fn new(core: Arc<Core>) -> Self {
        Self {
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
                    last.into_iter().for_each(|job| self.accept(job));
                }
            }
            // Everything that ended or came meanwhile belongs to the same round: the batches get as large as they can.
            while let Some(Some(done)) = self.work.next().now_or_never() {
                self.finish(done);
            }
            for job in core.appends.take() {
                self.accept(job);
            }
            self.begin();
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
        let lane = self.lanes.entry(target.id).or_insert_with(|| Lane::new(target.kind));
        lane.push(job, &self.core.config);
        self.ripe.push(target.id);
    }

    fn finish(&mut self, done: Done) {
        match done {
            Done::Prepared { session, job, failed } => {
                let waiting = self.waiting.remove(&session).unwrap_or_default();
                if let Some((target, job)) = job.map(|job| *job) {
                    self.enter(target, job);
                }
                for next in waiting {
                    match &failed {
                        Some(error) => next.refuse(error.clone()),
                        None => self.accept(next),
                    }
                }
            }
            Done::Committed { lane: id, failed } => {
                if let Some(lane) = self.lanes.get_mut(&id) {
                    lane.in_flight = false;
                    if let Some(error) = failed {
                        lane.fail(&error);
                    }
                    self.ripe.push(id);
                }
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

/// Finds a job's conversation and asks the hooks. Whatever is wrong is answered here.
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
    match prepared.unwrap_or_else(|_| Err(CommandError::try_again())) {
        Ok(target) => Done::Prepared {
            session,
            job: Some(Box::new((target, job))),
            failed: None,
        },
        Err(error) => {
            let failed = matches!(error.code, ReplyCode::TryAgain).then(|| error.clone());
            job.refuse(error);
            Done::Prepared {
                session,
                job: None,
                failed,
            }
        }
    }
}

/// Runs something else in its turn.
async fn other(core: Arc<Core>, target: Target, work: LaneWork, reply: Reply, charge: Charge) -> Done {
    let lane = target.id;
    let result = contain(async { work(core, target).await }).await;
    let _ = reply.send(result);
    drop(charge);
    Done::Committed { lane, failed: None }
}

/// Appends a batch, tells the sessions, and answers the senders.
async fn commit(core: Arc<Core>, target: Target, batch: Vec<Queued>) -> Done {
    let lane = target.id;
    // Whoever has waited longest decides how long the store may take.
    let deadline = batch
        .iter()
        .map(|queued| queued.deadline)
        .min()
        .unwrap_or_else(Instant::now);
    let (drafts, waiting): (Vec<_>, Vec<_>) = batch
        .into_iter()
        .map(|queued| (queued.draft, (queued.reply, queued.charge)))
        .unzip();
    let failed = contain(append(&core, &target, drafts.into(), waiting, deadline))
        .await
        .err();
    Done::Committed { lane, failed }
}

async fn append(
    core: &Core,
    target: &Target,
    drafts: Arc<[Prepared]>,
    waiting: Vec<(Reply, Charge)>,
    deadline: Instant,
) -> Result<(), CommandError> {
    let mut doubt = false;
    let all = unit(core, target, Arc::clone(&drafts));
    match core.run_idempotent(target.id, all, deadline, &mut doubt).await {
        Ok(batch) => {
            core.publish(batch.events);
            for ((reply, charge), result) in waiting.into_iter().zip(batch.results) {
                let _ = reply.send(result.map(Outcome::Appended));
                drop(charge);
            }
            Ok(())
        }
        Err(error) if error.code == ReplyCode::Internal && drafts.len() > 1 => {
            // One of them breaks the unit. The others shall not suffer for it.
            for (draft, (reply, charge)) in drafts.iter().zip(waiting) {
                let alone: Arc<[Prepared]> = Arc::from([draft.clone()]);
                let alone = unit(core, target, alone);
                let result = match core.run_idempotent(target.id, alone, deadline, &mut doubt).await {
                    Ok(mut batch) => {
                        core.publish(batch.events);
                        batch.results.pop().unwrap_or_else(|| Err(CommandError::internal()))
                    }
                    Err(error) => Err(error),
                };
                let _ = reply.send(result.map(Outcome::Appended));
                drop(charge);
            }
            Ok(())
        }
        Err(error) => {
            for (reply, charge) in waiting {
                let _ = reply.send(Err(error.clone()));
                drop(charge);
            }
            Err(error)
        }
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
