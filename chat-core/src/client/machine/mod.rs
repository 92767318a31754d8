//! Client side of the protocol as a state machine without I/O. It decides what to send, how to
//! handle replies, and what to deliver to the application.
//!
//! ```text
//!            connected                 logged in
//!  Offline ─────────────► Opening ─────────────────► Online
//!     ▲                      │                         │
//!     └──── disconnected ────┴─────────────────────────┘
//! ```
//! Every phase can change to `Ended`, which is final.
//!
//! The machine outlives connections: requests that are safe to repeat, messages in the outbox and
//! the position in each conversation continue with the next connection. Feed it
//! ([`connected`](Machine::connected), [`incoming`](Machine::incoming), …,
//! [`tick`](Machine::tick)), then drain it ([`next_action`](Machine::next_action),
//! [`next_event`](Machine::next_event)).

mod actions;
mod conversations;
mod epoch;
mod listing;
mod marks;
mod opening;
mod outbox;
mod queues;
mod renamed_users;
mod requests;
mod resync;
mod syncing;
#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::codec::{Failure, Incoming, RequestKind};
use crate::model::{ClientMessageId, CloseCode, Command, ConversationId, ConversationRef, Push, StoreEpoch, UserId};

use super::{ClientError, ClientEvent, Cursor, SendOutcome};
use conversations::Conversations;
use listing::Listing;
use opening::Opening;
use outbox::Outbox;
use queues::{Acks, EventQueue};
use requests::Requests;

pub use actions::{Action, Credentials, MachineConfig, Receive};
pub use outbox::Outgoing;

/// Maximum delay of acknowledgements, so that those of one conversation share a request.
const ACK_DELAY: Duration = Duration::from_millis(100);
/// Number of acknowledgements at which they are flushed without further delay.
const MAX_UNFLUSHED_ACKS: u32 = 64;
/// Maximum time for running requests after the server has asked clients to leave.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(2);

/// State of a session.
#[derive(Debug)]
struct Session {
    user: UserId,
    /// Time without a request after which the client sends a ping.
    heartbeat_interval: Duration,
    /// Time of the last request.
    last_sent: Instant,
    /// True once [`ClientEvent::CaughtUp`] is reported. Always true if the client receives no
    /// events.
    caught_up: bool,
    /// Progress of reading the list of conversations, of which the reply to the login may contain
    /// only some.
    listing: Listing,
    /// Time at which the client reports that it is online, even if it does not know all
    /// conversations by then; `None` once it has reported that.
    online_at: Option<Instant>,
    /// `None` until the server asks clients to leave.
    leaving: Option<Leaving>,
}

/// State after the server has asked clients to leave: no command, message, ping, page or look-up
/// starts; acknowledgements are still sent, and running requests may finish until the deadline.
#[derive(Clone, Copy, Debug)]
struct Leaving {
    deadline: Instant,
    /// Delay, given by the server, before the client connects again.
    come_back_after: Duration,
}

/// Phase of the client; see the [module](self).
#[derive(Debug)]
enum Phase {
    Offline,
    Opening(Opening),
    Online(Session),
    Ended,
}

/// The protocol state of a client. See the [module](self).
#[derive(Debug)]
pub struct Machine {
    config: MachineConfig,
    phase: Phase,
    /// True if the account of [`Credentials::Register`] is not registered again: the server has
    /// registered it, or has refused to repeat a registration that may have succeeded.
    has_ended_registration: bool,
    /// True once the server has registered the account.
    is_registration_confirmed: bool,
    /// Refusal of a repeated registration, until a login succeeds. The first attempt, whose reply
    /// was lost, may have succeeded, so the client tries to log in before it reports this refusal.
    registration_refusal: Option<Failure>,
    /// True once a login has succeeded.
    has_logged_in: bool,
    /// True once a registration was sent and its reply did not show the outcome, because the
    /// connection broke or the server said so. Stays true when the outcome becomes known.
    register_interrupted: bool,
    requests: Requests,
    /// Commands that wait for a session, with their ids.
    waiting: VecDeque<(u64, Command)>,
    outbox: Outbox,
    conversations: Conversations,
    acks: Acks,
    events: EventQueue,
    actions: VecDeque<Action>,
}

