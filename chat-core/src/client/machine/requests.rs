//! Running requests: each has an id, a deadline and a purpose.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use crate::client::{ClientError, SendOutcome, error, ids};
use crate::codec::{Answer, Failure, Request, RequestId, RequestKind};
use crate::model::{
    Appended, ClientMessageId, CloseCode, Command, ConversationId, ConversationRef, Outcome, ReplyCode, Seq,
};

use super::{Action, Machine, Phase};

/// Maximum time that a request waits for its reply. Then the client reconnects. By default, a
/// server waits at most 5 s for one answer of its store. The rest is for requests that take several
/// steps, such as logins, for the network, and for requests that the server reads late because many
/// are under way.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
/// Number of internal server errors for one message after which its outcome is unknown.
const MAX_INTERNAL_ERRORS: u32 = 3;

/// Purpose of a running request, which determines how its reply is handled.
#[derive(Debug)]
pub(super) enum RequestPurpose {
    Hello,
    Register,
    Login,
    Resume,
    Ping,
    /// Names of users whose known names are out of date.
    Names,
    /// A command of the application: its id, and the command if it is safe to repeat.
    Command(u64, Option<Command>),
    Send(ClientMessageId),
    /// A page of the log of this conversation.
    Page(ConversationId),
    /// The server's information about this conversation.
    Lookup(ConversationId),
    /// The page of the list of conversations after this id.
    List(ConversationId),
}

impl RequestPurpose {
    /// Returns whether the request is for a page of a log, or a look-up.
    const fn is_read(&self) -> bool {
        matches!(self, Self::Page(_) | Self::Lookup(_))
    }
}

/// All running requests.
#[derive(Debug, Default)]
pub(super) struct Requests {
    last_id: u64,
    purposes: HashMap<RequestId, RequestPurpose>,
    /// Deadlines, ordered by time, because every request has the same timeout. Those of requests
    /// that have ended are removed once they are first.
    deadlines: VecDeque<(Instant, RequestId)>,
    /// Number of internal server errors for each message.
    internal_errors: HashMap<ClientMessageId, u32>,
    /// Number of running requests for pages of logs, and of look-ups.
    pub(super) reads: usize,
}

impl Requests {
    fn begin(&mut self, now: Instant, purpose: RequestPurpose) -> RequestId {
        self.last_id += 1;
        let id = RequestId(self.last_id);
        self.reads += usize::from(purpose.is_read());
        self.purposes.insert(id, purpose);
        self.deadlines.push_back((now + REQUEST_TIMEOUT, id));
        id
    }

    fn end(&mut self, id: RequestId) -> Option<RequestPurpose> {
        let purpose = self.purposes.remove(&id)?;
        self.reads -= usize::from(purpose.is_read());
        while let Some((_, first)) = self.deadlines.front()
            && !self.purposes.contains_key(first)
        {
            self.deadlines.pop_front();
        }
        Some(purpose)
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadlines.front().map(|(at, _)| *at)
    }

    pub(super) fn has_overdue(&self, now: Instant) -> bool {
        self.deadline().is_some_and(|at| at <= now)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.purposes.is_empty()
    }

    /// Returns the number of running commands of the application.
    pub(super) fn command_count(&self) -> usize {
        let commands = self
            .purposes
            .values()
            .filter(|purpose| matches!(purpose, RequestPurpose::Command(..)));
        commands.count()
    }

    /// Removes the repeatable commands for which `wanted` returns true, and returns their command
    /// ids. Their replies are ignored.
    fn take_commands(&mut self, wanted: impl Fn(&Command) -> bool) -> Vec<u64> {
        let taken = self.purposes.extract_if(|_, purpose| match purpose {
            RequestPurpose::Command(_, Some(command)) => wanted(command),
            _ => false,
        });
        let id = |purpose| match purpose {
            RequestPurpose::Command(id, _) => Some(id),
            _ => None,
        };
        taken.filter_map(|(_, purpose)| id(purpose)).collect()
    }

    /// Removes all requests and returns their purposes in the order in which they were sent.
    fn take_all(&mut self) -> Vec<RequestPurpose> {
        self.deadlines.clear();
        self.reads = 0;
        let mut all: Vec<_> = self.purposes.drain().collect();
        all.sort_unstable_by_key(|(id, _)| *id);
        all.into_iter().map(|(_, purpose)| purpose).collect()
    }
}

/// Returns whether a command is safe to repeat. Other commands end as interrupted if the connection
/// breaks.
fn is_repeatable(command: &Command) -> bool {
    matches!(
        command,
        Command::ListDevices
            | Command::SearchUsers { .. }
            | Command::GetUsers(_)
            | Command::ListContacts { .. }
            | Command::CreateGroup(_)
            | Command::SearchGroups { .. }
            | Command::ListMembers { .. }
            | Command::Send { .. }
            | Command::ListConversations(_)
            | Command::GetConversation(_)
            | Command::ReadHistory { .. }
            | Command::Acknowledge { .. }
            | Command::MarkRead { .. }
            | Command::UpdateProfile(_)
            | Command::Block(_)
            | Command::Unblock(_)
            | Command::Logout
            // With the id of the group only: the group may have another name by the time of the
            // repetition, for example because the first attempt renamed it. A repetition by the
            // old name would then fail, or change another group that has taken the name.
            | Command::UpdateGroup {
                group: ConversationRef::Id(_),
                ..
            }
            | Command::SetRole {
                group: ConversationRef::Id(_),
                ..
            }
    )
}

