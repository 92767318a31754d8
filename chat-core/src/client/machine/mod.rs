//! The client's side of a session, without I/O: what to ask, what to make of the answers, what to hand to the application.
//!
//! ```text
//!            connected                 logged in
//!  Offline ─────────────► Opening ─────────────────► Online
//!     ▲                      │                         │
//!     └──── disconnected ────┴─────────────────────────┘
//! ```
//! It outlives connections: requests that may be repeated, messages on their way and the place in every conversation go on with the next
//! one. Feed it ([`connected`](Machine::connected), [`incoming`](Machine::incoming), …, [`tick`](Machine::tick)), then drain it
//! ([`next_action`](Machine::next_action), [`next_event`](Machine::next_event)).

mod conversations;
mod interface;
mod opening;
mod queues;
mod requests;
mod resuming;
mod sends;
mod syncing;
#[cfg(test)]
mod tests;
mod track;

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::codec::{Incoming, RequestKind};
use crate::model::{ClientMessageId, CloseCode, Command, ConversationId, ConversationRef, Push, UserId};

use super::{ClientError, ClientEvent, Cursor, SendOutcome};
use conversations::Conversations;
use opening::Opening;
use queues::{Acks, Events};
use requests::Requests;
use sends::Sends;

pub use interface::{Action, Credentials, MachineConfig, Receive};
pub use sends::Outgoing;

/// Acknowledgements wait so long for company …
const ACK_DELAY: Duration = Duration::from_millis(100);
/// … or until so many events were acknowledged.
const ACK_EVENTS: u32 = 64;
/// What is under way when the server asks to be left may take so long.
const LEAVE_PATIENCE: Duration = Duration::from_secs(2);

/// What is known once a session began.
#[derive(Debug)]
struct Session {
    user: UserId,
    heartbeat: Duration,
    last_sent: Instant,
    caught_up: bool,
    leaving: Option<Leaving>,
}

/// The server asked to be left: nothing new is begun, what is under way may end.
#[derive(Clone, Copy, Debug)]
struct Leaving {
    deadline: Instant,
    come_back_after: Duration,
}

#[derive(Debug)]
enum Phase {
    Offline,
    Opening(Opening),
    Online(Session),
    Ended,
}

/// A client's state. See the [module](self).
#[derive(Debug)]
pub struct Machine {
    config: MachineConfig,
    phase: Phase,
    registered: bool,
    /// A connection broke while the registration was under way.
    register_interrupted: bool,
    requests: Requests,
    /// Commands that wait for a session.
    waiting: VecDeque<(u64, Command)>,
    sends: Sends,
    conversations: Conversations,
    acks: Acks,
    events: Events,
    actions: VecDeque<Action>,
}

impl Machine {
    /// A client that is not connected yet.
    #[must_use]
    pub fn new(config: MachineConfig) -> Self {
        Self {
            sends: Sends::new(config.window),
            acks: Acks::kept(&config.cursors),
            config,
            phase: Phase::Offline,
            registered: false,
            register_interrupted: false,
            requests: Requests::default(),
            waiting: VecDeque::new(),
            conversations: Conversations::default(),
            events: Events::default(),
            actions: VecDeque::new(),
        }
    }

    /// A connection stands: says hello and logs in.
    pub fn connected(&mut self, now: Instant) {
        if !matches!(self.phase, Phase::Ended) {
            self.open(now);
            self.tend(now);
        }
    }

    /// The connection is gone. What may be repeated waits for the next one; the rest ends as unknown.
    pub fn disconnected(&mut self, now: Instant) {
        if !matches!(self.phase, Phase::Ended) {
            self.phase = Phase::Offline;
        }
        // What was not written yet belongs to the connection that is gone.
        self.actions.retain(|action| !matches!(action, Action::Send(_)));
        self.requests_lost();
        self.sends.disconnected();
        for (_, known) in self.conversations.iter_mut() {
            known.connection_lost(now);
        }
    }