impl Machine {
    /// Returns a machine that is not connected yet.
    #[must_use]
    pub fn new(config: MachineConfig) -> Self {
        Self {
            outbox: Outbox::new(config.max_in_flight),
            acks: Acks::restored(&config.cursors),
            config,
            phase: Phase::Offline,
            has_ended_registration: false,
            is_registration_confirmed: false,
            registration_refusal: None,
            has_logged_in: false,
            register_interrupted: false,
            requests: Requests::default(),
            waiting: VecDeque::new(),
            conversations: Conversations::default(),
            events: EventQueue::default(),
            actions: VecDeque::new(),
        }
    }

    /// Reports a new connection. The machine says hello and logs in.
    pub fn connected(&mut self, now: Instant) {
        if !matches!(self.phase, Phase::Ended) {
            self.open(now);
            self.advance(now);
        }
    }

    /// Reports that the connection is lost. Messages wait for the next connection, and so do
    /// commands that were not sent or are safe to repeat; other commands end as interrupted.
    pub fn disconnected(&mut self, now: Instant) {
        if !matches!(self.phase, Phase::Ended) {
            self.phase = Phase::Offline;
        }
        // Requests that were not written yet belong to the lost connection.
        self.actions.retain(|action| !matches!(action, Action::Send(_)));
        self.requests_lost();
        self.outbox.disconnected();
        for (_, known) in self.conversations.iter_mut() {
            known.connection_lost(now);
        }
    }

    /// Processes a packet from the server. Ignores packets of a connection that the client has
    /// left.
    pub fn incoming(&mut self, now: Instant, incoming: Incoming) {
        if !self.is_connected() {
            return;
        }
        match incoming {
            Incoming::Reply { request_id, result } => self.reply(now, request_id, result),
            Incoming::Push(push) => self.pushed(now, push),
            Incoming::Unknown => {}
        }
        self.advance(now);
    }

    /// Runs a command for the application, once there is a session. Its result comes with
    /// `command_id` in [`Action::Finish`].
    pub fn execute(&mut self, now: Instant, command_id: u64, command: Command) {
        self.waiting.push_back((command_id, command));
        self.advance(now);
    }

    /// Removes a command that waits for a session, because its caller has gone. A command that was
    /// sent is not affected; if it waits again after the connection was lost, it can be cancelled.
    pub fn cancel(&mut self, command_id: u64) {
        self.waiting.retain(|(id, _)| *id != command_id);
    }

    /// Sends a message that is durable in the outbox. A second message with the idempotency key of
    /// one that has no outcome yet is ignored.
    pub fn send(&mut self, now: Instant, message: Outgoing) {
        self.enqueue(message);
        self.advance(now);
    }

    /// Acknowledges every event up to `cursor`. `resets` is the number of resets
    /// ([`ClientEvent::StoreReplaced`], [`ClientEvent::Rewound`]) that the application had received
    /// when it acknowledged, or, for a delivered event, when it received that event. The
    /// acknowledgement is ignored if the conversation was reset since, or if this or a later
    /// position was acknowledged before.
    pub fn acknowledge(&mut self, now: Instant, conversation: ConversationId, cursor: Cursor, resets: u64) {
        if !self.acks.acknowledge(conversation, cursor, resets) {
            return;
        }
        self.acks.flush_at.get_or_insert(now + ACK_DELAY);
        if self.acks.unflushed >= MAX_UNFLUSHED_ACKS {
            self.flush_acknowledgements(now);
        }
    }

    /// Saves all acknowledgements without further delay. If there is a session, reports them to the
    /// server, except those of conversations whose log is to be verified first.
    pub fn flush_acknowledgements(&mut self, now: Instant) {
        self.acks.flush_at = None;
        self.acks.unflushed = 0;
        let unreported = std::mem::take(&mut self.acks.unreported);
        if unreported.is_empty() {
            return;
        }
        for (conversation, cursor) in &unreported {
            // While the log is unverified, the cursor may belong to another log. It is reported
            // after verification.
            let known = self.conversations.get_mut(*conversation);
            if !known.is_some_and(|known| known.is_unverified()) {
                self.report_acknowledged(now, *conversation, cursor.seq);
            }
        }
        self.actions.push_back(Action::SaveCursors(unreported));
    }

