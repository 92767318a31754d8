//! A connection after login.

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};

use super::guest::Admitted;
use super::poll::{Interest, Wake};
use super::{Connection, End, KEPT_PLACES};
use crate::codec::{Failure, RequestId};
use crate::engine::{CommandError, Service};
use crate::model::{Caller, CloseCode, Outcome};
use crate::router::Outbox;
use crate::server::now;
use crate::session::{Action, Session};

/// What leaves in one record, about.
const RECORD_BYTES: usize = 16 * 1024 - 512;
/// Records that leave in one turn, with one write, are no more than this.
const TURN_BYTES: usize = 48 * 1024;

impl Connection<'_> {
    /// Serves a session to its end.
    pub(super) async fn run(&mut self, admitted: Admitted) -> End {
        let Admitted {
            mut session,
            attachment,
            outbox,
        } = admitted;
        let end = self.turns(&mut session, &outbox).await;
        // What was begun goes on in the engine; only its answers have nobody to go to.
        self.running.clear();
        let code = match &end {
            End::Close(code) => *code,
            End::Wire(_) => CloseCode::Normal,
            End::Killed => CloseCode::GoingAway,
        };
        outbox.close(code);
        drop(attachment);
        let user = session.caller().user.0;
        tracing::info!(connection = self.guard.id().0, source = ?self.source, user, ?code, "session ended");
        end
    }

    async fn turns(&mut self, session: &mut Session, outbox: &Outbox) -> End {
        let caller = session.caller();
        let leave_at = now().checked_add(self.shared.config.max_connection_age);
        let mut leaving = Leaving::No;
        loop {
            if let Err(end) = self.turn(session, caller, outbox, &leaving) {
                return end;
            }
            if matches!(leaving, Leaving::Soon) && session.in_flight() == 0 {
                leaving = Leaving::Now;
                session.close(CloseCode::GoingAway);
                continue;
            }
            let stays = matches!(leaving, Leaving::No);
            let leave_at = leave_at.filter(|_| stays);
            // Nothing is read that could not be answered: what a peer leaves unread is bounded.
            let reading = stays && !self.wire.is_full();
            session.set_reading(now(), reading);
            let interest = Interest {
                input: reading && session.wants_input(),
                timeout: session.poll_timeout().into_iter().chain(leave_at).min(),
                // Nothing is taken while something waits to be written: the outbox is what bounds a slow reader.
                outbox: (!self.wire.has_output() && !session.awaits_last_answer()).then_some(outbox),
            };
            match self.wait(interest).await {
                Wake::Filled(Err(error)) => return error.into(),
                Wake::Flushed(Err(error)) => return End::Wire(error.into()),
                Wake::Filled(Ok(())) | Wake::Flushed(Ok(())) | Wake::Pushed => {}
                Wake::Answered(id, result) => self.answer(session, id, result),
                Wake::Timer => {
                    let at = now();
                    if self.stall.is_over(at) {
                        return End::Close(CloseCode::SlowConsumer);
                    }
                    if leave_at.is_some_and(|leave_at| at >= leave_at) {
                        leaving = Leaving::Soon;
                        session.go_away(0);
                    } else {
                        session.handle_timeout(at);
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

    /// Hands over an answer. Small ones that came together, as those of one batch do, leave together; large ones, one by one.
    fn answer(&mut self, session: &mut Session, id: RequestId, result: Result<Outcome, CommandError>) {
        let mut next = Some((id, result));
        while let Some((id, result)) = next {
            let is_small = matches!(result, Ok(Outcome::Appended(_) | Outcome::Done) | Err(_));
            session.handle_outcome(now(), id, result.map_err(Failure::from));
            // Whoever is not ready yet is asked again before this task sleeps.
            next = if is_small {
                self.running.next().now_or_never().flatten()
            } else {
                None
            };
        }
    }

    /// Hands over what has arrived, starts what was asked for, and gathers what is to be sent.
    fn turn(&mut self, session: &mut Session, caller: Caller, outbox: &Outbox, leaving: &Leaving) -> Result<(), End> {
        self.wire.set_limit(session.max_packet_bytes());
        loop {
            let heard = matches!(leaving, Leaving::No) && self.hear(session)?;
            if !self.act(session, caller, leaving)? && !heard {
                break;
            }
        }
        if session.awaits_last_answer() {
            // The engine closes the outbox before it answers; the answer comes first all the same.
            return self.seal();
        }
        let mut more = !self.wire.has_output();
        while more {
            let answers: usize = self.frames.iter().map(Bytes::len).sum();
            more = outbox.drain(RECORD_BYTES.saturating_sub(answers), &mut self.taken);
            let frames = self.taken.drain(..).map(|delivery| delivery.frame());
            self.frames.extend(frames);
            self.seal()?;
            more &= self.wire.waiting() + RECORD_BYTES <= TURN_BYTES;
        }
        self.seal()?;
        self.taken.shrink_to(KEPT_PLACES);
        self.frames.shrink_to(KEPT_PLACES);
        match outbox.close_code() {
            Some(code) if !outbox.is_ready() => Err(End::Close(code)),
            _ => Ok(()),
        }
    }

    /// Hands over the next packet that has arrived, if there is one: what it asks for may be a reason not to read more.
    fn hear(&mut self, session: &mut Session) -> Result<bool, End> {
        if !session.wants_input() || self.wire.is_full() {
            return Ok(false);
        }
        match self.wire.next_packet(now()).map_err(End::from) {
            Ok(Some(packet)) => {
                session.handle_packet(self.moment(), packet);
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

    /// Does what the session interest to have done. Whether a command was started, which makes room for another.
    fn act(&mut self, session: &mut Session, caller: Caller, leaving: &Leaving) -> Result<bool, End> {
        let mut started = false;
        // A peer that reads nothing is answered nothing more, until it does or its time is over.
        while !self.wire.is_full() || matches!(leaving, Leaving::Now) {
            match session.poll_action() {
                Some(Action::Send(frames)) => self.frames.push(frames),
                Some(Action::Close(code)) => return Err(End::Close(code)),
                Some(Action::Run(id, command)) => {
                    started = true;
                    session.pause(now(), self.shared.engine.pace(caller, &command));
                    // The call fixes the order in which commands take effect.
                    let outcome = self.shared.engine.execute(caller, command);
                    self.running.push(Box::pin(async move { (id, outcome.await) }));
                }
                None => break,
            }
        }
        Ok(started)
    }
}

/// Whether the session is on its way out because the server or its keys are.
enum Leaving {
    No,
    /// Once what it asked for is answered; it is not listened to any more.
    Soon,
    /// It is being closed.
    Now,
}
