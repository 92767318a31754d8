//! A machine and a simulated server, driven step by step.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::client::machine::{Action, Credentials, Machine, MachineConfig, Outgoing, Receive};
use crate::client::{ClientEvent, Cursor, EventIdentity, message_id};
use crate::codec::{Answer, Failure, Incoming, LoggedIn, Request, RequestId, RequestKind, Welcome, body};
use crate::model::{
    ClientMessageId, Command, ConversationId, ConversationInfo, ConversationPage, ConversationRef, ConversationView,
    DeviceId, DraftContent, Event, EventBody, EventId, EventKind, GroupInfo, GroupProfile, HistoryEvent, HistoryPage,
    JoinPolicy, Message, MessageText, Outcome, Page, PageFrom, Push, ReplyCode, Role, Secret, Seq, StoreEpoch,
    Timestamp, UserId, UserInfo,
};

pub(super) const GROUP_ID: ConversationId = ConversationId(10);
pub(super) const ME: UserId = UserId(1);
pub(super) const OTHER: UserId = UserId(2);
pub(super) const EPOCH: StoreEpoch = StoreEpoch([1; 16]);
pub(super) const DEVICE: DeviceId = DeviceId([7; 16]);

/// A machine, the time, and what the machine has asked its driver to do.
pub(super) struct Script {
    pub(super) machine: Machine,
    pub(super) now: Instant,
    /// Requests of the machine that the test has not taken yet.
    pub(super) sent: Vec<Request>,
    /// Actions of the machine other than requests.
    pub(super) actions: Vec<Action>,
}

pub(super) fn config() -> MachineConfig {
    MachineConfig {
        client_name: "test".into(),
        device: DEVICE,
        device_name: "test".into(),
        credentials: Credentials::Stored,
        user: Some(ME),
        session: Some((ME, Secret::new(*b"token"))),
        device_token: None,
        store_epoch: Some(EPOCH),
        cursors: BTreeMap::new(),
        receive: Receive::FromCursor,
        max_in_flight: 1,
    }
}

impl Script {
    pub(super) fn new(config: MachineConfig) -> Self {
        Self {
            machine: Machine::new(config),
            now: Instant::now(),
            sent: Vec::new(),
            actions: Vec::new(),
        }
    }

    /// Returns a script whose machine has logged in; the answer to the login lists these
    /// conversations.
    pub(super) fn online(config: MachineConfig, conversations: Vec<ConversationInfo>) -> Self {
        let mut script = Self::new(config);
        script.log_in(EPOCH, conversations);
        script
    }

    /// Connects and logs in; the answer lists these conversations, which are all that the user has.
    pub(super) fn log_in(&mut self, epoch: StoreEpoch, conversations: Vec<ConversationInfo>) {
        self.connect_and_answer_login(logged_in(epoch, conversations.clone()));
        if let Some(list) = self.try_take(|kind| matches!(kind, RequestKind::Command(Command::ListConversations(_)))) {
            self.outcome(list.id, Outcome::Conversations(ConversationPage::new(conversations)));
        }
    }

    /// Connects and logs in; the answer lists these conversations, and says whether the user has
    /// more.
    pub(super) fn log_in_with(&mut self, conversations: Vec<ConversationInfo>, has_more: bool) {
        self.connect_and_answer_login(LoggedIn {
            has_more,
            ..logged_in(EPOCH, conversations)
        });
    }

    fn connect_and_answer_login(&mut self, logged_in: LoggedIn) {
        self.machine.connected(self.now);
        let hello = self.take(|kind| matches!(kind, RequestKind::Hello(_)));
        let login = self.take(|kind| matches!(kind, RequestKind::Resume(_) | RequestKind::Login(_)));
        self.answer(hello, Answer::Welcome(welcome()));
        self.answer(login, Answer::LoggedIn(Box::new(logged_in)));
    }

