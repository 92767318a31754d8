//! One connection, in one task, from accept to close: the only place where sockets, the session's state machine, the engine and
//! the outbox meet.

use std::future::{Future, pending};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, Stream};
use tokio::time::{Sleep, sleep_until, timeout_at};

use super::Shared;
use super::handshake::Protocol;
use super::wire::{Wire, WireError};
use crate::auth::{ConnectionPermit, Offence};
use crate::codec::{Failure, LoggedIn, RequestId};
use crate::engine::{Attachment, CommandError, Service};
use crate::model::{Admission, Caller, CloseCode, Outcome, ReplyCode, Source};
use crate::router::{Delivery, Outbox};
use crate::session::{Action, Authenticating, Credentials, Guest, GuestAction, Now, Session, SessionConfig};
use crate::transport::Transport;

/// Pushes that leave in one turn, about: one record.
const TURN_BYTES: usize = 16 * 1024 - 512;
/// How long a peer may take to read why it is closed.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Serves one connection to its end.
pub(super) async fn serve(
    stream: Box<dyn Transport>,
    source: Source,
    protocol: Protocol,
    mut permit: ConnectionPermit,
    shared: Arc<Shared>,
) {
    let accepted = Instant::now();
    let deadline = accepted + shared.config.handshake_timeout;
    let established = timeout_at(deadline.into(), protocol.establish(stream, &shared));
    let Ok(established) = or_killed(&shared, established).await else {
        return;
    };
    let wire = match established {
        Ok(Ok(wire)) => wire,
        Ok(Err(error)) => {
            if error.kind() == std::io::ErrorKind::InvalidData {
                permit.penalise(Instant::now(), Offence::Malformed);
            }
            tracing::debug!(?source, error = &error as &dyn std::error::Error, "no handshake");
            return;
        }
        Err(_) => {
            permit.penalise(Instant::now(), Offence::TimedOut);
            tracing::debug!(?source, "no handshake in time");
            return;
        }
    };
    let mut connection = Connection::new(wire, source, &shared);
    let reason = match connection.greet(accepted, &mut permit).await {
        Ok(admitted) => {
            // A box, so that a connection that waits for its login is small, and the other way round.
            Box::pin(connection.run(admitted)).await
        }
        Err(reason) => reason,
    };
    connection.end(reason, &permit).await;
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

/// A guest that has become a session.
struct Admitted {
    session: Session,
    attachment: Attachment,
    outbox: Arc<Outbox>,
}

type Running = FuturesUnordered<BoxFuture<'static, (RequestId, Result<Outcome, CommandError>)>>;

struct Connection<'a> {
    wire: Wire,
    source: Source,
    shared: &'a Arc<Shared>,
    /// Whole frames that leave at the next turn.
    frames: Vec<Bytes>,
    taken: Vec<Delivery>,
    /// Since when the peer has taken nothing of what is to be written.
    stuck_since: Option<Instant>,
    timer: Pin<Box<Sleep>>,
}

/// What a connection has waited for.
enum Wake {
    Filled(Result<(), WireError>),
    Flushed(std::io::Result<()>),
    Ended(RequestId, Result<Outcome, CommandError>),
    Pushed,
    Timer,
    Draining,
    Killed,
}

impl<'a> Connection<'a> {
    fn new(wire: Wire, source: Source, shared: &'a Arc<Shared>) -> Self {
        Self {
            wire,
            source,
            shared,
            frames: Vec::new(),
            taken: Vec::new(),
            stuck_since: None,
            timer: Box::pin(sleep_until((Instant::now() + shared.config.write_timeout).into())),
        }
    }

    fn now(&self) -> Now {
        Now {
            instant: Instant::now(),
            time: self.shared.engine.now(),
        }
    }

