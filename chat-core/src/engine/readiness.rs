//! Whether this node is of use to those who come anew.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::core::Core;
use super::register::Registration;
use crate::service::Readiness;

/// How often the store is asked for a sign of life, and how long it has for that. A node without a store keeps its sessions, and is of no use
/// to new ones: within twice this the others know.
const PROBE: Duration = Duration::from_secs(2);
/// How often it is asked while it does not answer.
const RETRY: Duration = Duration::from_millis(500);
/// Answers in a row that end a silence.
const ANSWERS: u32 = 2;

/// What an engine knows of its own state.
#[derive(Debug, Default)]
pub(super) struct State {
    store_is_silent: AtomicBool,
    closed_listeners: AtomicU32,
}

impl State {
    fn store_answers(&self) -> bool {
        !self.store_is_silent.load(Ordering::Relaxed)
    }

    pub(super) fn listener_closed(&self) {
        self.closed_listeners.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn listener_opened(&self) {
        self.closed_listeners.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Core {
    pub(super) fn readiness(&self, registration: Option<&Registration>) -> Readiness {
        Readiness {
            store_answers: self.readiness.store_answers(),
            clock_is_right: !self.router.is_clock_wrong(),
            others_serve: registration
                .and_then(Registration::others_serve)
                .unwrap_or_else(|| self.router.has_peers()),
        }
    }

    /// Whether those who choose a node should choose this one.
    pub(super) fn takes_sessions(&self) -> bool {
        let is_open = self.readiness.closed_listeners.load(Ordering::Relaxed) == 0;
        self.readiness(None).is_ready() && is_open
    }
}

/// Asks the store whether it is there, until the engine drains.
pub(super) async fn run(core: Arc<Core>, registration: Option<Arc<Registration>>) {
    core.draining.run_until_cancelled(watch(&core, registration)).await;
}

async fn watch(core: &Core, registration: Option<Arc<Registration>>) {
    let mut is_told_ready = true;
    let mut in_a_row = 0;
    loop {
        let answers = core.readiness.store_answers();
        sleep(if answers { PROBE } else { RETRY }).await;
        let asked = timeout(PROBE, core.store.ping()).await;
        let answered = matches!(asked, Ok(Ok(_)));
        in_a_row = if answered { in_a_row + 1 } else { 0 };
        if answers && !answered {
            core.readiness.store_is_silent.store(true, Ordering::Relaxed);
            tracing::warn!("the store does not answer; this node asks for no new sessions");
        } else if !answers && in_a_row >= ANSWERS {
            core.readiness.store_is_silent.store(false, Ordering::Relaxed);
            tracing::info!("the store answers again; this node takes new sessions");
        }
        let is_ready = core.takes_sessions();
        if is_ready != is_told_ready {
            is_told_ready = is_ready;
            if let Some(registration) = &registration {
                registration.has_changed();
            }
        }
    }
}