    /// Runs timers that are due.
    pub fn tick(&mut self, now: Instant) {
        if self.acks.flush_at.is_some_and(|at| at <= now) {
            self.flush_acknowledgements(now);
        }
        if self.requests.has_overdue(now) {
            self.reconnect(ClientError::Timeout, None);
        }
        self.advance(now);
    }

    /// Returns the time at which [`tick`](Self::tick) must be called, or `None` if no timer runs.
    #[must_use]
    pub fn next_tick(&self, now: Instant) -> Option<Instant> {
        let mut times = vec![
            self.acks.flush_at,
            self.outbox.next_deadline(),
            self.requests.deadline(),
        ];
        if let Phase::Online(session) = &self.phase {
            if let Some(leaving) = session.leaving {
                // No other timer matters, because everything else waits for the next connection.
                times.push(Some(leaving.deadline));
                return times.into_iter().flatten().min();
            }
            times.push(Some(session.last_sent + session.heartbeat_interval));
            times.push(session.listing.due());
            times.push(session.online_at);
            times.push(self.outbox.next_start(now));
            if self.may_request_read() {
                times.push(
                    self.conversations
                        .values()
                        .filter_map(conversations::ConversationState::due)
                        .min(),
                );
            }
        }
        times.into_iter().flatten().min()
    }

    /// Removes and returns the next action for the driver.
    pub fn next_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Returns whether an event waits for the application.
    #[must_use]
    pub fn has_event(&self) -> bool {
        !self.events.is_empty()
    }

    /// Removes and returns the next event for the application. This makes room, so that more of the
    /// logs may be requested.
    pub fn next_event(&mut self, now: Instant) -> Option<ClientEvent> {
        let event = self.events.take()?;
        self.advance(now);
        Some(event)
    }

    /// Adds an event of the driver, unless too many events already wait for the application.
    pub fn add_event(&mut self, event: ClientEvent) {
        self.events.offer(event);
    }

    /// Ends the client because the driver cannot continue.
    pub fn give_up(&mut self, reason: ClientError) {
        self.end(reason);
    }

    /// Returns the message with this idempotency key, if it has no outcome yet.
    #[must_use]
    pub fn message(&self, id: &ClientMessageId) -> Option<&Outgoing> {
        self.outbox.get(id)
    }

    /// Returns whether both references are known to denote the same conversation.
    #[must_use]
    pub fn is_same_conversation(&self, one: &ConversationRef, other: &ConversationRef) -> bool {
        self.outbox.resolve(one) == self.outbox.resolve(other)
    }

    /// Returns a reference by name of which the server has shown that it denotes this conversation:
    /// by storing a message, or by its information about the conversation.
    #[must_use]
    pub fn learned_name(&self, id: ConversationId) -> Option<ConversationRef> {
        self.outbox.learned_name(id)
    }

    /// Returns the store epoch of the last login; `None` before the first login. Ids of users and
    /// conversations, and message numbers, are valid only in it.
    #[must_use]
    pub fn store_epoch(&self) -> Option<StoreEpoch> {
        self.config.store_epoch
    }

    /// Returns the number of messages that have no outcome yet.
    #[must_use]
    pub fn unsettled(&self) -> usize {
        self.outbox.len()
    }

    /// Returns the number of commands that have no result yet.
    #[must_use]
    pub fn unfinished(&self) -> usize {
        self.waiting.len() + self.requests.command_count()
    }

