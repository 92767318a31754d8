//! Closes a server's TCP listeners while its node cannot serve.
//!
//! A node that cannot serve keeps its connections, but new clients should use another node. Chat
//! clients choose another node by themselves. A load balancer that knows only TCP chooses another
//! node if this node refuses connections. So the listeners close after a delay, but only while
//! other nodes may be able to serve. If no node can serve, the listeners stay open, so that clients
//! at least receive the error.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::handshake::Protocol;
use super::{Shared, now};
use crate::panics;
use crate::transport::tcp::{TcpListener, TcpPort};

/// Interval between readiness checks.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);
/// Time for which the node must have been ready, or all other nodes unable to serve, before the
/// listeners open again.
const OPEN_AFTER: Duration = Duration::from_secs(1);
/// Delay after the first failed attempt to open a listener again. Another program may have taken
/// its address, for example. The delay doubles with each failed attempt, up to
/// [`MAX_REBIND_DELAY`].
const MIN_REBIND_DELAY: Duration = Duration::from_millis(100);
/// Maximum delay between two attempts to open a listener again.
const MAX_REBIND_DELAY: Duration = Duration::from_secs(5);

/// Signals to the listeners of a server whether they should be open, and counts closed listeners.
#[derive(Debug)]
pub(super) struct ReadinessGate {
    /// True if the listeners should be open.
    open: watch::Sender<bool>,
    /// Number of closed listeners.
    closed_listeners: AtomicU32,
}

/// One listener's view of the gate.
#[derive(Debug)]
pub(super) struct GateWatch(watch::Receiver<bool>);

impl ReadinessGate {
    pub(super) fn new() -> Self {
        Self {
            open: watch::Sender::new(true),
            closed_listeners: AtomicU32::new(0),
        }
    }

    pub(super) fn watch(&self) -> GateWatch {
        GateWatch(self.open.subscribe())
    }

    /// Returns the number of listeners that are closed now.
    pub(super) fn closed_listeners(&self) -> u32 {
        self.closed_listeners.load(Ordering::Relaxed)
    }
}

impl GateWatch {
    /// Waits until the gate is closed. Cancel safe.
    pub(super) async fn closed(&mut self) {
        self.until(false).await;
    }

    async fn opened(&mut self) {
        self.until(true).await;
    }

    async fn until(&mut self, wanted: bool) {
        if self.0.wait_for(|open| *open == wanted).await.is_err() {
            // The server was dropped, so this task is about to be cancelled.
            std::future::pending().await
        }
    }
}

/// Opens and closes the gate as the readiness of the service changes.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut debounce = Debounce::new(shared.config.unready_timeout);
    let mut checks = interval(CHECK_INTERVAL);
    checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        checks.tick().await;
        let readiness = panics::step("readiness gate", async { shared.service.readiness() }).await;
        let Some(readiness) = readiness else { continue };
        let should_open = readiness.is_ready() || !readiness.another_node_accepts_sessions;
        let (was_open, is_open) = (debounce.is_open, debounce.update(now(), should_open));
        match (was_open, is_open) {
            (true, false) => tracing::warn!(
                store_answers = readiness.store_answers,
                clock_is_right = readiness.clock_is_right,
                "this node cannot serve and other nodes may be able to: its listeners close until it can serve or no \
                 other node can; open connections stay"
            ),
            (false, true) => tracing::info!(is_ready = readiness.is_ready(), "the listeners of this node open again"),
            _ => continue,
        }
        shared.readiness_gate.open.send_replace(is_open);
    }
}

/// Decides when the gate opens and closes.
///
/// ```text
/// open ──── should be closed for `close_after` ───► closed
///   ▲                                                  │
///   └────────── should be open for `OPEN_AFTER` ───────┘
/// ```
#[derive(Debug)]
struct Debounce {
    close_after: Duration,
    is_open: bool,
    /// Time since which the gate should continuously have been in the other state.
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

    /// Records whether the gate should be open at `now`, and returns whether it is open then.
    fn update(&mut self, now: Instant, should_open: bool) -> bool {
        if should_open == self.is_open {
            self.since = None;
            return self.is_open;
        }
        let since = *self.since.get_or_insert(now);
        let delay = if self.is_open { self.close_after } else { OPEN_AFTER };
        if now.saturating_duration_since(since) >= delay {
            self.is_open = should_open;
            self.since = None;
        }
        self.is_open
    }
}

/// Guard that counts a closed listener. Reports to the service that the listener is closed, and,
/// when the guard is dropped, that it is open again.
#[derive(Debug)]
struct ClosedListener<'a>(&'a Shared);

impl<'a> ClosedListener<'a> {
    /// Counts the listener as closed until the returned guard is dropped.
    fn register(shared: &'a Shared) -> Self {
        shared.readiness_gate.closed_listeners.fetch_add(1, Ordering::Relaxed);
        shared.service.listener_closed();
        Self(shared)
    }
}

impl Drop for ClosedListener<'_> {
    fn drop(&mut self) {
        self.0.readiness_gate.closed_listeners.fetch_sub(1, Ordering::Relaxed);
        self.0.service.listener_opened();
    }
}

/// Closes a listener, and returns a new one at the same address once the gate has opened, after as
/// many attempts as are needed. Keeps the port bound while the gate is closed, if the operating
/// system allows it. Counts the listener as closed until then.
pub(super) async fn keep_closed(
    listener: TcpListener,
    gate: &mut GateWatch,
    protocol: &Protocol,
    shared: &Shared,
) -> TcpListener {
    let _closed = ClosedListener::register(shared);
    let (address, options) = (listener.local_addr(), listener.options());
    drop(listener);
    let mut port = TcpPort::bind(address, options);
    gate.opened().await;
    let mut delay = MIN_REBIND_DELAY;
    loop {
        match port.and_then(TcpPort::listen) {
            Ok(listener) => return listener,
            Err(error) => {
                if let Some(attempts) = shared.throttled.listen_failed.count_occurrence(now()) {
                    let (protocol, error) = (protocol.name(), &error as &dyn std::error::Error);
                    tracing::error!(protocol, %address, attempts, error, "cannot listen again; retrying");
                }
            }
        }
        sleep(delay).await;
        delay = (delay * 2).min(MAX_REBIND_DELAY);
        port = TcpPort::bind(address, options);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Updates `debounce` twice a second. Each phase says whether the gate should be open, and for
    /// how many seconds. Returns whether it was open at first, and after each change.
    fn states(debounce: &mut Debounce, now: &mut Instant, phases: &[(bool, f32)]) -> Vec<bool> {
        let mut states = vec![debounce.is_open];
        for (should_open, seconds) in phases {
            for _ in 0..(seconds * 2.0) as u32 {
                let is_open = debounce.update(*now, *should_open);
                *now += SECOND / 2;
                if states.last() != Some(&is_open) {
                    states.push(is_open);
                }
            }
        }
        states
    }

    #[test]
    fn debounce_ignores_short_changes() {
        let (mut debounce, mut now) = (Debounce::new(5 * SECOND), Instant::now());
        let flapping = [(false, 4.5), (true, 0.5)].repeat(20);
        assert_eq!(states(&mut debounce, &mut now, &flapping), [true]);
        assert_eq!(states(&mut debounce, &mut now, &[(false, 6.0)]), [true, false]);
        let flapping = [(true, 1.0), (false, 0.5)].repeat(20);
        assert_eq!(states(&mut debounce, &mut now, &flapping), [false]);
        assert_eq!(states(&mut debounce, &mut now, &[(true, 1.5)]), [false, true]);
    }
}