    /// Takes the machine's actions, and separates requests from other actions.
    pub(super) fn drain(&mut self) {
        while let Some(action) = self.machine.next_action() {
            match action {
                Action::Send(request) => self.sent.push(request),
                other => self.actions.push(other),
            }
        }
    }

    /// Takes the oldest request that is wanted.
    pub(super) fn take(&mut self, is_wanted: impl Fn(&RequestKind) -> bool) -> RequestId {
        self.try_take(is_wanted).expect("the machine sent such a request").id
    }

    /// Takes the oldest request that is wanted, if the machine has sent one.
    pub(super) fn try_take(&mut self, is_wanted: impl Fn(&RequestKind) -> bool) -> Option<Request> {
        self.drain();
        let at = self.sent.iter().position(|request| is_wanted(&request.kind))?;
        Some(self.sent.remove(at))
    }

    /// Takes the oldest message, with the id of its request.
    pub(super) fn take_message(&mut self) -> Option<(RequestId, ClientMessageId)> {
        let request = self.try_take(|kind| matches!(kind, RequestKind::Command(Command::Send { .. })))?;
        let RequestKind::Command(Command::Send { draft, .. }) = request.kind else {
            unreachable!()
        };
        Some((request.id, draft.client_message_id))
    }

    /// Takes the oldest request for a page of a log.
    pub(super) fn take_page(&mut self) -> Option<(RequestId, ConversationRef, Page)> {
        let request = self.try_take(|kind| matches!(kind, RequestKind::Command(Command::ReadHistory { .. })))?;
        let RequestKind::Command(Command::ReadHistory { conversation, page }) = request.kind else {
            unreachable!()
        };
        Some((request.id, conversation, page))
    }

    pub(super) fn answer(&mut self, request_id: RequestId, answer: Answer) {
        let result = Ok(answer);
        self.machine.incoming(self.now, Incoming::Reply { request_id, result });
    }

    pub(super) fn outcome(&mut self, request_id: RequestId, outcome: Outcome) {
        self.answer(request_id, Answer::Outcome(outcome));
    }

    pub(super) fn refuse(&mut self, request_id: RequestId, code: ReplyCode) {
        let result = Err(Failure::new(code, "no"));
        self.machine.incoming(self.now, Incoming::Reply { request_id, result });
    }

    pub(super) fn push(&mut self, push: Push) {
        self.machine.incoming(self.now, Incoming::Push(push));
    }

    /// Pushes the event at `seq`, a message of [`OTHER`].
    pub(super) fn event(&mut self, seq: u64) {
        self.push(Push::Event(event(seq)));
    }

    /// Acknowledges every event of the group up to `seq`, as an application does that has received
    /// no reset. The machine ignores this if the group was reset.
    pub(super) fn acknowledge(&mut self, seq: u64) {
        self.machine.acknowledge(self.now, GROUP_ID, cursor(seq), 0);
    }

    /// Lets `time` pass, and runs the timers that are due then.
    pub(super) fn pass(&mut self, time: Duration) {
        self.now += time;
        self.machine.tick(self.now);
    }

    /// Takes all events that wait for the application.
    pub(super) fn events(&mut self) -> Vec<ClientEvent> {
        let mut events = Vec::new();
        while let Some(event) = self.machine.next_event(self.now) {
            events.push(event);
        }
        events
    }

    /// Takes all events that wait for the application, and returns the positions of log events.
    pub(super) fn seqs(&mut self) -> Vec<u64> {
        let events = self.events();
        let seqs = events.iter().filter_map(|event| match event {
            ClientEvent::Event(delivery) => Some(delivery.seq().0),
            _ => None,
        });
        seqs.collect()
    }

    /// Sends a message to the group, and returns its id.
    pub(super) fn send(&mut self, text: &str) -> ClientMessageId {
        let id = message_id::new_id(DEVICE);
        self.machine.send(self.now, outgoing(id, text));
        id
    }
}