impl Machine {
    /// Sends a request. `purpose` determines how its reply is handled.
    pub(super) fn request(&mut self, now: Instant, purpose: RequestPurpose, kind: RequestKind) {
        let id = self.requests.begin(now, purpose);
        self.put_request(now, Request { id, kind });
    }

    fn put_request(&mut self, now: Instant, request: Request) {
        if let Phase::Online(session) = &mut self.phase {
            session.last_sent = now;
        }
        self.actions.push_back(Action::Send(request));
    }

    /// Sends a command of the application. If the user runs the command as a member of a known
    /// conversation, the command is sent with the id of that conversation.
    pub(super) fn command(&mut self, now: Instant, command_id: u64, mut command: Command) {
        if let Some(conversation) = ids::member_conversation_in(&mut command)
            && let Some(id) = self.conversations.find(conversation)
        {
            *conversation = ConversationRef::Id(id);
        }
        let repeatable = is_repeatable(&command).then(|| command.clone());
        self.request(
            now,
            RequestPurpose::Command(command_id, repeatable),
            RequestKind::Command(command),
        );
    }

    /// Reports an acknowledged position to the server, which sends no reply. Does nothing without a
    /// session.
    pub(super) fn report_acknowledged(&mut self, now: Instant, conversation: ConversationId, seq: Seq) {
        if self.has_session() {
            let kind = RequestKind::Command(Command::Acknowledge { conversation, seq });
            let id = RequestId::NONE;
            self.put_request(now, Request { id, kind });
        }
    }

    pub(super) fn start_sends(&mut self, now: Instant) {
        while let Some((id, command)) = self.outbox.start_next(now) {
            self.request(now, RequestPurpose::Send(id), RequestKind::Command(command));
        }
    }

    pub(super) fn reply(&mut self, now: Instant, id: RequestId, result: Result<Answer, Failure>) {
        let Some(purpose) = self.requests.end(id) else {
            return; // no request waits for this reply, see `take_commands`
        };
        match (purpose, result) {
            (RequestPurpose::Ping, _) => {}
            (RequestPurpose::Names, result) => self.names_reply(now, result),
            (
                purpose @ (RequestPurpose::Hello
                | RequestPurpose::Register
                | RequestPurpose::Login
                | RequestPurpose::Resume),
                result,
            ) => {
                self.opening_reply(now, &purpose, result);
            }
            (RequestPurpose::Command(command_id, Some(Command::Logout)), Ok(Answer::Outcome(Outcome::Done))) => {
                self.logged_out(vec![command_id]);
            }
            (RequestPurpose::Command(command_id, command), result) => {
                if let (Some(Command::MarkRead { conversation, seq }), Ok(_)) = (command, &result) {
                    self.read_here(conversation, seq);
                }
                if let Ok(Answer::Outcome(outcome)) = &result {
                    if let Outcome::PasswordChanged(tokens) = outcome {
                        self.renew_tokens(tokens);
                    }
                    self.compare_names(now, outcome);
                }
                self.finish(command_id, result);
            }
            (RequestPurpose::Send(id), result) => self.send_reply(now, id, result),
            (RequestPurpose::Page(conversation), result) => self.page_reply(now, conversation, result),
            (RequestPurpose::Lookup(conversation), result) => self.lookup_reply(now, conversation, result),
            (RequestPurpose::List(after), result) => self.list_reply(now, after, result),
        }
    }

    fn finish(&mut self, command_id: u64, result: Result<Answer, Failure>) {
        let result = match result {
            Ok(Answer::Outcome(outcome)) => Ok(outcome),
            // A server gives this answer to a registration. It contains a user, so as the answer to
            // a command it is accepted like `Outcome::User`.
            Ok(Answer::Registered(user)) => Ok(Outcome::User(user)),
            Ok(other) => Err(ClientError::Protocol(format!(
                "the server answered a command with {}",
                kind_of(&other)
            ))),
            Err(failure) => Err(ClientError::Refused(failure)),
        };
        self.actions.push_back(Action::Finish { command_id, result });
    }

    fn send_reply(&mut self, now: Instant, id: ClientMessageId, result: Result<Answer, Failure>) {
        match result {
            Ok(Answer::Outcome(Outcome::Appended(appended))) => self.settle(&id, SendOutcome::Stored(appended)),
            Ok(other) => {
                let text = format!("the server answered a message with {}", kind_of(&other));
                self.reconnect(ClientError::Protocol(text), None);
            }
            Err(failure) => self.send_refused(now, id, failure),
        }
    }

