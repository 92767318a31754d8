//! [`Session`]: state machine of a connection after login.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::output::{Output, SECOND_HELLO};
use super::{Now, SessionConfig};
use crate::codec::{Answer, DecodeError, Failure, RequestId, RequestKind, server};
use crate::model::{Caller, CloseCode, Command, Outcome, PageFrom, Push, ReplyCode};
use crate::rate::Bucket;

/// State machine of a connection after login. The peer sends requests; each request with an id gets
/// one reply, unless the session ends first.
///
/// Commands are handed to the driver in the order of their arrival. Sends, acknowledgements, read
/// marks, typing notices and changes of presence may overlap with the commands after them. Any
/// other command finishes before a later one starts, and a logout waits for all commands before it.
///
/// A peer that exceeds its rates is read more slowly. No request is rejected for that reason: the
/// client would send a rejected draft again, after drafts that were written later.
#[derive(Debug)]
pub struct Session {
    config: Arc<SessionConfig>,
    caller: Caller,
    output: Output,
    /// Commands that were received and not yet handed to the driver.
    waiting: VecDeque<(RequestId, Command)>,
    /// Commands that were handed to the driver and not yet answered.
    running: Vec<Running>,
    /// Time since which the peer has been silent: the latest of its login, its last packet, and the
    /// time at which reading resumed.
    silent_since: Instant,
    /// True if the driver reads from the peer whenever the session wants input.
    is_reading: bool,
    message_bucket: Bucket,
    packet_bucket: Bucket,
    /// No packet is read before this time, because the peer or its user exceeded a rate.
    paused_until: Option<Instant>,
    /// True once the engine has ended the session: no packet is handled and no command is started.
    is_ended_by_engine: bool,
}

#[derive(Debug)]
struct Running {
    id: RequestId,
    /// Later commands wait for the end of this one.
    is_barrier: bool,
    /// The command ends the session if it succeeds. Its reply is sent before the session ends.
    ends_session: bool,
    is_logout: bool,
    /// Start of the page that a history request asked for.
    page_from: Option<PageFrom>,
}

/// Work for the driver of a [`Session`].
#[derive(Debug)]
pub enum SessionAction {
    /// Execute the command for [`Session::caller`], then call [`Session::handle_outcome`], also for
    /// requests without an id.
    Run(RequestId, Command),
    /// Send these bytes, which are whole frames.
    Send(Bytes),
    /// Send the frames that were handed out before, then close the connection.
    Close(CloseCode),
}

impl Session {
    pub(super) fn new(config: Arc<SessionConfig>, now: Instant, caller: Caller, output: Output) -> Self {
        Self {
            caller,
            output,
            waiting: VecDeque::new(),
            running: Vec::new(),
            silent_since: now,
            is_reading: true,
            message_bucket: Bucket::default(),
            packet_bucket: Bucket::default(),
            paused_until: None,
            is_ended_by_engine: false,
            config,
        }
    }

    /// Returns the identity that this session acts as.
    #[must_use]
    pub const fn caller(&self) -> Caller {
        self.caller
    }

    /// Handles a packet from the peer.
    pub fn handle_packet(&mut self, now: Now, packet: Bytes) {
        if self.is_ended_by_engine || !self.output.is_open() {
            return;
        }
        self.silent_since = now.instant;
        match server::decode_request(packet, self.config.max_text_bytes) {
            Ok(request) => self.handle_request(now, request.id, request.kind),
            Err(DecodeError::Malformed(_)) => self.output.close(CloseCode::ProtocolError),
            Err(DecodeError::Invalid {
                request_id,
                is_hello,
                failure,
            }) => {
                if self.close_if_id_in_use(request_id) {
                    return;
                }
                self.charge(now.instant, false);
                match is_hello {
                    true => self.output.reject_violation(request_id, SECOND_HELLO),
                    false => self.output.reply(request_id, &Err(failure)),
                }
            }
        }
    }

