//! [`Session`]: a connection after login.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::output::Output;
use super::rate::Bucket;
use super::{Now, SessionConfig};
use crate::codec::{Answer, DecodeError, Failure, RequestId, RequestKind, server};
use crate::model::{Caller, CloseCode, Command, Outcome, PageFrom, Push, ReplyCode};

/// A connection after login: it asks for commands and gets one reply for each.
///
/// Commands are handed out in the order they came. Appends, acknowledgements and signs of life may overlap with whatever
/// follows; any other command is finished before a later one starts, and a logout waits for everything before it.
///
/// A peer that is faster than its rates is read more slowly. Nothing is refused for that: a refused draft, sent again, would
/// come after drafts that were sent after it.
#[derive(Debug)]
pub struct Session {
    config: Arc<SessionConfig>,
    caller: Caller,
    output: Output,
    /// Came, not handed out.
    waiting: VecDeque<(RequestId, Command)>,
    /// Handed out, not answered.
    running: Vec<Running>,
    heard: Instant,
    /// The driver reads from the peer, as far as the session wants it to.
    reading: bool,
    sends: Bucket,
    packets: Bucket,
    /// It was faster than its rates: nothing is read before.
    paused_until: Option<Instant>,
}

#[derive(Debug)]
struct Running {
    id: RequestId,
    /// Later commands wait for it.
    barrier: bool,
    /// It ends the session, and its answer comes before that.
    last: bool,
    logout: bool,
    /// Of a page: where it begins.
    page: Option<PageFrom>,
}

/// What the driver has to do for a session.
#[derive(Debug)]
pub enum Action {
    /// Execute it for [`Session::caller`]; then [`Session::handle_outcome`], also for requests without an id.
    Run(RequestId, Command),
    /// Send these whole frames.
    Send(Bytes),
    /// Send what is to be sent, then close.
    Close(CloseCode),
}

impl Session {
    pub(super) fn new(config: Arc<SessionConfig>, now: Instant, caller: Caller, output: Output) -> Self {
        Self {
            caller,
            output,
            waiting: VecDeque::new(),
            running: Vec::new(),
            heard: now,
            reading: true,
            sends: Bucket::new(config.sends),
            packets: Bucket::new(config.packets),
            paused_until: None,
            config,
        }
    }

    /// Whom it speaks for.
    #[must_use]
    pub const fn caller(&self) -> Caller {
        self.caller
    }

    /// A packet came.
    pub fn handle_packet(&mut self, now: Now, packet: Bytes) {
        if !self.output.is_open() {
            return;
        }
        self.heard = now.instant;
        match server::decode_request(packet, self.config.max_text_bytes) {
            Ok(request) => self.handle_request(now, request.id, request.kind),
            Err(DecodeError::Malformed(_)) => self.output.close(CloseCode::ProtocolError),
            Err(DecodeError::Refused { request_id, failure }) => {
                self.charge(now.instant, false);
                self.output.reply(request_id, &Err(failure));
            }
        }
    }

    fn handle_request(&mut self, now: Now, id: RequestId, request: RequestKind) {
        if id.wants_reply() && self.is_under_way(id) {
            return self.output.violation(id, "the request_id is in use");
        }
        let is_send = matches!(&request, RequestKind::Command(command) if is_append(command));
        self.charge(now.instant, is_send);
        match request {
            RequestKind::Command(command) => self.waiting.push_back((id, command)),
            RequestKind::Ping => self.output.reply(id, &Ok(Answer::Pong(now.time))),
            RequestKind::Hello(_) => self.output.violation(id, "hello was said already"),
            RequestKind::Register(_) | RequestKind::Login(_) | RequestKind::Resume(_) | RequestKind::ListNodes => {
                let text = "this connection is logged in already";
                self.output.fail(id, ReplyCode::AlreadyLoggedIn, text);
            }
        }
    }

    /// Holds the peer to its rates.
    fn charge(&mut self, now: Instant, is_send: bool) {
        let mut wait = self.packets.take(now);
        if is_send {
            wait = wait.max(self.sends.take(now));
        }
        self.pause(now, wait);
    }

    /// Reads nothing for so long: the peer, or its user, was faster than its rates.
    pub fn pause(&mut self, now: Instant, wait: Duration) {
        if !wait.is_zero() {
            self.paused_until = self.paused_until.max(now.checked_add(wait));
        }
    }

