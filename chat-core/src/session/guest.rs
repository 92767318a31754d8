//! [`Guest`]: a connection before login.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::output::Output;
use super::{Now, Session, SessionConfig};
use crate::codec::{
    Answer, DecodeError, Failure, Hello, LoggedIn, NodeEntry, RequestId, RequestKind, Welcome, server, version,
};
use crate::model::{Caller, CloseCode, Login, Push, Registration, ReplyCode, Resume, UserInfo};

/// A connection before login: it says hello, may register, and becomes a [`Session`] or ends.
#[derive(Debug)]
pub struct Guest {
    config: Arc<SessionConfig>,
    stage: Stage,
    hello_by: Instant,
    login_by: Instant,
    /// When what is under way was asked for.
    asked_at: Instant,
    packets_left: u32,
    output: Output,
    question: Option<GuestAction>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing but Hello.
    Silent,
    /// May register, log in, resume.
    Greeted,
    /// One of these is under way; nothing is read meanwhile.
    Asking,
}

/// What the driver has to do for a guest.
#[derive(Debug)]
pub enum GuestAction {
    /// Send these whole frames.
    Send(Bytes),
    /// Look which nodes there are; then [`Guest::handle_nodes`].
    ListNodes(Listing),
    /// Register; then [`Guest::handle_registered`].
    Register(Registering, Registration),
    /// Log in; then [`Guest::admit`] or [`Guest::handle_refused`].
    Authenticate(Authenticating, Credentials),
    /// Send what is to be sent, then close.
    Close(CloseCode),
}

/// What a guest shows to become a session.
#[derive(Debug)]
pub enum Credentials {
    /// A password.
    Login(Login),
    /// A token.
    Resume(Resume),
}

/// A question for the nodes under way.
#[derive(Debug)]
pub struct Listing(RequestId);

/// A registration under way.
#[derive(Debug)]
pub struct Registering(RequestId);

/// A login or resume under way.
#[derive(Debug)]
pub struct Authenticating(RequestId);

impl Guest {
    /// A guest that was `accepted` then and whose channel stands since `now`.
    #[must_use]
    pub fn new(config: Arc<SessionConfig>, accepted: Instant, now: Instant) -> Self {
        let after = |start: Instant, time| start.checked_add(time).unwrap_or(start);
        Self {
            stage: Stage::Silent,
            hello_by: after(now, config.first_packet),
            login_by: after(accepted, config.login),
            asked_at: now,
            packets_left: config.guest_packets,
            output: Output::default(),
            question: None,
            config,
        }
    }

    /// A packet came.
    pub fn handle_packet(&mut self, now: Now, packet: Bytes) {
        if !self.output.is_open() {
            return;
        }
        let Some(left) = self.packets_left.checked_sub(1) else {
            return self.output.close(CloseCode::Overloaded);
        };
        self.packets_left = left;
        match server::decode_request(packet, self.config.max_text_bytes) {
            Ok(request) => self.handle_request(now, request.id, request.kind),
            Err(DecodeError::Malformed(_)) => self.output.close(CloseCode::ProtocolError),
            Err(DecodeError::Refused { request_id, failure }) => {
                // Before Hello nothing is refused kindly: it may be no client of ours at all.
                self.output.reply(request_id, &Err(failure));
                if self.stage == Stage::Silent {
                    self.output.close(CloseCode::ProtocolError);
                }
            }
        }
    }

    fn handle_request(&mut self, now: Now, id: RequestId, request: RequestKind) {
        match (self.stage, request) {
            (Stage::Silent, RequestKind::Hello(hello)) => self.greet(now, id, &hello),
            (Stage::Silent, _) => self.output.violation(id, "the first packet has to be hello"),
            (_, RequestKind::Hello(_)) => self.output.violation(id, "hello was said already"),
            (Stage::Asking, _) => self.output.violation(id, "a login is under way"),
            (Stage::Greeted, RequestKind::Register(registration)) => {
                self.ask(now, GuestAction::Register(Registering(id), registration));
            }
            (Stage::Greeted, RequestKind::Login(login)) => {
                self.ask(
                    now,
                    GuestAction::Authenticate(Authenticating(id), Credentials::Login(login)),
                );
            }
            (Stage::Greeted, RequestKind::Resume(resume)) => {
                self.ask(
                    now,
                    GuestAction::Authenticate(Authenticating(id), Credentials::Resume(resume)),
                );
            }
            (Stage::Greeted, RequestKind::ListNodes) => self.ask(now, GuestAction::ListNodes(Listing(id))),
            (Stage::Greeted, RequestKind::Ping) => self.output.reply(id, &Ok(Answer::Pong(now.time))),
            (Stage::Greeted, RequestKind::Command(_)) => {
                self.output.fail(id, ReplyCode::NotLoggedIn, "log in first");
            }
        }
    }