    /// Something came from the server. Once the connection is to be left it changes nothing: whoever reads on, reads for nobody.
    pub fn incoming(&mut self, now: Instant, incoming: Incoming) {
        if !self.is_connected() {
            return;
        }
        match incoming {
            Incoming::Reply { request_id, result } => self.reply(now, request_id, result),
            Incoming::Push(push) => self.pushed(now, push),
            Incoming::Unknown => {}
        }
        self.tend(now);
    }

    /// The application wants a command done; `token` comes back in [`Action::Finish`].
    pub fn execute(&mut self, now: Instant, token: u64, command: Command) {
        self.waiting.push_back((token, command));
        self.tend(now);
    }

    /// The application, or an earlier run of it, wants a message sent. It is durable in the outbox already. A second one under the same key
    /// changes nothing while the first has no outcome.
    pub fn send(&mut self, now: Instant, message: Outgoing) {
        self.sends.add(message);
        self.tend(now);
    }

    /// The application has dealt with everything up to `cursor`. `resets` says how often it had been told before that something is void
    /// ([`ClientEvent::HistoryReset`], [`ClientEvent::Rewound`]): what it was handed out of a conversation before the last such news of it is.
    pub fn acknowledge(&mut self, now: Instant, conversation: ConversationId, cursor: Cursor, resets: u64) {
        if !self.acks.acknowledge(conversation, cursor, resets) {
            return;
        }
        self.acks.flush_at.get_or_insert(now + ACK_DELAY);
        if self.acks.events >= ACK_EVENTS {
            self.flush_acknowledgements(now);
        }
    }

    /// Reports what was acknowledged without waiting for more.
    pub fn flush_acknowledgements(&mut self, now: Instant) {
        self.acks.flush_at = None;
        self.acks.events = 0;
        let fresh = std::mem::take(&mut self.acks.fresh);
        if fresh.is_empty() {
            return;
        }
        for (conversation, cursor) in &fresh {
            // A place in a log that may be another one is told once that is known.
            let known = self.conversations.get_mut(*conversation);
            if !known.is_some_and(|known| known.is_unproven()) {
                self.report_acknowledged(now, *conversation, cursor.seq);
            }
        }
        self.actions.push_back(Action::SaveCursors(fresh));
    }

    /// Time passed.
    pub fn tick(&mut self, now: Instant) {
        if self.acks.flush_at.is_some_and(|at| at <= now) {
            self.flush_acknowledgements(now);
        }
        if self.requests.overdue(now) {
            self.reconnect(ClientError::Timeout, None);
        }
        self.tend(now);
    }

    /// When [`tick`](Self::tick) should be called at the latest.
    #[must_use]
    pub fn next_tick(&self, now: Instant) -> Option<Instant> {
        let mut times = vec![self.acks.flush_at, self.sends.next_deadline(), self.requests.deadline()];
        if let Phase::Online(session) = &self.phase {
            times.push(Some(session.last_sent + session.heartbeat));
            times.push(session.leaving.map(|leaving| leaving.deadline));
            times.push(self.sends.next_start(now));
            if self.may_ask_for_page() {
                times.push(self.conversations.values().filter_map(conversations::Known::due).min());
            }
        }
        times.into_iter().flatten().min()
    }

    /// What to do next.
    pub fn next_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Whether there is something for the application.
    #[must_use]
    pub fn has_event(&self) -> bool {
        !self.events.queue.is_empty()
    }

    /// Takes what comes next for the application. What it is given is not given again.
    pub fn next_event(&mut self, now: Instant) -> Option<ClientEvent> {
        let event = self.events.take()?;
        self.tend(now);
        Some(event)
    }

    /// Puts something of the driver's among the events, unless an application that takes none has let them pile up.
    pub fn note(&mut self, event: ClientEvent) {
        self.events.offer(event);
    }

    /// The driver cannot go on.
    pub fn give_up(&mut self, reason: ClientError) {
        self.end(reason);
    }