    /// Serves a guest until it has logged in.
    async fn greet(&mut self, accepted: Instant, permit: &mut ConnectionPermit) -> Result<Admitted, End> {
        let shared = self.shared;
        let mut guest = Guest::new(Arc::clone(&shared.session), accepted, Instant::now());
        let mut drained = false;
        loop {
            while guest.wants_input() {
                self.wire.set_limit(guest.frame_limit());
                match self.next_packet() {
                    Ok(Some(packet)) => guest.handle_packet(self.now(), packet),
                    Ok(None) => break,
                    Err(End::Close(code)) => {
                        permit.penalise(Instant::now(), Offence::Malformed);
                        guest.close(code);
                        break;
                    }
                    Err(end) => return Err(end),
                }
            }
            while let Some(action) = guest.poll_action() {
                match action {
                    GuestAction::Send(frames) => self.frames.push(frames),
                    GuestAction::Close(code) => {
                        if code == CloseCode::ProtocolError {
                            permit.penalise(Instant::now(), Offence::Malformed);
                        } else if code == CloseCode::Timeout {
                            permit.penalise(Instant::now(), Offence::TimedOut);
                        }
                        return Err(End::Close(code));
                    }
                    GuestAction::Register(ticket, registration) => {
                        let result = or_killed(shared, shared.engine.register(self.source, registration)).await?;
                        guest.handle_registered(ticket, result.map_err(Failure::from));
                    }
                    GuestAction::Authenticate(ticket, credentials) => {
                        match or_killed(shared, authenticate(shared, self.source, credentials)).await? {
                            Ok(begun) => return self.admit(guest, ticket, begun, permit),
                            Err(error) => {
                                if error.code == ReplyCode::BadCredentials {
                                    permit.penalise(Instant::now(), Offence::AuthFailed);
                                }
                                guest.handle_refused(ticket, error.into());
                            }
                        }
                    }
                }
            }
            self.seal()?;
            let idle = Running::new();
            match self
                .wait(guest.wants_input(), guest.poll_timeout(), drained, None, idle)
                .await
                .0
            {
                Wake::Filled(result) => result.map_err(End::from)?,
                Wake::Flushed(result) => result.map_err(WireError::from)?,
                Wake::Timer => guest.handle_timeout(Instant::now()),
                Wake::Draining => {
                    drained = true;
                    guest.go_away(shared.retry_after_ms());
                    guest.close(CloseCode::GoingAway);
                }
                Wake::Killed => return Err(End::Killed),
                Wake::Ended(..) | Wake::Pushed => {}
            }
        }
    }

    fn admit(
        &self,
        guest: Guest,
        ticket: Authenticating,
        begun: Begun,
        permit: &mut ConnectionPermit,
    ) -> Result<Admitted, End> {
        let Begun {
            admission,
            outbox,
            attachment,
            conversations,
        } = begun;
        if permit.authenticate().is_err() {
            return Err(End::Close(CloseCode::Overloaded));
        }
        let logged_in = LoggedIn {
            user: admission.user,
            session_token: admission.session_token,
            device_token: admission.device_token,
            store_epoch: self.shared.session.store_epoch,
            conversations,
            server_time: self.shared.engine.now(),
        };
        let session = guest.admit(self.now(), ticket, admission.caller, logged_in);
        Ok(Admitted {
            session,
            attachment,
            outbox,
        })
    }

    /// Serves a session to its end.
    async fn run(&mut self, admitted: Admitted) -> End {
        let Admitted {
            mut session,
            attachment,
            outbox,
        } = admitted;
        let mut running = Running::new();
        let end = self.turns(&mut session, &outbox, &mut running).await;
        // What was begun goes on in the engine; only its answers have nobody to go to.
        drop(running);
        outbox.close(match &end {
            End::Close(code) => *code,
            End::Wire(_) => CloseCode::Normal,
            End::Killed => CloseCode::GoingAway,
        });
        drop(attachment);
        end
    }

