//! The session stage of a connection: after login.

use std::time::Instant;

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};

use super::guest::EstablishedSession;
use super::poll::{Interest, OutboxInterest, Wake};
use super::{Connection, End, KEPT_CAPACITY, RunningCommand};
use crate::codec::{Failure, RequestId};
use crate::model::{Caller, CloseCode, Outcome};
use crate::router::Outbox;
use crate::server::now;
use crate::service::CommandResult;
use crate::session::{Session, SessionAction};

/// Number of bytes of replies and pushes after which further pushes go into another SC1 record. A
/// larger reply or push is not divided here. The 512 bytes below the maximum content of a record
/// leave room for the pushes that [`Outbox::drain`] adds beyond its limit.
const RECORD_BYTES: usize = 16 * 1024 - 512;
/// Maximum number of bytes of output that pushes may fill in one turn of the connection's loop, and
/// so in one write. A single larger push is still written.
const MAX_TURN_BYTES: usize = 48 * 1024;

impl Connection<'_> {
    /// Serves a session to its end.
    pub(super) async fn run(&mut self, established: EstablishedSession) -> End {
        let EstablishedSession {
            mut session,
            session_guard,
            outbox,
        } = established;
        let end = self.turns(&mut session, &outbox).await;
        // Changes that have started continue in the service; their outcomes are dropped.
        self.running.clear();
        let code = match &end {
            End::Close(code) => *code,
            End::Wire(_) => CloseCode::Normal,
            End::Killed => CloseCode::GoingAway,
        };
        outbox.close(code);
        drop(session_guard);
        let user = session.caller().user.0;
        tracing::info!(connection = self.connection_guard.id().0, source = %self.source, user, ?code, "session ended");
        end
    }

    /// Alternates between one [`turn`](Self::turn) and a wait for the next event, until the session
    /// ends.
    async fn turns(&mut self, session: &mut Session, outbox: &Outbox) -> End {
        let caller = session.caller();
        let leave_at = now().checked_add(self.shared.config.max_connection_age);
        let mut leaving = Leaving::No;
        // Time at which a session that the engine has ended is closed, even if its peer has not
        // read all output.
        let mut close_at: Option<Instant> = None;
        loop {
            if let Err(end) = self.turn(session, caller, outbox, &leaving) {
                return end;
            }
            if matches!(leaving, Leaving::Soon) && session.in_flight() == 0 {
                leaving = Leaving::Now;
                // While the requests were answered, the engine may have ended the session for
                // another reason.
                session.close(outbox.close_code().unwrap_or(CloseCode::GoingAway));
                continue;
            }
            if outbox.is_closed() && close_at.is_none() {
                close_at = now().checked_add(self.shared.config.write_timeout);
            }
            let stays = matches!(leaving, Leaving::No);
            let leave_at = leave_at.filter(|_| stays);
            // Reading stops while the output is full, which bounds the replies that a peer leaves
            // unread.
            let reading = stays && !self.wire.is_full();
            session.set_reading(now(), reading);
            let interest = Interest {
                input: reading && session.wants_input(),
                timeout: session.poll_timeout().into_iter().chain(leave_at).chain(close_at).min(),
                outbox: self.outbox_interest(session, outbox),
            };
            let wake = self.wait(interest).await;
            note_end(session, outbox);
            match wake {
                Wake::Filled(Err(error)) => return error.into(),
                Wake::Flushed(Err(error)) => return End::Wire(error.into()),
                Wake::Filled(Ok(())) | Wake::Flushed(Ok(())) | Wake::Outbox => {}
                Wake::Answered(id, result) => self.answer(session, id, result),
                Wake::Timer => {
                    let now = now();
                    let is_due = |time: Option<Instant>| time.is_some_and(|time| now >= time);
                    if let Some(code) = outbox.close_code().filter(|_| is_due(close_at)) {
                        leaving = Leaving::Now;
                        session.close(code);
                    } else if self.stall.is_stalled(now) {
                        return End::Close(CloseCode::SlowConsumer);
                    } else if is_due(leave_at) {
                        leaving = Leaving::Soon;
                        session.go_away(0);
                    } else {
                        session.handle_timeout(now);
                    }
                }
                Wake::Draining => {
                    if stays {
                        leaving = Leaving::Soon;
                        session.go_away(self.shared.retry_after_ms());
                    }
                }
                Wake::Killed => return End::Killed,
            }
        }
    }

    /// Returns the event of the outbox to wait for. Pushes stay in the outbox while output waits,
    /// because the outbox bounds the memory of a slow reader.
    fn outbox_interest<'o>(&self, session: &Session, outbox: &'o Outbox) -> OutboxInterest<'o> {
        if session.awaits_last_answer() {
            OutboxInterest::Nothing
        } else if !self.wire.has_output() {
            OutboxInterest::Pushes(outbox)
        } else if outbox.is_closed() {
            OutboxInterest::Nothing
        } else {
            OutboxInterest::End(outbox)
        }
    }

    /// Passes an outcome to the session. If it is small, also passes the next outcome that is
    /// ready, and so on up to the first large one. So the outcomes of drafts that one transaction
    /// has stored are sent together, but large outcomes are not gathered.
    fn answer(&mut self, session: &mut Session, id: RequestId, result: CommandResult) {
        let mut next = Some((id, result));
        while let Some((id, result)) = next {
            let is_small = matches!(result, Ok(Outcome::Appended(_) | Outcome::Done) | Err(_));
            session.handle_outcome(now(), id, result.map_err(Failure::from));
            // This poll registers no waker for the commands that are not ready yet; `wait` polls
            // them again before this task sleeps.
            next = if is_small {
                self.running.next().now_or_never().flatten()
            } else {
                None
            };
        }
    }

    /// Passes the received packets to the session, starts the requested commands, and gathers the
    /// output.
    fn turn(&mut self, session: &mut Session, caller: Caller, outbox: &Outbox, leaving: &Leaving) -> Result<(), End> {
        self.wire.stop_wiping();
        self.wire.set_limit(session.max_packet_bytes());
        loop {
            note_end(session, outbox);
            let fed = matches!(leaving, Leaving::No) && self.feed_session(session)?;
            if !self.act(session, caller, leaving)? && !fed {
                break;
            }
        }
        if session.awaits_last_answer() {
            // The service closes the outbox before it answers the command, but the reply must be
            // sent before the close code.
            return self.seal();
        }
        let mut more = !self.wire.has_output();
        while more {
            let replies: usize = self.frames.iter().map(Bytes::len).sum();
            more = outbox.drain(RECORD_BYTES.saturating_sub(replies), &mut self.drained);
            let frames = self.drained.drain(..).map(|push| push.frame());
            self.frames.extend(frames);
            self.seal()?;
            more &= self.wire.waiting() + RECORD_BYTES <= MAX_TURN_BYTES;
        }
        self.seal()?;
        self.drained.shrink_to(KEPT_CAPACITY);
        self.frames.shrink_to(KEPT_CAPACITY);
        match outbox.close_code() {
            Some(code) if !outbox.is_ready() => Err(End::Close(code)),
            _ => Ok(()),
        }
    }

    /// Passes the next packet that has arrived to the session, if the session and the output have
    /// room, and returns whether one was passed. Passes only one packet, because its request may be
    /// a reason to stop reading.
    fn feed_session(&mut self, session: &mut Session) -> Result<bool, End> {
        if !session.wants_input() || self.wire.is_full() {
            return Ok(false);
        }
        match self.wire.next_packet(now()).map_err(End::from) {
            Ok(Some(packet)) => {
                session.handle_packet(self.time(), packet);
                Ok(true)
            }
            Ok(None) => Ok(false),
            Err(End::Close(code)) => {
                session.close(code);
                Ok(false)
            }
            Err(end) => Err(end),
        }
    }

    /// Performs the actions that the session requests. Stops while the output is full, unless the
    /// session is being closed. Returns whether a command was started.
    fn act(&mut self, session: &mut Session, caller: Caller, leaving: &Leaving) -> Result<bool, End> {
        let mut started = false;
        // A peer that does not read gets no further replies until it reads, or the write timeout
        // passes.
        while !self.wire.is_full() || matches!(leaving, Leaving::Now) {
            match session.poll_action() {
                Some(SessionAction::Send(frames)) => self.frames.push(frames),
                Some(SessionAction::Close(code)) => return Err(End::Close(code)),
                Some(SessionAction::Run(id, command)) => {
                    started = true;
                    session.pause(now(), self.shared.service.pace(caller, &command));
                    // The call fixes the order in which commands take effect.
                    let outcome = self.shared.service.execute(caller, command);
                    self.running.push(RunningCommand { id, outcome });
                }
                None => break,
            }
        }
        Ok(started)
    }
}

/// Notifies the session if the engine has ended it. Then no further packet is passed to it and no
/// command is started, even if its peer takes long to read the remaining output.
fn note_end(session: &mut Session, outbox: &Outbox) {
    if outbox.is_closed() {
        session.end_commands();
    }
}

/// Progress of a session that the connection ends: because the server drains, because the
/// connection is too old, or because the engine has ended the session and the peer does not read
/// the remaining output.
enum Leaving {
    No,
    /// The session ends once its requests are answered. No further packet is read.
    Soon,
    /// The session is being closed.
    Now,
}