    fn greet(&mut self, now: Now, id: RequestId, hello: &Hello) {
        let Some(version) = version::negotiate(hello.min_version, hello.max_version) else {
            let text = version::mismatch(hello.min_version, hello.max_version);
            self.output.fail(id, ReplyCode::UnsupportedVersion, &text);
            return self.output.close(CloseCode::UnsupportedVersion);
        };
        self.stage = Stage::Greeted;
        let config = &self.config;
        let small = |size: usize| u32::try_from(size).unwrap_or(u32::MAX);
        let welcome = Welcome {
            version,
            server: config.server.clone(),
            server_time: now.time,
            max_packet_bytes: small(config.max_packet_bytes),
            max_text_bytes: small(config.max_text_bytes),
            heartbeat_ms: u32::try_from(config.heartbeat.as_millis()).unwrap_or(u32::MAX),
            store_epoch: config.store_epoch,
        };
        self.output.reply(id, &Ok(Answer::Welcome(welcome)));
    }

    fn ask(&mut self, now: Now, question: GuestAction) {
        self.stage = Stage::Asking;
        self.asked_at = now.instant;
        self.question = Some(question);
    }

    /// These are the nodes there are.
    pub fn handle_nodes(&mut self, now: Instant, listing: Listing, nodes: Vec<NodeEntry>) {
        self.answered(now, listing.0, &Ok(Answer::Nodes(nodes)));
    }

    /// The registration ended.
    pub fn handle_registered(&mut self, now: Instant, registering: Registering, result: Result<UserInfo, Failure>) {
        self.answered(now, registering.0, &result.map(Answer::Registered));
    }

    /// The login or resume was refused.
    pub fn handle_refused(&mut self, now: Instant, authenticating: Authenticating, failure: Failure) {
        self.answered(now, authenticating.0, &Err(failure));
    }

    fn answered(&mut self, now: Instant, id: RequestId, result: &Result<Answer, Failure>) {
        self.output.reply(id, result);
        self.stage = Stage::Greeted;
        // That was our own time, not the guest's.
        let took = now.saturating_duration_since(self.asked_at);
        self.login_by = self.login_by.checked_add(took).unwrap_or(self.login_by);
    }

    /// The login or resume succeeded: the guest is a session now, which has the reply to send first.
    #[must_use]
    pub fn admit(self, now: Now, authenticating: Authenticating, caller: Caller, logged_in: LoggedIn) -> Session {
        let mut output = self.output;
        output.reply(authenticating.0, &Ok(Answer::LoggedIn(Box::new(logged_in))));
        Session::new(self.config, now.instant, caller, output)
    }

    /// Time passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_some_and(|deadline| now >= deadline) {
            self.output.close(CloseCode::Timeout);
        }
    }

    /// Ends it, for a reason of the driver's (a frame too large, a drain).
    pub fn close(&mut self, code: CloseCode) {
        self.output.close(code);
    }

    /// Tells the peer that the node drains.
    pub fn go_away(&mut self, retry_after_ms: u32) {
        self.output.push(&Push::GoAway { retry_after_ms });
    }

    /// What to do next; `None`: wait.
    pub fn poll_action(&mut self) -> Option<GuestAction> {
        if let Some(frames) = self.output.take_frames() {
            return Some(GuestAction::Send(frames));
        }
        if let Some(code) = self.output.take_close() {
            self.question = None;
            return Some(GuestAction::Close(code));
        }
        self.question.take()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.stage {
            _ if !self.output.is_open() => None,
            Stage::Silent => Some(self.hello_by.min(self.login_by)),
            Stage::Greeted => Some(self.login_by),
            Stage::Asking => None, // whom we let wait is not late
        }
    }

    /// Whether the next packet may be handed over.
    #[must_use]
    pub fn wants_input(&self) -> bool {
        self.output.has_room() && self.stage != Stage::Asking
    }

    /// Largest packet to take.
    #[must_use]
    pub fn frame_limit(&self) -> usize {
        self.config.guest_packet_bytes
    }
}