    /// Handles the refusal of a message. After a temporary refusal, or one because the session has
    /// ended, the message may or may not be stored, so it is sent again under the same id. After
    /// any other refusal, or after [`MAX_INTERNAL_ERRORS`], it gets its outcome.
    fn send_refused(&mut self, now: Instant, id: ClientMessageId, failure: Failure) {
        let internal_errors = match failure.code() {
            Some(ReplyCode::Internal) => self
                .requests
                .internal_errors
                .entry(id)
                .and_modify(|count| *count += 1)
                .or_insert(1),
            Some(ReplyCode::NotLoggedIn | ReplyCode::SessionExpired | ReplyCode::Fenced) => {
                // The session has ended. This says nothing about the message.
                let pause = Duration::from_millis(u64::from(failure.retry_after_ms));
                self.outbox.postpone(now, &id, pause);
                return self.reconnect(ClientError::Refused(failure), None);
            }
            _ => &mut 0,
        };
        if *internal_errors >= MAX_INTERNAL_ERRORS {
            self.settle(&id, SendOutcome::Unknown);
        } else if error::refusal_kind(&failure) == error::RefusalKind::Temporary {
            let pause = Duration::from_millis(u64::from(failure.retry_after_ms));
            self.outbox.postpone(now, &id, pause);
        } else {
            self.settle(&id, SendOutcome::NotStored(ClientError::Refused(failure)));
        }
    }

    /// Gives a message that must not be sent the outcome [`SendOutcome::NotStored`].
    pub fn reject(&mut self, id: &ClientMessageId, reason: ClientError) {
        self.settle(id, SendOutcome::NotStored(reason));
    }

    /// Gives a message its outcome, unless it has one.
    pub(super) fn settle(&mut self, id: &ClientMessageId, outcome: SendOutcome) {
        self.requests.internal_errors.remove(id);
        if let Some(message) = self.outbox.settle(id) {
            if let SendOutcome::Stored(appended) = &outcome {
                self.outbox.learn(&message.conversation, appended.conversation);
            }
            // The application may know nothing of the conversation but the name that it gave.
            let is_known = |id| self.conversations.get(id).is_some_and(|known| known.info.is_some());
            let conversation = match (message.conversation, message.name) {
                (ConversationRef::Id(id), Some(name)) if !is_known(id) => name,
                (conversation, _) => conversation,
            };
            self.actions.push_back(Action::Settle {
                id: *id,
                conversation,
                outcome,
            });
        }
    }

    /// Treats the user's own event in the log like the reply to the message.
    pub(super) fn settle_from_log(&mut self, id: &ClientMessageId, appended: Appended) {
        self.settle(id, SendOutcome::Stored(appended));
    }

    /// Ends the client, because the session has ended and its token is void. `logouts` are the ids
    /// of the logout commands, which succeed by that.
    pub(super) fn logged_out(&mut self, logouts: Vec<u64>) {
        self.forget_session();
        for command_id in logouts {
            let result = Ok(Outcome::Done);
            self.actions.push_back(Action::Finish { command_id, result });
        }
        self.end(ClientError::Ended(CloseCode::LoggedOut));
    }

    /// Removes the commands that log out, sent or waiting, and returns their ids.
    pub(super) fn take_logouts(&mut self) -> Vec<u64> {
        let is_logout = |command: &Command| matches!(command, Command::Logout);
        let mut logouts = self.requests.take_commands(is_logout);
        let waiting = self.waiting.iter().filter(|(_, command)| is_logout(command));
        logouts.extend(waiting.map(|(id, _)| *id));
        self.waiting.retain(|(_, command)| !is_logout(command));
        logouts
    }

    /// Ends all running requests, because the connection is lost or the client has ended. Unless
    /// the client has ended, commands that are safe to repeat are sent again, before the waiting
    /// ones. All other commands end as interrupted. Records whether a registration was running.
    pub(super) fn requests_lost(&mut self) {
        let mut again = Vec::new();
        for purpose in self.requests.take_all() {
            match purpose {
                RequestPurpose::Command(command_id, Some(command)) if !matches!(self.phase, Phase::Ended) => {
                    again.push((command_id, command));
                }
                RequestPurpose::Command(command_id, _) => {
                    let result = Err(ClientError::Interrupted);
                    self.actions.push_back(Action::Finish { command_id, result });
                }
                RequestPurpose::Register => self.register_interrupted = true,
                _ => {} // pages, messages and logins start over
            }
        }
        for command in again.into_iter().rev() {
            self.waiting.push_front(command);
        }
    }
}

/// Returns the kind of an answer, for error texts.
fn kind_of(answer: &Answer) -> &'static str {
    match answer {
        Answer::Welcome(_) => "a welcome",
        Answer::Registered(_) => "a registration",
        Answer::LoggedIn(_) => "a login",
        Answer::Nodes(_) => "a list of nodes",
        Answer::Pong(_) => "a pong",
        Answer::Outcome(_) => "another outcome",
    }
}
