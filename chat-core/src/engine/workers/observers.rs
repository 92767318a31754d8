//! Calls of the observing hooks (`Hooks::on_…`) by one worker behind a bounded queue, so that the
//! hooks delay no command.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc::{self, error::TrySendError};
use tokio_util::sync::CancellationToken;

use crate::hooks::Hooks;
use crate::model::{Caller, CloseCode, Event, Source, UserId};
use crate::panics;

/// Observation that is passed to the observing hooks.
#[derive(Debug)]
enum Observation {
    Committed(Vec<Event>),
    Registered(UserId),
    SessionStart(Caller, Source),
    SessionEnd(Caller, CloseCode),
}

/// Queue of observations. When it is full, further observations are dropped and counted. Without
/// hooks, observations are discarded.
#[derive(Debug)]
pub(in crate::engine) struct ObserverQueue {
    sender: Option<mpsc::Sender<Observation>>,
    dropped: AtomicU64,
}

/// Calls the hooks, one observation after the other.
#[derive(Debug)]
pub(in crate::engine) struct ObserverWorker {
    hooks: Arc<[Arc<dyn Hooks>]>,
    observations: mpsc::Receiver<Observation>,
}

/// Creates the queue, and the worker if there are hooks.
pub(in crate::engine) fn observers(
    hooks: Arc<[Arc<dyn Hooks>]>,
    max_queued: usize,
) -> (ObserverQueue, Option<ObserverWorker>) {
    let (sender, worker) = (!hooks.is_empty())
        .then(|| {
            let (sender, observations) = mpsc::channel(max_queued);
            (sender, ObserverWorker { hooks, observations })
        })
        .unzip();
    let dropped = AtomicU64::new(0);
    (ObserverQueue { sender, dropped }, worker)
}

impl ObserverQueue {
    /// Returns the number of observations that were dropped because the hooks were too slow. Those
    /// after the end of the worker are not counted.
    pub(in crate::engine) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    pub(in crate::engine) fn committed(&self, events: Vec<Event>) {
        self.push(Observation::Committed(events));
    }

    pub(in crate::engine) fn registered(&self, user: UserId) {
        self.push(Observation::Registered(user));
    }

    pub(in crate::engine) fn session_start(&self, caller: Caller, source: Source) {
        self.push(Observation::SessionStart(caller, source));
    }

    pub(in crate::engine) fn session_end(&self, caller: Caller, reason: CloseCode) {
        self.push(Observation::SessionEnd(caller, reason));
    }

    fn push(&self, observation: Observation) {
        let Some(sender) = &self.sender else { return };
        match sender.try_send(observation) {
            // The worker has ended, because the engine drains: nobody observes what happens after
            // that, and it is not counted.
            Ok(()) | Err(TrySendError::Closed(_)) => return,
            Err(TrySendError::Full(_)) => {}
        }
        let dropped = self.dropped.fetch_add(1, Ordering::Relaxed) + 1;
        // Logged only when the count is a power of two, so that a slow hook does not flood the log.
        if dropped.is_power_of_two() {
            tracing::warn!(dropped, "the observing hooks are too slow: observations are dropped");
        }
    }
}

impl ObserverWorker {
    /// Runs until the engine drains and the queue is empty.
    pub(in crate::engine) async fn run(mut self, draining: CancellationToken) {
        loop {
            let next = tokio::select! {
                // Queued observations are processed before the worker ends.
                biased;
                next = self.observations.recv() => next,
                () = draining.cancelled() => None,
            };
            let Some(observation) = next else { return };
            for hooks in &*self.hooks {
                if let Err(panic) = panics::catch(call(&**hooks, &observation)).await {
                    tracing::error!(panic = panic.text(), "an observing hook panicked");
                }
            }
        }
    }
}

async fn call(hooks: &dyn Hooks, observation: &Observation) {
    match observation {
        Observation::Committed(events) => hooks.on_committed(events).await,
        Observation::Registered(user) => hooks.on_registered(*user).await,
        Observation::SessionStart(caller, source) => hooks.on_session_start(*caller, *source).await,
        Observation::SessionEnd(caller, reason) => hooks.on_session_end(*caller, *reason).await,
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::*;
    use crate::sync::Mutex;

    /// Observer that records registered users and panics for user 2.
    #[derive(Debug, Default)]
    struct Registrations(Mutex<Vec<UserId>>);

    #[async_trait]
    impl Hooks for Registrations {
        async fn on_registered(&self, user: UserId) {
            assert_ne!(user, UserId(2), "a hook panics");
            self.0.lock().push(user);
        }
    }

    #[tokio::test]
    async fn worker_survives_a_panicking_hook_and_drains_the_queue() {
        let hooks = Arc::new(Registrations::default());
        let (queue, worker) = observers(Arc::new([hooks.clone() as Arc<dyn Hooks>]), 8);
        for user in 1..=3 {
            queue.registered(UserId(user));
        }
        let draining = CancellationToken::new();
        draining.cancel();
        worker.expect("there are hooks").run(draining).await;
        assert_eq!(*hooks.0.lock(), [UserId(1), UserId(3)]);
    }

    #[test]
    fn queue_counts_observations_beyond_its_bound_and_none_without_hooks() {
        let (queue, _worker) = observers(Arc::new([Arc::new(Registrations::default()) as Arc<dyn Hooks>]), 2);
        (1..=5).for_each(|user| queue.registered(UserId(user)));
        assert_eq!(queue.dropped(), 3);
        let (queue, worker) = observers(Arc::new([]), 2);
        (1..=5).for_each(|user| queue.registered(UserId(user)));
        assert_eq!((queue.dropped(), worker.is_some()), (0, false));
    }
}
