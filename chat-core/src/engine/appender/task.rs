//! The appender's task.

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};

use super::holds::{Holds, Refused, is_for_now};
use super::job::{Arrival, Job, Work};
use super::lane::{Lane, Next};
use super::work::{Done, Session, commit, other, prepare};
use crate::engine::core::{Core, panic_text};
use crate::engine::directory::Target;
use crate::engine::error::CommandError;
use crate::model::{Caller, ConversationId, ReplyCode};

/// Runs until the engine drains and everything that came was answered. A panic costs what was at hand, not the task, and not what must not be
/// overtaken.
pub(in crate::engine) async fn run(core: Arc<Core>) {
    let mut appender = Appender::new(Arc::clone(&core));
    while let Err(panic) = AssertUnwindSafe(appender.run()).catch_unwind().await {
        tracing::error!(
            panic = panic_text(&*panic),
            "the appender panicked; it goes on with the rest"
        );
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| appender.recover())) {
            tracing::error!(panic = panic_text(&*panic), "the appender starts afresh");
            appender = Appender::new(Arc::clone(&core));
        }
    }
}

/// What a panic would lose.
#[derive(Debug, Default)]
struct AtHand {
    /// The draft of a job that is in no queue.
    draft: Option<Refused>,
    /// It has passed what is held in this conversation.
    passed: Option<ConversationId>,
    /// It was prepared, and others of its session wait for that.
    session: Option<Session>,
    /// A lane whose transaction has ended or is about to begin …
    lane: Option<ConversationId>,
    /// … unless one is under way, which stays so.
    under_way: bool,
    /// What was refused of it.
    refused: Vec<(Refused, CommandError)>,
}

struct Appender {
    core: Arc<Core>,
    /// What has come and was not looked at.
    arrived: VecDeque<Arrival>,
    lanes: HashMap<ConversationId, Lane>,
    /// Lanes that may have something to begin.
    ripe: VecDeque<ConversationId>,
    /// Jobs of sessions that wait for an earlier one of theirs to be prepared.
    waiting: HashMap<Session, VecDeque<Job>>,
    /// What must not be overtaken.
    holds: Holds,
    work: FuturesUnordered<BoxFuture<'static, Done>>,
    at_hand: AtHand,
}

impl Appender {
    fn new(core: Arc<Core>) -> Self {
        Self {
            holds: Holds::new(core.config.resend_window),
            core,
            arrived: VecDeque::new(),
            lanes: HashMap::new(),
            ripe: VecDeque::new(),
            waiting: HashMap::new(),
            work: FuturesUnordered::new(),
            at_hand: AtHand::default(),
        }
    }

    async fn run(&mut self) {
        let core = Arc::clone(&self.core);
        loop {
            // Everything that ended or came meanwhile belongs to the same round: the batches get as large as they can.
            while let Some(Some(done)) = self.work.next().now_or_never() {
                self.finish(done);
            }
            self.arrived.extend(core.appends.take());
            while let Some(arrival) = self.arrived.pop_front() {
                self.arrive(arrival);
            }
            self.begin();
            tokio::select! {
                // What has ended frees its lane, so it comes first; new jobs then join the next batch.
                biased;
                Some(done) = self.work.next(), if !self.work.is_empty() => self.finish(done),
                () = core.appends.ready() => {}
                () = core.draining.cancelled(), if self.work.is_empty() => {
                    let Some(last) = core.appends.take_or_close() else {
                        return;
                    };
                    self.arrived.extend(last);
                }
            }
        }
    }

    /// After a panic: what was at hand is refused, in a way that nothing overtakes it, and the rest goes on.
    fn recover(&mut self) {
        let (lost, error, now) = (
            std::mem::take(&mut self.at_hand),
            CommandError::try_again(),
            Instant::now(),
        );
        if let Some(id) = lost.lane {
            if let Some(lane) = self.lanes.get_mut(&id) {
                lane.in_flight = lost.under_way;
                let waiting = lane.fail(&error);
                self.holds.refused_after_all(waiting, id, now);
                self.ripe.push_back(id);
            }
            self.holds.refused_after_all(lost.refused, id, now);
        }
        match (lost.draft, lost.passed) {
            (Some(draft), Some(id)) => self.holds.refused_after_all(vec![(draft, error.clone())], id, now),
            (Some(draft), None) => self.holds.refused(draft, &error, now),
            (None, _) => {}
        }
        if let Some(session) = lost.session {
            self.refuse_waiting(session, &error);
        }
    }

