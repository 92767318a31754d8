//! The observing hooks: called from one task, behind a bounded queue, so that they never delay anybody.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::FutureExt;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::core::panic_text;
use crate::hooks::Hooks;
use crate::model::{Caller, CloseCode, Event, Source, UserId};

/// Something that observers are told.
#[derive(Debug)]
enum Observation {
    Committed(Vec<Event>),
    Registered(UserId),
    SessionStart(Caller, Source),
    SessionEnd(Caller, CloseCode),
}

/// The way to the observers. Without hooks it leads nowhere.
#[derive(Debug)]
pub(super) struct Observer {
    queue: Option<mpsc::Sender<Observation>>,
    dropped: AtomicU64,
}

/// The other end, for [`run`].
#[derive(Debug)]
pub(super) struct Observations(mpsc::Receiver<Observation>);

impl Observer {
    /// Leads to nobody.
    pub(super) fn nobody() -> Self {
        Self {
            queue: None,
            dropped: AtomicU64::new(0),
        }
    }

    /// Leads to a task.
    pub(super) fn new(queue: usize) -> (Self, Observations) {
        let (sender, receiver) = mpsc::channel(queue);
        let observer = Self {
            queue: Some(sender),
            dropped: AtomicU64::new(0),
        };
        (observer, Observations(receiver))
    }

    /// Observations that were dropped because the hooks were too slow.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    pub(super) fn committed(&self, events: Vec<Event>) {
        self.tell(Observation::Committed(events));
    }

    pub(super) fn registered(&self, user: UserId) {
        self.tell(Observation::Registered(user));
    }

    pub(super) fn session_start(&self, caller: Caller, source: Source) {
        self.tell(Observation::SessionStart(caller, source));
    }

    pub(super) fn session_end(&self, caller: Caller, reason: CloseCode) {
        self.tell(Observation::SessionEnd(caller, reason));
    }

    fn tell(&self, observation: Observation) {
        let Some(queue) = &self.queue else { return };
        if queue.try_send(observation).is_err() && self.dropped.fetch_add(1, Ordering::Relaxed).is_power_of_two() {
            tracing::warn!(
                dropped = self.dropped(),
                "the observing hooks are too slow: observations are dropped"
            );
        }
    }
}

/// Calls the hooks, one observation after the other. On a drain it ends once the queue is empty.
pub(super) async fn run(hooks: Arc<dyn Hooks>, mut observations: Observations, draining: CancellationToken) {
    loop {
        let next = tokio::select! {
            // What is queued comes before the end.
            biased;
            next = observations.0.recv() => next,
            () = draining.cancelled() => None,
        };
        let Some(observation) = next else { return };
        if let Err(panic) = AssertUnwindSafe(call(&*hooks, observation)).catch_unwind().await {
            tracing::error!(panic = panic_text(&*panic), "an observing hook panicked");
        }
    }
}

async fn call(hooks: &dyn Hooks, observation: Observation) {
    match observation {
        Observation::Committed(events) => hooks.on_committed(&events).await,
        Observation::Registered(user) => hooks.on_registered(user).await,
        Observation::SessionStart(caller, source) => hooks.on_session_start(caller, source).await,
        Observation::SessionEnd(caller, reason) => hooks.on_session_end(caller, reason).await,
    }
}