    async fn turns(&mut self, session: &mut Session, outbox: &Arc<Outbox>, running: &mut Running) -> End {
        let caller = session.caller();
        let leave_at = Instant::now() + self.shared.config.max_age;
        let mut leaving = false;
        loop {
            if let Err(end) = self.turn(session, caller, outbox, running) {
                return end;
            }
            if leaving && session.in_flight() == 0 {
                session.close(CloseCode::GoingAway);
                continue;
            }
            // Order of the outbox's events and of replies is the order of turns: nothing is pulled while something waits to be
            // written, which is also what bounds the memory of a slow reader.
            let outbox = (!self.wire.has_output()).then_some(outbox);
            let timeout = [session.poll_timeout(), (!leaving).then_some(leave_at)]
                .into_iter()
                .flatten()
                .min();
            let (wake, still_running) = self
                .wait(session.wants_input(), timeout, leaving, outbox, std::mem::take(running))
                .await;
            *running = still_running;
            let now = Instant::now();
            match wake {
                Wake::Filled(Err(error)) => return error.into(),
                Wake::Flushed(Err(error)) => return End::Wire(error.into()),
                Wake::Filled(Ok(())) | Wake::Flushed(Ok(())) | Wake::Pushed => {}
                Wake::Ended(id, result) => session.handle_outcome(now, id, result.map_err(Failure::from)),
                Wake::Timer if self.is_stuck(now) => return End::Close(CloseCode::SlowConsumer),
                Wake::Timer if !leaving && now >= leave_at => {
                    leaving = true;
                    session.go_away(0);
                }
                Wake::Timer => session.handle_timeout(now),
                Wake::Draining => {
                    leaving = true;
                    session.go_away(self.shared.retry_after_ms());
                }
                Wake::Killed => return End::Killed,
            }
        }
    }

    /// Hands over what has arrived, starts what was asked for, and gathers what is to be sent into one record.
    fn turn(
        &mut self,
        session: &mut Session,
        caller: Caller,
        outbox: &Outbox,
        running: &mut Running,
    ) -> Result<(), End> {
        loop {
            let mut idle = true;
            self.wire.set_limit(session.frame_limit());
            while session.wants_input() {
                match self.next_packet() {
                    Ok(Some(packet)) => {
                        idle = false;
                        session.handle_packet(self.now(), packet);
                    }
                    Ok(None) => break,
                    Err(End::Close(code)) => {
                        session.close(code);
                        break;
                    }
                    Err(end) => return Err(end),
                }
            }
            while let Some(action) = session.poll_action() {
                match action {
                    Action::Send(frames) => self.frames.push(frames),
                    Action::Close(code) => return Err(End::Close(code)),
                    Action::Run(id, command) => {
                        idle = false;
                        // The call fixes the order in which commands take effect.
                        let outcome = self.shared.engine.execute(caller, command);
                        running.push(Box::pin(async move { (id, outcome.await) }));
                    }
                }
            }
            if idle {
                break;
            }
        }
        if !self.wire.has_output() {
            outbox.drain(TURN_BYTES, &mut self.taken);
            self.frames
                .extend(self.taken.drain(..).map(|delivery| delivery.frame()));
            if self.taken.capacity() > 64 {
                self.taken = Vec::new();
            }
        }
        self.seal()?;
        match outbox.closed() {
            Some(code) if !outbox.is_ready() => Err(End::Close(code)),
            _ => Ok(()),
        }
    }

    fn next_packet(&mut self) -> Result<Option<Bytes>, End> {
        Ok(self.wire.next_packet(Instant::now())?)
    }

    fn seal(&mut self) -> Result<(), End> {
        if !self.frames.is_empty() {
            self.wire.send(Instant::now(), &mut self.frames)?;
            if self.frames.capacity() > 64 {
                self.frames = Vec::new();
            }
        }
        Ok(())
    }

    fn is_stuck(&self, now: Instant) -> bool {
        self.stuck_since
            .is_some_and(|since| now.saturating_duration_since(since) >= self.shared.config.write_timeout)
    }

