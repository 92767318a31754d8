//! [`Guest`]: state machine of a connection before login.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::output::{Output, SECOND_HELLO};
use super::{Now, Session, SessionConfig};
use crate::codec::{
    Answer, DecodeError, Failure, Hello, LoggedIn, NodeEntry, RequestId, RequestKind, Welcome, server, version,
};
use crate::model::{Caller, CloseCode, Login, Push, Registration, ReplyCode, Resume, StoreEpoch, UserInfo};

/// State machine of a connection before login. The peer sends `Hello`, may register, and logs in,
/// which turns the guest into a [`Session`]; otherwise the connection closes.
#[derive(Debug)]
pub struct Guest {
    config: Arc<SessionConfig>,
    store_epoch: StoreEpoch,
    stage: Stage,
    hello_deadline: Instant,
    login_deadline: Instant,
    /// Time at which the latest request for the driver arrived; the end of the handshake if none
    /// has arrived.
    asked_at: Instant,
    /// Number of packets that the peer may still send before login.
    packets_left: u32,
    output: Output,
    /// Request that the driver has not taken yet.
    pending: Option<GuestAction>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The peer has not sent `Hello`; every other request violates the protocol.
    AwaitingHello,
    /// The peer may register, log in, resume, list nodes and ping.
    Greeted,
    /// The driver is answering a registration, login, resume or node list. Until it has done so, no
    /// packet is read.
    Asking,
}

/// Work for the driver of a [`Guest`]. The driver hands the ticket of a request back with the
/// answer.
#[derive(Debug)]
pub enum GuestAction {
    /// Send these bytes, which are whole frames.
    Send(Bytes),
    /// Look up the nodes of the cluster, then call [`Guest::handle_nodes`].
    ListNodes(NodeListTicket),
    /// Register an account, then call [`Guest::handle_registered`].
    Register(RegistrationTicket, Registration),
    /// Log in, then call [`Guest::admit`] or [`Guest::handle_rejected`].
    Authenticate(LoginTicket, Credentials),
    /// Send the frames that were handed out before, then close the connection.
    Close(CloseCode),
}

/// Credentials with which a guest asks for a session.
#[derive(Debug)]
pub enum Credentials {
    /// A password, or a token that the [authenticator](crate::auth::Authenticator) accepts.
    Login(Login),
    /// The session token of an earlier login.
    Resume(Resume),
}

/// Ticket of a request for the list of nodes, for [`Guest::handle_nodes`].
#[derive(Debug)]
pub struct NodeListTicket(RequestId);

/// Ticket of a registration request, for [`Guest::handle_registered`].
#[derive(Debug)]
pub struct RegistrationTicket(RequestId);

/// Ticket of a login or resume request, for [`Guest::admit`] or [`Guest::handle_rejected`].
#[derive(Debug)]
pub struct LoginTicket(RequestId);

impl Guest {
    /// Creates the state machine of a connection that was accepted at `accepted` and finished its
    /// handshake at `now`. `store_epoch` is the epoch of the server's store.
    #[must_use]
    pub fn new(config: Arc<SessionConfig>, store_epoch: StoreEpoch, accepted: Instant, now: Instant) -> Self {
        let after = |start: Instant, time| start.checked_add(time).unwrap_or(start);
        Self {
            store_epoch,
            stage: Stage::AwaitingHello,
            hello_deadline: after(now, config.first_packet_timeout),
            login_deadline: after(accepted, config.login_timeout),
            asked_at: now,
            packets_left: config.max_packets_before_login,
            output: Output::default(),
            pending: None,
            config,
        }
    }