    fn arrive(&mut self, arrival: Arrival) {
        match arrival {
            Arrival::Job(job) => {
                self.at_hand.draft = job.as_refused();
                self.core.appends.step("arrive");
                self.accept(job);
                self.at_hand = AtHand::default();
            }
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
                self.work.push(Box::pin(prepare(Arc::clone(&self.core), session, job)));
                self.waiting.insert(session, VecDeque::new());
            }
        }
    }

    /// Puts the job that is at hand into its lane.
    fn enter(&mut self, target: Target, job: Job) {
        let now = Instant::now();
        if let Some(draft) = &self.at_hand.draft
            && let Err(error) = self.holds.pass(draft, Some(target.id), now)
        {
            job.refuse(error);
            return;
        }
        self.at_hand.passed = Some(target.id);
        self.core.appends.step("enter");
        let lane = self.lanes.entry(target.id).or_insert_with(|| Lane::new(target.kind));
        if lane.has_room(&job, &self.core.config) {
            lane.push(job);
        } else {
            let error = CommandError::busy();
            let refused = self.at_hand.draft.take().map(|draft| (draft, error.clone()));
            job.refuse(error);
            self.holds.refused_after_all(Vec::from_iter(refused), target.id, now);
        }
        self.ripe.push_back(target.id);
    }

    /// Answers a job that has no lane yet.
    fn refuse(&mut self, job: Job, error: &CommandError) {
        if let Some(draft) = job.as_refused() {
            self.holds.refused(draft, error, Instant::now());
        }
        job.refuse(error.clone());
    }

    /// Answers what waited for a job of this session, which was refused. A defect is told of that one only: whoever meets one again and
    /// again over a message gives that message up.
    fn refuse_waiting(&mut self, session: Session, error: &CommandError) {
        let again = CommandError::try_again();
        let error = if error.code == ReplyCode::Internal {
            &again
        } else {
            error
        };
        while let Some(next) = self.waiting.get_mut(&session).and_then(VecDeque::pop_front) {
            self.refuse(next, error);
        }
        self.waiting.remove(&session);
    }

    fn finish(&mut self, done: Done) {
        match done {
            Done::Prepared { session, job } => self.prepared(session, *job),
            Done::Committed {
                lane,
                refused,
                failed,
                had_retries,
            } => {
                if had_retries && let Some(lane) = self.lanes.get_mut(&lane) {
                    lane.expect_retries();
                }
                self.committed(lane, refused, failed.as_ref());
            }
        }
        self.at_hand = AtHand::default();
    }

    fn prepared(&mut self, session: Session, job: Result<(Target, Job), (Job, CommandError)>) {
        let (Ok((_, unnamed)) | Err((unnamed, _))) = &job;
        self.at_hand.draft = unnamed.as_refused();
        self.at_hand.session = Some(session);
        self.core.appends.step("prepared");
        match job {
            Ok((target, job)) => self.enter(target, job),
            Err((job, error)) if is_for_now(&error) => {
                self.refuse(job, &error);
                self.refuse_waiting(session, &error);
            }
            Err((job, error)) => job.refuse(error),
        }
        // They come before whatever else has come.
        for next in self.waiting.remove(&session).unwrap_or_default().into_iter().rev() {
            self.arrived.push_front(Arrival::Job(next));
        }
    }

    fn committed(
        &mut self,
        id: ConversationId,
        mut refused: Vec<(Refused, CommandError)>,
        failed: Option<&CommandError>,
    ) {
        self.at_hand.lane = Some(id);
        self.at_hand.refused.clone_from(&refused);
        self.core.appends.step("committed");
        if let Some(lane) = self.lanes.get_mut(&id) {
            lane.in_flight = false;
            refused.extend(match failed {
                Some(error) => lane.fail(error),
                None if refused.is_empty() => Vec::new(),
                None => {
                    let sessions: Vec<Caller> = refused.iter().map(|(draft, _)| draft.caller).collect();
                    lane.fail_sessions(&CommandError::try_again(), &sessions)
                }
            });
            self.ripe.push_back(id);
        }
        self.holds.refused_after_all(refused, id, Instant::now());
    }

    /// Begins what can be begun.
    fn begin(&mut self) {
        while let Some(id) = self.ripe.pop_front() {
            self.begin_in(id);
            self.at_hand = AtHand::default();
        }
    }

    fn begin_in(&mut self, id: ConversationId) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        self.at_hand.lane = Some(id);
        self.at_hand.under_way = lane.in_flight;
        let target = Target {
            id,
            kind: lane.kind.clone(),
        };
        self.core.appends.step("begin");
        match lane.next(&self.core.config) {
            Some(Next::Batch(batch, look_first)) => {
                let commit = commit(Arc::clone(&self.core), target, batch, look_first);
                self.work.push(Box::pin(commit));
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

fn needs_hooks(job: &Job) -> bool {
    matches!(&job.work, Work::Append(_, Some(_)))
}