    /// Waits for whatever comes first.
    async fn wait(
        &mut self,
        wants_input: bool,
        timeout: Option<Instant>,
        drained: bool,
        outbox: Option<&Arc<Outbox>>,
        mut running: Running,
    ) -> (Wake, Running) {
        let shared = self.shared;
        let mut killed = pin!(shared.kill.cancelled());
        let mut draining = pin!(async {
            if drained {
                pending().await
            } else {
                shared.draining.cancelled().await
            }
        });
        let mut pushed = pin!(async {
            match outbox {
                Some(outbox) => outbox.ready().await,
                None => pending().await,
            }
        });
        if self.wire.has_output() && self.stuck_since.is_none() {
            self.stuck_since = Some(Instant::now());
        }
        let stuck = self.stuck_since.map(|since| since + shared.config.write_timeout);
        self.set_timer(timeout.into_iter().chain(stuck).min());
        let timed = timeout.is_some() || stuck.is_some();

        let wake = std::future::poll_fn(|cx| {
            // Writing first: it makes room. Then answers, then pushes, so that a flood of pushes delays no answer. Reading
            // comes after what it would add to. The timer last: what is ready is not late.
            if killed.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Wake::Killed);
            }
            if self.wire.has_output() {
                let mut progress = false;
                let flushed = self.wire.poll_flush(cx, &mut progress);
                if progress {
                    self.stuck_since = Some(Instant::now());
                }
                if let Poll::Ready(result) = flushed {
                    self.stuck_since = None;
                    return Poll::Ready(Wake::Flushed(result));
                }
            }
            if let Poll::Ready(Some((id, result))) = Pin::new(&mut running).poll_next(cx) {
                return Poll::Ready(Wake::Ended(id, result));
            }
            if pushed.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Wake::Pushed);
            }
            if draining.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Wake::Draining);
            }
            self.poll_rest(cx, wants_input, timed)
        })
        .await;
        (wake, running)
    }

    fn poll_rest(&mut self, cx: &mut Context<'_>, wants_input: bool, timed: bool) -> Poll<Wake> {
        if wants_input && let Poll::Ready(result) = self.wire.poll_fill(cx) {
            return Poll::Ready(Wake::Filled(result));
        }
        if timed && self.timer.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Wake::Timer);
        }
        Poll::Pending
    }

    /// Moves the timer, if it would ring too late or has rung.
    fn set_timer(&mut self, at: Option<Instant>) {
        if let Some(at) = at
            && (self.timer.deadline() > at.into() || self.timer.is_elapsed())
        {
            self.timer.as_mut().reset(at.into());
        }
    }

    /// Says why, as far as the peer reads it, and closes.
    async fn end(mut self, end: End, permit: &ConnectionPermit) {
        let code = match &end {
            End::Killed => return,
            End::Wire(WireError::Channel(_)) => {
                permit.penalise(Instant::now(), Offence::Malformed);
                None
            }
            End::Wire(_) => None,
            End::Close(code) => Some(*code),
        };
        tracing::debug!(source = ?self.source, ?end, "connection ends");
        let Some(code) = code else { return };
        if self.wire.may_send() {
            if self.seal().is_err() {
                return;
            }
            self.wire.send_close(code);
        }
        let kill = &self.shared.kill;
        let _ = kill
            .run_until_cancelled(tokio::time::timeout(LAST_WORDS, self.wire.finish()))
            .await;
    }
}

/// The result of `work`, unless the server is dropped meanwhile.
async fn or_killed<T>(shared: &Shared, work: impl Future<Output = T>) -> Result<T, End> {
    shared.kill.run_until_cancelled(work).await.ok_or(End::Killed)
}

async fn authenticate(shared: &Shared, source: Source, credentials: Credentials) -> Result<Begun, CommandError> {
    let admission = match credentials {
        Credentials::Login(login) => shared.engine.login(source, login).await?,
        Credentials::Resume(resume) => shared.engine.resume(source, resume).await?,
    };
    let outbox = Outbox::new(shared.config.outbox);
    let (attachment, conversations) = shared
        .engine
        .open(admission.caller, source, Arc::clone(&outbox))
        .await?;
    Ok(Begun {
        admission,
        outbox,
        attachment,
        conversations,
    })
}

/// A login that succeeded.
struct Begun {
    admission: Admission,
    outbox: Arc<Outbox>,
    attachment: Attachment,
    conversations: Vec<crate::model::ConversationInfo>,
}

/// What the sessions of a server have in common.
pub(super) fn session_config(shared: &super::ServerConfig, epoch: crate::model::StoreEpoch) -> SessionConfig {
    let mut session = SessionConfig::new(shared.name.clone(), epoch);
    session.first_packet = shared.first_packet_timeout;
    session.login = shared.login_timeout;
    session.heartbeat = shared.heartbeat;
    session.max_packet_bytes = shared.max_packet_bytes;
    session.sends = shared.sends;
    session.packets = shared.packets;
    session
}