    /// The message with this key that has no outcome yet, if there is one.
    #[must_use]
    pub fn message(&self, id: &ClientMessageId) -> Option<&Outgoing> {
        self.sends.get(id)
    }

    /// Whether both are the same conversation, as far as that is known here.
    #[must_use]
    pub fn is_same_place(&self, one: &ConversationRef, other: &ConversationRef) -> bool {
        self.sends.place(one) == self.sends.place(other)
    }

    /// Messages that have no outcome yet.
    #[must_use]
    pub fn unsettled(&self) -> usize {
        self.sends.len()
    }

    /// Commands that have no outcome yet.
    #[must_use]
    pub fn unfinished(&self) -> usize {
        self.waiting.len() + self.requests.commands()
    }

    /// Whether what comes from the server is of use: from [`connected`](Self::connected) until the connection is to be left.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        matches!(self.phase, Phase::Opening(_) | Phase::Online(_))
    }

    /// Whether a session stands.
    #[must_use]
    pub fn is_online(&self) -> bool {
        matches!(self.phase, Phase::Online(_))
    }

    /// Does everything that may be done now.
    fn tend(&mut self, now: Instant) {
        while let Some(id) = self.sends.expired(now) {
            self.settle(&id, SendOutcome::Unknown);
        }
        let Phase::Online(session) = &self.phase else { return };
        if let Some(leaving) = session.leaving {
            return self.leave(now, leaving);
        }
        while let Some((token, command)) = self.waiting.pop_front() {
            self.command(now, token, command);
        }
        self.start_sends(now);
        self.sync(now);
        self.beat(now);
    }

    /// Goes once nothing is under way any more, or the server's patience must be at its end.
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
            // What comes before the login's answer is in the logs that it tells of.
            push if self.is_online() && self.config.receive != Receive::Nothing => self.sync_push(now, push),
            _ => {}
        }
    }

    fn asked_to_leave(&mut self, now: Instant, come_back_after: Duration) {
        match &mut self.phase {
            Phase::Online(session) => {
                session.leaving.get_or_insert(Leaving {
                    deadline: now + LEAVE_PATIENCE,
                    come_back_after,
                });
            }
            _ => self.reconnect(ClientError::Ended(CloseCode::GoingAway), Some(come_back_after)),
        }
    }

    /// The server ended the session: for good, or because of something that passes.
    fn closed(&mut self, code: CloseCode) {
        match code {
            CloseCode::Replaced | CloseCode::AccountDisabled | CloseCode::UnsupportedVersion => {
                self.end(ClientError::Ended(code));
            }
            CloseCode::Revoked | CloseCode::LoggedOut => {
                self.forget_session();
                self.end(ClientError::Ended(code));
            }
            _ => self.reconnect(ClientError::Ended(code), None),
        }
    }

    fn reconnect(&mut self, reason: ClientError, after: Option<Duration>) {
        if !matches!(self.phase, Phase::Offline | Phase::Ended) {
            self.phase = Phase::Offline;
            self.actions.push_back(Action::Reconnect { reason, after });
        }
    }

    /// Nothing will go on. Messages that are left stay in the outbox for another run.
    fn end(&mut self, reason: ClientError) {
        if matches!(self.phase, Phase::Ended) {
            return;
        }
        self.phase = Phase::Ended;
        for (token, _) in std::mem::take(&mut self.waiting) {
            let result = Err(reason.clone());
            self.actions.push_back(Action::Finish { token, result });
        }
        self.requests_lost();
        self.events.put(ClientEvent::Ended(reason.clone()));
        self.actions.push_back(Action::End(reason));
    }

    fn forget_session(&mut self) {
        if self.config.session.take().is_some() {
            self.actions.push_back(Action::ForgetSession);
        }
    }

    /// A quiet connection is asked for a sign of life.
    fn beat(&mut self, now: Instant) {
        let Phase::Online(session) = &self.phase else { return };
        if session.last_sent + session.heartbeat <= now {
            self.request(now, requests::Pending::Ping, RequestKind::Ping);
        }
    }
}