    /// Handles a packet from the peer.
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
            Err(DecodeError::Invalid {
                request_id,
                is_hello: true,
                ..
            }) if self.stage != Stage::AwaitingHello => self.output.reject_violation(request_id, SECOND_HELLO),
            Err(DecodeError::Invalid {
                request_id, failure, ..
            }) => {
                // Before `Hello`, a rejected request also closes the connection, because the peer
                // may not speak this protocol.
                self.output.reply(request_id, &Err(failure));
                if self.stage == Stage::AwaitingHello {
                    self.output.close(CloseCode::ProtocolError);
                }
            }
        }
    }

    fn handle_request(&mut self, now: Now, id: RequestId, request: RequestKind) {
        match (self.stage, request) {
            (Stage::AwaitingHello, RequestKind::Hello(hello)) => self.greet(now, id, &hello),
            (Stage::AwaitingHello, _) => self.output.reject_violation(id, "the first packet must be hello"),
            (_, RequestKind::Hello(_)) => self.output.reject_violation(id, SECOND_HELLO),
            (Stage::Asking, _) => self
                .output
                .reject_violation(id, "the previous request is not answered yet"),
            (Stage::Greeted, RequestKind::Register(registration)) => {
                self.ask(now, GuestAction::Register(RegistrationTicket(id), registration));
            }
            (Stage::Greeted, RequestKind::Login(login)) => {
                self.ask(
                    now,
                    GuestAction::Authenticate(LoginTicket(id), Credentials::Login(login)),
                );
            }
            (Stage::Greeted, RequestKind::Resume(resume)) => {
                self.ask(
                    now,
                    GuestAction::Authenticate(LoginTicket(id), Credentials::Resume(resume)),
                );
            }
            (Stage::Greeted, RequestKind::ListNodes) => self.ask(now, GuestAction::ListNodes(NodeListTicket(id))),
            (Stage::Greeted, RequestKind::Ping) => self.output.reply(id, &Ok(Answer::Pong(now.time))),
            (Stage::Greeted, RequestKind::Command(_)) => {
                self.output.fail(id, ReplyCode::NotLoggedIn, "log in first");
            }
        }
    }

    /// Answers `Hello`, or closes the connection if client and server have no version in common.
    fn greet(&mut self, now: Now, id: RequestId, hello: &Hello) {
        let Some(version) = version::negotiate(hello.min_version, hello.max_version) else {
            let text = version::mismatch_text(hello.min_version, hello.max_version);
            self.output.fail(id, ReplyCode::UnsupportedVersion, &text);
            return self.output.close(CloseCode::UnsupportedVersion);
        };
        self.stage = Stage::Greeted;
        let config = &self.config;
        let to_u32 = |size: usize| u32::try_from(size).unwrap_or(u32::MAX);
        let welcome = Welcome {
            version,
            server: config.server_name.clone(),
            server_time: now.time,
            max_packet_bytes: to_u32(config.max_packet_bytes),
            max_text_bytes: to_u32(config.max_text_bytes),
            heartbeat_ms: u32::try_from(config.heartbeat_interval.as_millis()).unwrap_or(u32::MAX),
            store_epoch: self.store_epoch,
        };
        self.output.reply(id, &Ok(Answer::Welcome(welcome)));
    }

    /// Passes a request to the driver. Until the driver answers, the peer may send no other
    /// request.
    fn ask(&mut self, now: Now, action: GuestAction) {
        self.stage = Stage::Asking;
        self.asked_at = now.instant;
        self.pending = Some(action);
    }

    /// Handles the answer to [`GuestAction::ListNodes`].
    pub fn handle_nodes(&mut self, now: Instant, ticket: NodeListTicket, nodes: Vec<NodeEntry>) {
        self.answered(now, ticket.0, &Ok(Answer::Nodes(nodes)));
    }

    /// Handles the answer to [`GuestAction::Register`].
    pub fn handle_registered(&mut self, now: Instant, ticket: RegistrationTicket, result: Result<UserInfo, Failure>) {
        self.answered(now, ticket.0, &result.map(Answer::Registered));
    }

    /// Answers [`GuestAction::Authenticate`] with an error. The peer may try again.
    pub fn handle_rejected(&mut self, now: Instant, ticket: LoginTicket, failure: Failure) {
        self.answered(now, ticket.0, &Err(failure));
    }

    /// Replies to a request that the driver has answered, and lets the peer send the next one.
    fn answered(&mut self, now: Instant, id: RequestId, result: &Result<Answer, Failure>) {
        self.output.reply(id, result);
        self.stage = Stage::Greeted;
        // The peer was waiting for the server, so this time does not count against its deadline.
        let took = now.saturating_duration_since(self.asked_at);
        self.login_deadline = self.login_deadline.checked_add(took).unwrap_or(self.login_deadline);
    }

    /// Answers [`GuestAction::Authenticate`] with success: the guest becomes a session, whose first
    /// action sends the reply.
    #[must_use]
    pub fn admit(self, now: Now, ticket: LoginTicket, caller: Caller, logged_in: LoggedIn) -> Session {
        let mut output = self.output;
        output.reply(ticket.0, &Ok(Answer::LoggedIn(Box::new(logged_in))));
        Session::new(self.config, now.instant, caller, output)
    }

    /// Closes the connection if the deadline of [`poll_timeout`](Self::poll_timeout) has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_some_and(|deadline| now >= deadline) {
            self.output.close(CloseCode::Timeout);
        }
    }

    /// Closes the connection because the driver requires it, for example after an oversized frame
    /// or at a drain.
    pub fn close(&mut self, code: CloseCode) {
        self.output.close(code);
    }

    /// Tells the peer to reconnect, to any node, no sooner than after `retry_after_ms`.
    pub fn go_away(&mut self, retry_after_ms: u32) {
        self.output.push(&Push::GoAway { retry_after_ms });
    }

    /// Returns the next action, or `None` if the driver should wait.
    pub fn poll_action(&mut self) -> Option<GuestAction> {
        if let Some(frames) = self.output.take_frames() {
            return Some(GuestAction::Send(frames));
        }
        if let Some(code) = self.output.take_close() {
            self.pending = None;
            return Some(GuestAction::Close(code));
        }
        self.pending.take()
    }

    /// Returns when to call [`handle_timeout`](Self::handle_timeout) next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.stage {
            _ if !self.output.is_open() => None,
            Stage::AwaitingHello => Some(self.hello_deadline.min(self.login_deadline)),
            Stage::Greeted => Some(self.login_deadline),
            Stage::Asking => None, // the peer waits for the server, so it cannot be late
        }
    }

    /// Returns whether the driver may pass the next packet to
    /// [`handle_packet`](Self::handle_packet).
    #[must_use]
    pub fn wants_input(&self) -> bool {
        self.output.has_room() && self.stage != Stage::Asking
    }

    /// Returns the maximum size of a packet that the peer may send now.
    #[must_use]
    #[expect(clippy::misnamed_getters, reason = "guests have a separate limit")]
    pub fn max_packet_bytes(&self) -> usize {
        self.config.max_guest_packet_bytes
    }
}
