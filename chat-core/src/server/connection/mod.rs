//! One connection, in one task, from accept to close: the only place where sockets, the session's state machine, the engine and
//! the outbox meet.
//!
//! ```text
//! establish (handshake) ──► greet (guest) ──► run (session) ──► end (last words)
//!         └─ no handshake        └─ refused, late ────────────────▲
//! ```
//! Each part feeds what has arrived to its state machine, does what that asks for, seals what there is to send into few
//! records, and [waits](poll) for whatever comes first.

mod guest;
mod poll;
mod session;
mod write_stall;

#[cfg(test)]
mod tests;

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Sleep, sleep_until, timeout, timeout_at};

use super::connections::{ConnectionGuard, Phase};
use super::handshake::Protocol;
use super::wire::{Wire, WireError};
use super::{Shared, now};
use crate::auth::{ConnectionPermit, Offence};
use crate::codec::RequestId;
use crate::engine::CommandError;
use crate::model::{CloseCode, Outcome, Source};
use crate::router::SharedPush;
use crate::session::Now;
use crate::transport::Transport;

use self::write_stall::StallDetector;

/// How long a peer may take to read why it is closed, and to close its side.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// Places that an idle connection keeps in a list it fills again and again.
const KEPT_PLACES: usize = 16;

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
    // In boxes, each part by itself: what a connection needs for its handshake or its login it does not keep for its life.
    let establish = Box::pin(timeout_at(deadline.into(), protocol.establish(stream, &shared)));
    let Ok(established) = unless_killed(&guard, establish).await else {
        return;
    };
    let wire = match established {
        Ok(Ok(wire)) => wire,
        Ok(Err(error)) => {
            if error.kind() == std::io::ErrorKind::InvalidData {
                permit.penalise(now(), Offence::Malformed);
            }
            let error = &error as &dyn std::error::Error;
            tracing::debug!(connection = guard.id().0, ?source, error, "no handshake");
            return;
        }
        Err(_) => {
            permit.penalise(now(), Offence::TimedOut);
            tracing::debug!(connection = guard.id().0, ?source, "no handshake in time");
            return;
        }
    };
    let mut connection = Connection::new(wire, source, guard, &shared);
    let greeted = Box::pin(connection.greet(accepted, &mut permit)).await;
    let end = match greeted {
        Ok(admitted) => Box::pin(connection.run(admitted)).await,
        Err(end) => end,
    };
    Box::pin(connection.end(end, &permit)).await;
}

/// The result of `work`, unless the server is dropped meanwhile.
async fn unless_killed<T>(guard: &ConnectionGuard, work: impl Future<Output = T>) -> Result<T, End> {
    let mut work = pin!(work);
    poll_fn(|cx| match guard.poll_phase(cx) {
        Phase::Killed => Poll::Ready(Err(End::Killed)),
        Phase::Serving | Phase::Draining => work.as_mut().poll(cx).map(Ok),
    })
    .await
}

/// Why a connection ends.
#[derive(Debug)]
enum End {
    /// We say so, with a code.
    Close(CloseCode),
    /// The peer went, or broke the stream or the channel.
    Wire(WireError),
    /// The server is dropped: at once.
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

/// Commands under way in the engine.
type Running = FuturesUnordered<BoxFuture<'static, (RequestId, Result<Outcome, CommandError>)>>;

/// What a guest and a session have in common. Keeps no buffer while there is nothing to read or write.
struct Connection<'a> {
    wire: Wire,
    source: Source,
    guard: ConnectionGuard,
    shared: &'a Arc<Shared>,
    /// Whole frames that leave at the next turn.
    frames: Vec<Bytes>,
    taken: Vec<SharedPush>,
    running: Running,
    stall: StallDetector,
    /// The phase of the server that was acted upon.
    seen: Phase,
    timer: Pin<Box<Sleep>>,
}

impl<'a> Connection<'a> {
    fn new(wire: Wire, source: Source, guard: ConnectionGuard, shared: &'a Arc<Shared>) -> Self {
        Self {
            wire,
            source,
            guard,
            shared,
            frames: Vec::new(),
            taken: Vec::new(),
            running: Running::new(),
            stall: StallDetector::new(shared.config.write_timeout),
            seen: Phase::Serving,
            timer: Box::pin(sleep_until((now() + shared.config.write_timeout).into())),
        }
    }

    /// For a state machine.
    fn moment(&self) -> Now {
        Now {
            instant: now(),
            time: self.shared.engine.now(),
        }
    }

    /// Makes one record of everything there is to send.
    fn seal(&mut self) -> Result<(), End> {
        if !self.frames.is_empty() {
            self.wire.send(now(), &mut self.frames)?;
        }
        Ok(())
    }

    /// Says why, as far as the peer reads it, and closes.
    async fn end(&mut self, end: End, permit: &ConnectionPermit) {
        let code = match &end {
            End::Close(code) => Some(*code),
            End::Wire(WireError::Channel(_)) => {
                permit.penalise(now(), Offence::Malformed);
                None
            }
            End::Wire(_) | End::Killed => None,
        };
        tracing::debug!(connection = self.guard.id().0, source = ?self.source, ?end, "connection ends");
        let Some(code) = code else { return };
        if self.wire.may_send() {
            if self.seal().is_err() {
                return;
            }
            self.wire.send_close(code);
        }
        // However it goes: it was the last that is done for this peer.
        let _ = unless_killed(&self.guard, timeout(LAST_WORDS, self.wire.finish())).await;
    }
}