    fn handle_request(&mut self, now: Now, id: RequestId, request: RequestKind) {
        if self.close_if_id_in_use(id) {
            return;
        }
        let is_send = matches!(&request, RequestKind::Command(Command::Send { .. }));
        self.charge(now.instant, is_send);
        match request {
            RequestKind::Command(command) => self.waiting.push_back((id, command)),
            RequestKind::Ping => self.output.reply(id, &Ok(Answer::Pong(now.time))),
            RequestKind::Hello(_) => self.output.reject_violation(id, SECOND_HELLO),
            RequestKind::Register(_) | RequestKind::Login(_) | RequestKind::Resume(_) | RequestKind::ListNodes => {
                let text = "this connection is already logged in";
                self.output.fail(id, ReplyCode::AlreadyLoggedIn, text);
            }
        }
    }

    /// Closes the connection and returns `true` if a request has the id of one that is not answered
    /// yet.
    fn close_if_id_in_use(&mut self, id: RequestId) -> bool {
        let is_in_use = id.wants_reply() && self.is_in_flight(id);
        if is_in_use {
            self.output
                .reject_violation(id, "the request_id belongs to a request that is not answered yet");
        }
        is_in_use
    }

    /// Counts one packet against the rates, and pauses reading if it exceeds one.
    fn charge(&mut self, now: Instant, is_send: bool) {
        let mut wait = self.packet_bucket.charge_paced(now, &self.config.packet_rate);
        if is_send {
            wait = wait.max(
                self.message_bucket
                    .charge_paced(now, &self.config.message_rate_per_connection),
            );
        }
        self.pause(now, wait);
    }

    /// Stops reading from the peer for at least `wait`, because the peer or its user exceeded a
    /// rate.
    pub fn pause(&mut self, now: Instant, wait: Duration) {
        if !wait.is_zero() {
            self.paused_until = self.paused_until.max(now.checked_add(wait));
        }
    }

    /// Handles the result of a command, and replies to its request. Closes the session after a
    /// successful logout or the error `Fenced`. Does nothing if no such command is running.
    pub fn handle_outcome(&mut self, now: Instant, id: RequestId, result: Result<Outcome, Failure>) {
        let wanted_input = self.wants_input();
        let Some(index) = self.running.iter().position(|running| running.id == id) else {
            return;
        };
        let ended = self.running.swap_remove(index);
        let fenced_with = match &result {
            Err(failure) if failure.code() == Some(ReplyCode::Fenced) => {
                Some(failure.close_code.unwrap_or(CloseCode::Replaced))
            }
            _ => None,
        };
        let is_logged_out = ended.is_logout && result.is_ok();
        let result = result.map(|outcome| Answer::Outcome(self.fit_page(outcome, ended.page_from)));
        self.output.reply(id, &result);
        if is_logged_out {
            self.output.close(CloseCode::LoggedOut);
        } else if let Some(code) = fenced_with.filter(|_| !self.is_ended_by_engine) {
            // If the engine has ended the session, the driver sends the engine's close code
            // instead.
            self.output.close(code);
        }
        if !wanted_input && self.wants_input() {
            self.silent_since = now; // the session read nothing before, so the peer was not silent
        }
    }

    /// Shortens a page of history to [`SessionConfig::max_page_bytes`].
    fn fit_page(&self, mut outcome: Outcome, from: Option<PageFrom>) -> Outcome {
        if let (Outcome::History(page), Some(from)) = (&mut outcome, from) {
            server::fit_page(page, from, self.config.max_page_bytes);
        }
        outcome
    }

    /// Records whether the driver reads from the peer. The driver stops reading while too much
    /// output waits for the peer, or while it closes the connection. In that time, the peer does
    /// not count as silent.
    pub fn set_reading(&mut self, now: Instant, reading: bool) {
        if reading && !self.is_reading {
            self.silent_since = now;
        }
        self.is_reading = reading;
    }

