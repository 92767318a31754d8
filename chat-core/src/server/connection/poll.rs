//! Waiting for the next event of a connection.

use std::future::{Future, pending, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Instant;

use futures_util::stream::Stream;

use super::Connection;
use crate::codec::RequestId;
use crate::router::Outbox;
use crate::server::connections::Phase;
use crate::server::wire::WireError;
use crate::service::CommandResult;

/// The events to wait for, besides outcomes of commands, writability, and the drain or end of the
/// server.
pub(super) struct Interest<'o> {
    /// True if the wait also reads input.
    pub(super) input: bool,
    /// Earliest deadline of the state machine or the stage; `None` if there is none.
    pub(super) timeout: Option<Instant>,
    /// Event of the session's outbox to wait for.
    pub(super) outbox: OutboxInterest<'o>,
}

/// Event of a session's outbox that a connection waits for.
pub(super) enum OutboxInterest<'o> {
    /// Pushes, or the end of the session.
    Pushes(&'o Outbox),
    /// The end of the session.
    End(&'o Outbox),
    Nothing,
}

/// The event that ended a wait.
pub(super) enum Wake {
    /// Input was read, or reading failed.
    Filled(Result<(), WireError>),
    /// All output was written, or writing failed.
    Flushed(std::io::Result<()>),
    /// The service has executed a command.
    Answered(RequestId, CommandResult),
    /// The awaited event of the outbox has happened.
    Outbox,
    /// A deadline may have passed: [`Interest::timeout`], or that for writing output.
    Timer,
    /// The server has started to drain.
    Draining,
    /// The server was dropped, or the grace period of its drain has passed.
    Killed,
}

impl Connection<'_> {
    /// Waits for the next event. While it waits, it writes the output.
    pub(super) async fn wait(&mut self, interest: Interest<'_>) -> Wake {
        let mut outbox_event = pin!(async {
            match interest.outbox {
                OutboxInterest::Pushes(outbox) => outbox.ready().await,
                OutboxInterest::End(outbox) => outbox.closed().await,
                OutboxInterest::Nothing => pending().await,
            }
        });
        if self.wire.has_output() {
            self.stall.begin(self.wire.bytes_added());
        }
        let deadline = interest.timeout.into_iter().chain(self.stall.deadline()).min();
        self.set_timer(deadline);
        poll_fn(|cx| {
            // Events are checked in this order: first the drain or end of the server; then writing,
            // which makes room; outcomes before pushes, so that many pushes do not delay a reply;
            // reading after these, because it adds output; the timer last, because an event that is
            // ready is not late.
            match self.connection_guard.poll_phase(cx) {
                Phase::Killed => return Poll::Ready(Wake::Killed),
                phase if phase > self.seen => {
                    self.seen = phase;
                    return Poll::Ready(Wake::Draining);
                }
                _ => {}
            }
            if let Poll::Ready(result) = self.poll_flush(cx) {
                return Poll::Ready(Wake::Flushed(result));
            }
            if let Poll::Ready(Some((id, result))) = Pin::new(&mut self.running).poll_next(cx) {
                return Poll::Ready(Wake::Answered(id, result));
            }
            if outbox_event.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Wake::Outbox);
            }
            if interest.input
                && let Poll::Ready(result) = self.wire.poll_fill(cx)
            {
                return Poll::Ready(Wake::Filled(result));
            }
            if deadline.is_some() && self.timer.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Wake::Timer);
            }
            Poll::Pending
        })
        .await
    }

    /// Writes output. Ready once all of it is written or writing fails; pending also if there was
    /// nothing to write.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        if !self.wire.has_output() {
            return Poll::Pending;
        }
        let before = self.wire.written();
        let flushed = self.wire.poll_flush(cx);
        if self.wire.written() > before {
            self.stall.progress(self.wire.written(), self.wire.bytes_added());
        }
        if flushed.is_ready() {
            self.stall.end();
        }
        flushed
    }

    /// Moves the timer if it would fire too late or has fired. A timer that fires too early does no
    /// harm, because the deadlines are checked again.
    fn set_timer(&mut self, deadline: Option<Instant>) {
        if let Some(deadline) = deadline
            && (self.timer.deadline() > deadline.into() || self.timer.is_elapsed())
        {
            self.timer.as_mut().reset(deadline.into());
        }
    }
}