    /// Returns whether packets from the server are processed: from [`connected`](Self::connected)
    /// until the client leaves the connection.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        matches!(self.phase, Phase::Opening(_) | Phase::Online(_))
    }

    /// Returns whether the client has sent a registration whose outcome is unknown, because the
    /// connection broke or the server said so.
    #[must_use]
    pub const fn is_registration_outcome_unknown(&self) -> bool {
        self.register_interrupted && !self.is_registration_confirmed && !self.has_logged_in
    }

    /// Returns whether the client may have created an account without the application knowing it:
    /// from a registration that succeeded, or whose outcome is unknown, until the first login.
    #[must_use]
    pub fn may_have_registered(&self) -> bool {
        (self.register_interrupted || self.is_registration_confirmed) && !self.has_logged_in
    }

    /// Returns whether the client has a session. It reports that it is [online](Action::Online)
    /// later, once it also knows the conversations.
    #[must_use]
    pub fn has_session(&self) -> bool {
        matches!(self.phase, Phase::Online(_))
    }

    /// Settles messages whose deadline has passed, and starts everything that can be started now.
    fn advance(&mut self, now: Instant) {
        while let Some(id) = self.outbox.expired(now) {
            self.settle(&id, SendOutcome::Unknown);
        }
        let Phase::Online(session) = &self.phase else { return };
        if let Some(leaving) = session.leaving {
            return self.leave(now, leaving);
        }
        while let Some((command_id, command)) = self.waiting.pop_front() {
            self.command(now, command_id, command);
        }
        self.start_sends(now);
        self.sync(now);
        self.ping_if_idle(now);
    }

    /// Leaves the connection once no request is running, or the deadline has passed.
    fn leave(&mut self, now: Instant, leaving: Leaving) {
        if self.requests.is_empty() || leaving.deadline <= now {
            let reason = ClientError::Ended(CloseCode::GoingAway);
            self.reconnect(reason, Some(leaving.come_back_after));
        }
    }

    fn pushed(&mut self, now: Instant, push: Push) {
        match push {
            Push::GoAway { retry_after_ms } => self.asked_to_leave(now, Duration::from_millis(retry_after_ms.into())),
            Push::Closed(code) => self.closed(code),
            // Pushes before the session are ignored. After the login, the server reports the ends
            // of the logs, which contain the pushed events.
            push if self.has_session() && self.config.receive != Receive::Nothing => self.sync_push(now, push),
            _ => {}
        }
    }

    /// Handles the request of a server to leave, for example because it shuts down: leaves once
    /// running requests have finished or the deadline has passed, or at once if there is no
    /// session.
    fn asked_to_leave(&mut self, now: Instant, come_back_after: Duration) {
        match &mut self.phase {
            Phase::Online(session) => {
                session.leaving.get_or_insert(Leaving {
                    deadline: now + LEAVE_TIMEOUT,
                    come_back_after,
                });
            }
            _ => self.reconnect(ClientError::Ended(CloseCode::GoingAway), Some(come_back_after)),
        }
    }

    /// Handles the end of the session by the server: ends the client, or connects again.
    fn closed(&mut self, code: CloseCode) {
        match code {
            CloseCode::Replaced | CloseCode::AccountDisabled | CloseCode::UnsupportedVersion => {
                self.end(ClientError::Ended(code));
            }
            CloseCode::LoggedOut => {
                let logouts = self.take_logouts();
                self.logged_out(logouts);
            }
            CloseCode::Revoked => {
                self.forget_session();
                self.end(ClientError::Ended(code));
            }
            _ => self.reconnect(ClientError::Ended(code), None),
        }
    }

    /// Leaves the connection and asks the driver for another one, after `after` at the earliest.
    fn reconnect(&mut self, reason: ClientError, after: Option<Duration>) {
        if !matches!(self.phase, Phase::Offline | Phase::Ended) {
            self.phase = Phase::Offline;
            self.actions.push_back(Action::Reconnect { reason, after });
        }
    }

    /// Ends the client. Messages without an outcome stay in the outbox for the next run.
    fn end(&mut self, reason: ClientError) {
        if matches!(self.phase, Phase::Ended) {
            return;
        }
        self.phase = Phase::Ended;
        for (command_id, _) in std::mem::take(&mut self.waiting) {
            let result = Err(reason.clone());
            self.actions.push_back(Action::Finish { command_id, result });
        }
        self.requests_lost();
        self.events.end(ClientEvent::Ended(reason.clone()));
        self.actions.push_back(Action::End(reason));
    }

    /// Deletes the session token, here and in the store.
    fn forget_session(&mut self) {
        if self.config.session.take().is_some() {
            self.actions.push_back(Action::ForgetSession);
        }
    }

    /// Pings the server on an idle connection.
    fn ping_if_idle(&mut self, now: Instant) {
        let Phase::Online(session) = &self.phase else { return };
        if session.last_sent + session.heartbeat_interval <= now {
            self.request(now, requests::RequestPurpose::Ping, RequestKind::Ping);
        }
    }
}