    /// Handles the deadline of [`poll_timeout`](Self::poll_timeout), if it has passed: ends a
    /// pause, or closes a silent session.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_none_or(|deadline| now < deadline) {
            return;
        }
        if self.paused_until.take().is_some() {
            self.silent_since = now;
        } else {
            self.output.close(CloseCode::Timeout);
        }
    }

    /// Closes the session because the driver or the engine requires it, for example after an
    /// oversized frame or a newer login, or at a drain.
    pub fn close(&mut self, code: CloseCode) {
        self.output.close(code);
    }

    /// Records that the engine has ended the session. From now on, no packet is read and no command
    /// is started, including commands that were received before. Running commands are answered
    /// until the driver closes the connection.
    pub fn end_commands(&mut self) {
        self.is_ended_by_engine = true;
        self.waiting.clear();
    }

    /// Tells the peer to reconnect, to any node, no sooner than after `retry_after_ms`.
    pub fn go_away(&mut self, retry_after_ms: u32) {
        self.output.push(&Push::GoAway { retry_after_ms });
    }

    /// Returns the next action, or `None` if the driver should wait.
    pub fn poll_action(&mut self) -> Option<SessionAction> {
        if let Some((id, command)) = self.next_command() {
            return Some(SessionAction::Run(id, command));
        }
        if let Some(frames) = self.output.take_frames() {
            return Some(SessionAction::Send(frames));
        }
        self.output.take_close().map(SessionAction::Close)
    }

    /// Returns the next command that may start now, and records that it is running.
    fn next_command(&mut self) -> Option<(RequestId, Command)> {
        if !self.output.is_open() {
            self.waiting.clear();
            return None;
        }
        if self.running.iter().any(|running| running.is_barrier) {
            return None;
        }
        let (_, next) = self.waiting.front()?;
        let is_logout = matches!(next, Command::Logout);
        if is_logout && !self.running.is_empty() {
            return None;
        }
        let (id, command) = self.waiting.pop_front()?;
        self.running.push(Running {
            id,
            is_barrier: !may_overlap(&command),
            ends_session: is_logout
                || matches!(command, Command::RevokeDevice(device) if Some(device) == self.caller.device()),
            is_logout,
            page_from: match &command {
                Command::ReadHistory { page, .. } => Some(page.from),
                _ => None,
            },
        });
        Some((id, command))
    }

    /// Returns when to call [`handle_timeout`](Self::handle_timeout) next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if !self.output.is_open() {
            None
        } else if self.paused_until.is_some() {
            self.paused_until
        } else if self.wants_input() && self.is_reading {
            self.silent_since.checked_add(self.config.silence_timeout())
        } else {
            None // a peer that is not read cannot be silent
        }
    }

    /// Returns whether the driver may pass the next packet to
    /// [`handle_packet`](Self::handle_packet).
    #[must_use]
    pub fn wants_input(&self) -> bool {
        !self.is_ended_by_engine
            && self.output.has_room()
            && self.paused_until.is_none()
            && self.in_flight() < self.config.max_requests_in_flight
    }

    /// Returns the number of commands that were received and neither answered nor discarded.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.waiting.len().saturating_add(self.running.len())
    }

    /// Returns whether a command with which the peer itself ends the session (a logout, or the
    /// revocation of its own device) is running. The driver then sends the reply to that command
    /// before it acts on the end of the session.
    #[must_use]
    pub fn awaits_last_answer(&self) -> bool {
        self.output.is_open() && self.running.iter().any(|running| running.ends_session)
    }

    /// Returns the maximum size of a packet that the peer may send.
    #[must_use]
    pub fn max_packet_bytes(&self) -> usize {
        self.config.max_packet_bytes
    }

    fn is_in_flight(&self, id: RequestId) -> bool {
        self.running.iter().any(|running| running.id == id) || self.waiting.iter().any(|(waiting, _)| *waiting == id)
    }
}

/// Returns whether later commands may start before `command` ends. All commands that may be sent
/// without a request id are of this kind.
fn may_overlap(command: &Command) -> bool {
    matches!(
        command,
        Command::Send { .. }
            | Command::Acknowledge { .. }
            | Command::MarkRead { .. }
            | Command::Typing { .. }
            | Command::SetPresence(_)
    )
}