pub(super) fn outgoing(id: ClientMessageId, text: &str) -> Outgoing {
    Outgoing {
        id,
        conversation: ConversationRef::Id(GROUP_ID),
        name: None,
        store_epoch: Some(EPOCH),
        content: DraftContent::Message {
            text: MessageText::new(text).unwrap(),
            reply_to: None,
            mentions: Vec::new(),
            mention_all: false,
        },
        deadline: None,
    }
}

fn welcome() -> Welcome {
    Welcome {
        version: 1,
        server: "test".into(),
        server_time: Timestamp(1),
        max_packet_bytes: 65_536,
        max_text_bytes: 16_384,
        heartbeat_ms: 30_000,
        store_epoch: EPOCH,
    }
}

pub(super) fn logged_in(epoch: StoreEpoch, conversations: Vec<ConversationInfo>) -> LoggedIn {
    LoggedIn {
        user: user(ME, "alice"),
        session_token: None,
        device_token: None,
        store_epoch: epoch,
        conversations,
        server_time: Timestamp(1),
        has_more: false,
    }
}

pub(super) fn user(id: UserId, name: &str) -> UserInfo {
    UserInfo {
        id,
        name: name.into(),
        display_name: name.into(),
        direct_policy: None,
    }
}

/// Returns the group as seen by a device that has acknowledged, and whose user has read, every
/// event up to `cursor`. The group's log ends at `last`.
pub(super) fn group_info(cursor: u64, last: u64) -> ConversationInfo {
    let profile = GroupProfile {
        name: "room".into(),
        key: String::new(),
        skeleton: String::new(),
        description: String::new(),
        join_policy: JoinPolicy::Open,
        history_visible: true,
        unlisted: false,
    };
    ConversationInfo {
        id: GROUP_ID,
        view: ConversationView::Group(GroupInfo {
            id: GROUP_ID,
            profile,
            member_count: 2,
        }),
        role: Role::Member,
        first_seq: Seq(1),
        last_seq: Seq(last),
        cursor: Seq(cursor),
        read_seq: Seq(cursor),
        unread: 0,
        unread_mentions: 0,
        peer_delivered_seq: Seq::ZERO,
        peer_read_seq: Seq::ZERO,
        last_time: time(last),
        members_version: Seq(1),
        active: true,
    }
}

fn time(seq: u64) -> Timestamp {
    Timestamp(1000 + i64::try_from(seq).unwrap())
}

pub(super) fn event(seq: u64) -> Event {
    event_of(seq, OTHER, None)
}

pub(super) fn event_of(seq: u64, sender: UserId, id: Option<ClientMessageId>) -> Event {
    let message = Message {
        text: seq.to_string(),
        ..Message::default()
    };
    Event {
        conversation: GROUP_ID,
        seq: Seq(seq),
        id: EventId([u8::try_from(seq % 251).unwrap(); 16]),
        sender,
        device: None,
        client_message_id: id,
        fingerprint: 0,
        time: time(seq),
        kind: EventKind::Message,
        target: None,
        message_count: seq,
        edited_seq: None,
        recalled_seq: None,
        body: body_of(message),
    }
}

fn body_of(message: Message) -> Bytes {
    body::encode(&EventBody::Message(message))
}

/// Returns the cursor at `seq` with the identity of its event.
pub(super) fn cursor(seq: u64) -> Cursor {
    Cursor {
        seq: Seq(seq),
        identity: Some(EventIdentity::from(&event(seq))),
    }
}

/// Returns the page, of at most `max_events` events, of a server whose log of the group ends at
/// `last`.
pub(super) fn page(page: Page, last: u64, max_events: u64) -> HistoryPage {
    let PageFrom::After(after) = page.from else {
        panic!("clients read forward")
    };
    let to = last.min(after.0 + max_events);
    let events = (after.0 + 1..=to).map(|seq| HistoryEvent {
        event: event(seq),
        edited_text: None,
    });
    HistoryPage {
        conversation: GROUP_ID,
        events: events.collect(),
        has_more: to < last,
        first_seq: Seq(1),
        last_seq: Seq(last),
    }
}