    /// A command ended.
    pub fn handle_outcome(&mut self, now: Instant, id: RequestId, result: Result<Outcome, Failure>) {
        let wanted_input = self.wants_input();
        let Some(place) = self.running.iter().position(|running| running.id == id) else {
            return; // the session had ended
        };
        let ended = self.running.swap_remove(place);
        let is_fenced = matches!(&result, Err(failure) if failure.code() == Some(ReplyCode::Fenced));
        let is_logged_out = ended.logout && result.is_ok();
        let result = result.map(|outcome| Answer::Outcome(self.fit(outcome, ended.page)));
        self.output.reply(id, &result);
        if is_logged_out {
            self.output.close(CloseCode::LoggedOut);
        } else if is_fenced {
            self.output.close(CloseCode::Replaced);
        }
        if !wanted_input && self.wants_input() {
            self.heard = now; // nothing was read meanwhile: that was no silence of the peer's
        }
    }

    fn fit(&self, mut outcome: Outcome, from: Option<PageFrom>) -> Outcome {
        if let (Outcome::History(page), Some(from)) = (&mut outcome, from) {
            server::fit_page(page, from, self.config.max_page_bytes);
        }
        outcome
    }

    /// Whether the driver reads from the peer at all. It does not while what the peer was told waits unread, or on the way out; that is then no
    /// silence of the peer's.
    pub fn set_reading(&mut self, now: Instant, reading: bool) {
        if reading && !self.reading {
            self.heard = now;
        }
        self.reading = reading;
    }

    /// Time passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_none_or(|deadline| now < deadline) {
            return;
        }
        if self.paused_until.take().is_some() {
            self.heard = now;
        } else {
            self.output.close(CloseCode::Timeout);
        }
    }

    /// Ends it, for a reason of the driver's or the engine's (a frame too large, a newer login, a drain).
    pub fn close(&mut self, code: CloseCode) {
        self.output.close(code);
    }

    /// Tells the peer that the node drains.
    pub fn go_away(&mut self, retry_after_ms: u32) {
        self.output.push(&Push::GoAway { retry_after_ms });
    }

    /// What to do next; `None`: wait.
    pub fn poll_action(&mut self) -> Option<Action> {
        if let Some((id, command)) = self.next_command() {
            return Some(Action::Run(id, command));
        }
        if let Some(frames) = self.output.take_frames() {
            return Some(Action::Send(frames));
        }
        self.output.take_close().map(Action::Close)
    }

    fn next_command(&mut self) -> Option<(RequestId, Command)> {
        if !self.output.is_open() {
            self.waiting.clear();
            return None;
        }
        if self.running.iter().any(|running| running.barrier) {
            return None;
        }
        let (_, next) = self.waiting.front()?;
        let logout = matches!(next, Command::Logout);
        if logout && !self.running.is_empty() {
            return None;
        }
        let (id, command) = self.waiting.pop_front()?;
        self.running.push(Running {
            id,
            barrier: !may_overlap(&command),
            last: logout || matches!(command, Command::RevokeDevice(device) if device == self.caller.device),
            logout,
            page: match &command {
                Command::ReadHistory { page, .. } => Some(page.from),
                _ => None,
            },
        });
        Some((id, command))
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if !self.output.is_open() {
            None
        } else if self.paused_until.is_some() {
            self.paused_until
        } else if self.wants_input() && self.reading {
            self.heard.checked_add(self.config.silence())
        } else {
            None // whom we do not listen to is not silent
        }
    }

    /// Whether the next packet may be handed over.
    #[must_use]
    pub fn wants_input(&self) -> bool {
        self.output.has_room() && self.paused_until.is_none() && self.in_flight() < self.config.max_in_flight
    }

    /// Requests that came and were not answered.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.waiting.len().saturating_add(self.running.len())
    }

    /// Whether what ends the session was asked for by the peer itself, and is not answered yet: whoever learns meanwhile that the
    /// session is over lets the answer come first.
    #[must_use]
    pub fn awaits_last_answer(&self) -> bool {
        self.output.is_open() && self.running.iter().any(|running| running.last)
    }

    /// Largest packet to take.
    #[must_use]
    pub fn frame_limit(&self) -> usize {
        self.config.max_packet_bytes
    }

    fn is_under_way(&self, id: RequestId) -> bool {
        self.running.iter().any(|running| running.id == id) || self.waiting.iter().any(|(waiting, _)| *waiting == id)
    }
}

fn is_append(command: &Command) -> bool {
    matches!(command, Command::Send { .. })
}

/// Whether later commands may start before it has ended. Requests without an id are all of this kind.
fn may_overlap(command: &Command) -> bool {
    matches!(
        command,
        Command::Send { .. }
            | Command::Acknowledge { .. }
            | Command::MarkRead { .. }
            | Command::Typing { .. }
            | Command::SetStatus(_)
    )
}
