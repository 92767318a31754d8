//! Whether a server's TCP listeners are open.
//!
//! A node that cannot serve keeps its connections, but whoever comes anew is better off elsewhere. Clients choose another node by
//! themselves; a load balancer that knows nothing but TCP chooses another one if this one refuses. So the listeners are closed, after
//! a while, and only while others may be able to serve: if nobody is, an answer that says so is better than none.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::handshake::Protocol;
use super::{Shared, now};
use crate::transport::tcp::{TcpListener, TcpPort};

/// How often it is looked whether the node can serve.
const LOOK: Duration = Duration::from_millis(500);
/// How long there has to be a reason to open before the listeners are opened.
const OPEN_AFTER: Duration = Duration::from_secs(1);
/// Wait before an address is tried again that somebody else has taken meanwhile; doubles from one attempt to the next.
const RETRY: Duration = Duration::from_millis(100);
/// The longest such wait.
const LONGEST_RETRY: Duration = Duration::from_secs(5);

/// What is wanted of the listeners of a server, and how many of them are closed.
#[derive(Debug)]
pub(super) struct ReadinessGate {
    open: watch::Sender<bool>,
    closed: AtomicU32,
}

/// How one listener learns what is wanted.
#[derive(Debug)]
pub(super) struct GateWatch(watch::Receiver<bool>);

impl ReadinessGate {
    pub(super) fn new() -> Self {
        Self {
            open: watch::Sender::new(true),
            closed: AtomicU32::new(0),
        }
    }

    pub(super) fn watch(&self) -> GateWatch {
        GateWatch(self.open.subscribe())
    }

    /// Listeners that are closed now.
    pub(super) fn closed(&self) -> u32 {
        self.closed.load(Ordering::Relaxed)
    }
}

impl GateWatch {
    /// Waits until the listener is to be closed. Cancel safe.
    pub(super) async fn closed(&mut self) {
        self.become_open(false).await;
    }

    async fn opened(&mut self) {
        self.become_open(true).await;
    }

    async fn become_open(&mut self, wanted: bool) {
        if self.0.wait_for(|open| *open == wanted).await.is_err() {
            // The server is gone, and with it this task in a moment.
            std::future::pending().await
        }
    }
}

/// Opens and closes the doors as the engine is able to serve.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut debounce = Debounce::new(shared.config.unready_timeout);
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let readiness = shared.engine.readiness();
        let is_wanted = readiness.is_ready() || !readiness.others_serve;
        let (was_open, is_open) = (debounce.is_open, debounce.update(now(), is_wanted));
        match (was_open, is_open) {
            (true, false) => tracing::warn!(
                store_answers = readiness.store_answers,
                clock_is_right = readiness.clock_is_right,
                "this node cannot serve, and others may: it listens no more until it can; who is connected stays"
            ),
            (false, true) => tracing::info!(is_ready = readiness.is_ready(), "this node listens again"),
            _ => continue,
        }
        shared.readiness_gate.open.send_replace(is_open);
    }
}

/// Judges when to open and when to close.
///
/// ```text
/// open ──── not wanted for `close_after` ───► closed
///   ▲                                             │
///   └────────── wanted for `OPEN_AFTER` ─────────┘
/// ```
#[derive(Debug)]
struct Debounce {
    close_after: Duration,
    is_open: bool,
    /// Since when the other has been wanted without a break.
    since: Option<Instant>,
}

impl Debounce {
    const fn new(close_after: Duration) -> Self {
        Self {
            close_after,
            is_open: true,
            since: None,
        }
    }

    /// Whether the doors are open from now on, if it is `wanted` now that they are.
    fn update(&mut self, now: Instant, wanted: bool) -> bool {
        if wanted == self.is_open {
            self.since = None;
            return self.is_open;
        }
        let since = *self.since.get_or_insert(now);
        let patience = if self.is_open { self.close_after } else { OPEN_AFTER };
        if now.saturating_duration_since(since) >= patience {
            self.is_open = wanted;
            self.since = None;
        }
        self.is_open
    }
}

/// A listener that is closed: while there is one, others are told that this node takes nobody.
#[derive(Debug)]
struct ClosedListener<'a>(&'a Shared);

impl<'a> ClosedListener<'a> {
    fn register(shared: &'a Shared) -> Self {
        shared.readiness_gate.closed.fetch_add(1, Ordering::Relaxed);
        shared.engine.listener_closed();
        Self(shared)
    }
}

impl Drop for ClosedListener<'_> {
    fn drop(&mut self) {
        self.0.readiness_gate.closed.fetch_sub(1, Ordering::Relaxed);
        self.0.engine.listener_opened();
    }
}

/// Closes a listener, and opens it again, at the same address, once the doors are open. Keeps the port meanwhile, as far as that is
/// possible.
pub(super) async fn keep_closed(
    listener: TcpListener,
    gate: &mut GateWatch,
    protocol: &Protocol,
    shared: &Shared,
) -> TcpListener {
    let _closed = ClosedListener::register(shared);
    let (address, options) = (listener.local_addr(), listener.options());
    drop(listener);
    let mut port = TcpPort::take(address, options);
    gate.opened().await;
    let mut wait = RETRY;
    loop {
        match port.and_then(TcpPort::listen) {
            Ok(listener) => return listener,
            Err(error) => {
                if let Some(times) = shared.rejections.not_opened.hit(now()) {
                    let (protocol, error) = (protocol.name(), &error as &dyn std::error::Error);
                    tracing::error!(protocol, %address, times, error, "cannot listen again; trying on");
                }
            }
        }
        sleep(wait).await;
        wait = (wait * 2).min(LONGEST_RETRY);
        port = TcpPort::take(address, options);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// What the debounce makes of these, for so many seconds each, looked at twice a second.
    fn turns(debounce: &mut Debounce, from: &mut Instant, phases: &[(bool, f32)]) -> Vec<bool> {
        let mut turns = vec![debounce.is_open];
        for (wanted, seconds) in phases {
            for _ in 0..(seconds * 2.0) as u32 {
                let is_open = debounce.update(*from, *wanted);
                *from += SECOND / 2;
                if turns.last() != Some(&is_open) {
                    turns.push(is_open);
                }
            }
        }
        turns
    }

    #[test]
    fn what_comes_and_goes_changes_nothing() {
        let (mut debounce, mut now) = (Debounce::new(5 * SECOND), Instant::now());
        let flapping = [(false, 4.5), (true, 0.5)].repeat(20);
        assert_eq!(turns(&mut debounce, &mut now, &flapping), [true]);
        assert_eq!(turns(&mut debounce, &mut now, &[(false, 6.0)]), [true, false]);
        let flapping = [(true, 1.0), (false, 0.5)].repeat(20);
        assert_eq!(turns(&mut debounce, &mut now, &flapping), [false]);
        assert_eq!(turns(&mut debounce, &mut now, &[(true, 1.5)]), [false, true]);
    }
}
