//! Task of the appender: feeds the state machine, runs its work and sends its replies.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio_util::sync::CancellationToken;

use super::lane::LaneLimits;
use super::machine::{Done, Machine, Work};
use super::queue::{AppendQueue, Incoming};
use super::submission::answer;
use crate::engine::directory::FoundConversation;
use crate::model::{ConversationRef, UserId};
use crate::panics;

/// What the driver needs from the engine. Tests use a fake.
pub(super) trait Ports: Send {
    /// Returns the conversation that a user refers to, if it is cached.
    fn cached(&self, user: UserId, conversation: &ConversationRef) -> Option<FoundConversation>;

    /// Starts a piece of work. The future completes when the work has ended, and does not panic.
    fn start(&self, work: Work) -> BoxFuture<'static, Done>;
}

/// The appender's task. State that has to survive a panic is in its fields, never in local
/// variables.
pub(super) struct Driver<'q, P> {
    ports: P,
    queue: &'q AppendQueue,
    limits: LaneLimits,
    resend_window: Duration,
    machine: Machine,
    /// Work that is running.
    work: FuturesUnordered<BoxFuture<'static, Done>>,
    /// Entries that were taken from the queue and not yet pushed to the machine.
    taken: Vec<Incoming>,
}

impl<'q, P: Ports> Driver<'q, P> {
    pub(super) fn new(ports: P, queue: &'q AppendQueue, limits: LaneLimits, resend_window: Duration) -> Self {
        Self {
            ports,
            queue,
            limits,
            resend_window,
            machine: Machine::new(limits, resend_window),
            work: FuturesUnordered::new(),
            taken: Vec::new(),
        }
    }

    /// Runs until `draining` is cancelled and every queued submission is answered.
    ///
    /// After a panic, all submissions that were taken from the queue are refused, and the task
    /// continues. The order in which their drafts have to be resent is kept, unless the recovery
    /// panics too.
    pub(super) async fn run(mut self, draining: CancellationToken) {
        while let Err(panic) = panics::catch(self.drive(&draining)).await {
            tracing::error!(
                panic = panic.text(),
                "the appender panicked; the drafts and group changes that it held are refused"
            );
            self.recover().await;
        }
    }

    /// Runs the appender until it panics or has drained.
    async fn drive(&mut self, draining: &CancellationToken) {
        loop {
            // All finished work is handled before new work is started, and `advance` takes all new
            // submissions first, so that batches become as large as possible.
            while let Some(Some(done)) = self.work.next().now_or_never() {
                self.machine.finish(Instant::now(), done);
            }
            self.advance();
            tokio::select! {
                // Ended work frees its lane, so it is handled first; new submissions then join the
                // next batch.
                biased;
                Some(done) = self.work.next(), if !self.work.is_empty() => self.machine.finish(Instant::now(), done),
                () = self.queue.arrived() => {}
                () = draining.cancelled(), if self.work.is_empty() => {
                    if self.queue.close_if_empty() {
                        return;
                    }
                }
            }
        }
    }

    /// Takes new entries from the queue, starts the work that may run, and sends the replies that
    /// are ready.
    fn advance(&mut self) {
        self.queue.take(&mut self.taken);
        self.taken.drain(..).for_each(|incoming| self.machine.push(incoming));
        let now = Instant::now();
        let cached = |user, conversation: &ConversationRef| self.ports.cached(user, conversation);
        while let Some(work) = self.machine.poll_work(now, cached) {
            self.work.push(self.ports.start(work));
        }
        while let Some(reply) = self.machine.poll_reply() {
            answer(reply);
        }
    }

    /// Recovers from a panic: refuses all submissions that were taken from the queue, and waits for
    /// the running work, so that no conversation has two transactions at a time.
    async fn recover(&mut self) {
        let aborted = catch_unwind(AssertUnwindSafe(|| {
            self.taken.drain(..).for_each(|incoming| self.machine.push(incoming));
            self.machine.abort(Instant::now());
        }));
        if let Err(panic) = aborted {
            tracing::error!(
                panic = panics::text(&*panic),
                "the appender panicked again while it recovered: drafts that were refused until now may be stored out \
                 of order when they are resent"
            );
            let broken = std::mem::replace(&mut self.machine, Machine::new(self.limits, self.resend_window));
            // Dropping the machine drops its reply channels, which answers the callers with
            // `TryAgain`. A caller's waker may panic then.
            drop(catch_unwind(AssertUnwindSafe(|| drop(broken))));
        }
        while let Some(reply) = self.machine.poll_reply() {
            answer(reply);
        }
        // Work should not panic. Work that panics nevertheless has ended; the loop still waits for
        // the other work.
        while let Err(panic) = panics::catch(self.finish_work()).await {
            tracing::error!(panic = panic.text(), "work of the appender panicked");
        }
    }

    /// Waits until all work has ended, and ignores its results.
    async fn finish_work(&mut self) {
        while self.work.next().await.is_some() {}
    }
}
