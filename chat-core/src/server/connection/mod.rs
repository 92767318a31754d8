//! Task of one connection, from accept to close. It connects the stream, the session's state
//! machine, the service and the outbox.
//!
//! ```text
//! establish (handshake) ──► serve_guest ────► run (session) ──► end (close code)
//!         └─ failed: closed      └─ timeout, error, limit ────────▲
//! ```
//! The stages of the guest and of the session pass input to their state machines, perform the
//! actions that the machines return, gather the output, and [wait](poll) for the next event.

mod guest;
mod poll;
mod session;
mod write_stall;

#[cfg(test)]
mod tests;

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Sleep, sleep_until, timeout, timeout_at};

use super::connections::{ConnectionGuard, Phase};
use super::handshake::Protocol;
use super::wire::{Wire, WireError};
use super::{Shared, now};
use crate::auth::{ConnectionPermit, Offence};
use crate::codec::RequestId;
use crate::model::{CloseCode, Source};
use crate::router::SharedPush;
use crate::service::{CommandFuture, CommandResult};
use crate::session::Now;
use crate::transport::Transport;

use self::write_stall::StallDetector;

/// Maximum time for the peer to read the close code and close its side.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// Capacity, in elements, that an idle connection keeps in each of its reused lists.
const KEPT_CAPACITY: usize = 16;

/// Serves one connection to its end.
pub(super) async fn serve(
    stream: Box<dyn Transport>,
    source: Source,
    protocol: Protocol,
    mut permit: ConnectionPermit,
    guard: ConnectionGuard,
    shared: Arc<Shared>,
) {
    let accepted = now();
    let deadline = accepted + shared.config.handshake_timeout;
    // Each stage has its own box, so that a connection frees the memory of its handshake and login
    // once they have ended.
    let establish = Box::pin(timeout_at(deadline.into(), protocol.establish(stream, &shared)));
    let Ok(handshake) = unless_killed(&guard, establish).await else {
        return;
    };
    let wire = match handshake {
        Ok(Ok(wire)) => wire,
        Ok(Err(error)) => {
            if error.kind() == std::io::ErrorKind::InvalidData {
                permit.penalise(now(), Offence::Malformed);
            }
            let error = &error as &dyn std::error::Error;
            tracing::debug!(connection = guard.id().0, %source, error, "handshake failed");
            return;
        }
        Err(_) => {
            permit.penalise(now(), Offence::TimedOut);
            tracing::debug!(connection = guard.id().0, %source, "handshake timed out");
            return;
        }
    };
    let mut connection = Connection::new(wire, source, guard, &shared);
    let served = Box::pin(connection.serve_guest(accepted, &mut permit)).await;
    let end = match served {
        Ok(session) => Box::pin(connection.run(session)).await,
        Err(end) => end,
    };
    Box::pin(connection.end(end, &permit)).await;
}

/// Returns the result of `work`, or [`End::Killed`] if the server cuts off its connections first.
async fn unless_killed<T>(guard: &ConnectionGuard, work: impl Future<Output = T>) -> Result<T, End> {
    let mut work = pin!(work);
    poll_fn(|cx| match guard.poll_phase(cx) {
        Phase::Killed => Poll::Ready(Err(End::Killed)),
        Phase::Serving | Phase::Draining => work.as_mut().poll(cx).map(Ok),
    })
    .await
}

/// Reason why a connection ends.
#[derive(Debug)]
enum End {
    /// The server closes the connection and sends the peer this code.
    Close(CloseCode),
    /// The stream or the SC1 channel ended or failed: for example, the peer disconnected, sent an
    /// invalid record, or ended the stream within a packet.
    Wire(WireError),
    /// The server was dropped, or the grace period of its drain has passed. The connection ends
    /// immediately.
    Killed,
}

impl From<WireError> for End {
    fn from(error: WireError) -> Self {
        match error {
            WireError::TooLarge => Self::Close(CloseCode::PacketTooLarge),
            error => Self::Wire(error),
        }
    }
}

/// A command that the service executes, and the request it answers.
struct RunningCommand {
    id: RequestId,
    outcome: CommandFuture,
}

impl Future for RunningCommand {
    type Output = (RequestId, CommandResult);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let result = ready!(Pin::new(&mut self.outcome).poll(cx));
        Poll::Ready((self.id, result))
    }
}

/// State that the guest stage and the session stage share. While there is nothing to read or write,
/// it holds no bytes, and only small lists.
struct Connection<'a> {
    wire: Wire,
    source: Source,
    connection_guard: ConnectionGuard,
    shared: &'a Arc<Shared>,
    /// Complete frames that were not yet passed to the wire (see [`seal`](Self::seal)).
    frames: Vec<Bytes>,
    /// Pushes that were drained from the outbox and not yet encoded.
    drained: Vec<SharedPush>,
    /// Commands whose outcome is not known yet.
    running: FuturesUnordered<RunningCommand>,
    stall: StallDetector,
    /// Latest phase of the server that the connection has handled.
    seen: Phase,
    /// Timer of the next deadline, which [`wait`](poll) sets each time. It may fire too early.
    timer: Pin<Box<Sleep>>,
}

impl<'a> Connection<'a> {
    fn new(wire: Wire, source: Source, connection_guard: ConnectionGuard, shared: &'a Arc<Shared>) -> Self {
        Self {
            wire,
            source,
            connection_guard,
            shared,
            frames: Vec::new(),
            drained: Vec::new(),
            running: FuturesUnordered::new(),
            stall: StallDetector::new(shared.config.write_timeout),
            seen: Phase::Serving,
            timer: Box::pin(sleep_until((now() + shared.config.write_timeout).into())),
        }
    }

    /// Returns the current time, for a state machine.
    fn time(&self) -> Now {
        Now {
            instant: now(),
            time: self.shared.service.now(),
        }
    }

    /// Adds the gathered frames to the output of the wire, if there are any. With SC1 they become
    /// one record if they fit.
    fn seal(&mut self) -> Result<(), End> {
        if !self.frames.is_empty() {
            self.wire.send(now(), &mut self.frames)?;
        }
        Ok(())
    }

    /// Sends the close code to the peer if there is one and it may be sent, and closes the
    /// connection. An invalid SC1 record is an offence of the source.
    async fn end(&mut self, end: End, permit: &ConnectionPermit) {
        let code = match &end {
            End::Close(code) => Some(*code),
            End::Wire(WireError::Sc1(_)) => {
                permit.penalise(now(), Offence::Malformed);
                None
            }
            End::Wire(_) | End::Killed => None,
        };
        tracing::debug!(connection = self.connection_guard.id().0, source = %self.source, ?end, "connection ended");
        let Some(code) = code else { return };
        if self.wire.may_send() {
            if self.seal().is_err() {
                return;
            }
            self.wire.send_close(code);
        }
        // The connection ends whether or not the peer reads the code, so the result is ignored.
        let _ = unless_killed(&self.connection_guard, timeout(CLOSE_TIMEOUT, self.wire.finish())).await;
    }
}
