//! State that the event loop and the actions share, and the jobs that actions start.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chat_core::commands::Commands;
use chat_core::model::{
    Command, ConversationId, ConversationInfo, ConversationRef, ConversationView, Role, Seq, UserId, UserRef,
};
use tokio::task::JoinSet;

use crate::command_client::CommandClient;
use crate::failure::{Failure, FailureKind};
use crate::output::{Style, single_line};

use super::actions::WaitingText;
use super::completion::KnownNames;
use super::conversations::Conversations;
use super::mentions::{self, GroupMembers, MemberList};
use super::own_messages::OwnMessages;
use super::reactions::Reactions;
use super::read_receipts::ReadReceipts;
use super::screen::Screen;
use super::script::Script;
use super::sent_texts::SentTexts;
use super::typing::Typists;

/// Maximum time for which a job that looks up, creates, joins or leaves a conversation holds the
/// input.
const ENTER_OR_LEAVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Minimum time from a question to its answer in the line editor. A line that arrives sooner was
/// typed before the question.
const MIN_ANSWER_TIME: Duration = Duration::from_millis(300);

/// A command that takes effect only when it is typed again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum UnconfirmedCommand {
    /// The last member leaves this group, which deletes it.
    Leave(ConversationId),
    /// The user gives this group to another owner.
    Transfer(ConversationId, UserRef),
}

/// Record of the parts of a conversation that were printed.
#[derive(Debug)]
pub(super) struct Shown {
    /// Name for the prompt.
    pub(super) label: String,
    pub(super) info: Arc<ConversationInfo>,
    /// Numbers of the printed messages that are not recalled; `true` marks the user's own.
    pub(super) messages: Vec<(Seq, bool)>,
    /// Printed reactions: the message, the emoji, the user, and whether it was removed.
    pub(super) reactions: Vec<(Seq, String, UserId, bool)>,
    /// First members of the group that was entered; `None` if no group was entered, or its
    /// members cannot be listed.
    pub(super) members: Option<MemberList>,
}

/// Result of a job, which the event loop applies to the state.
#[derive(Debug)]
pub(super) enum JobResult {
    /// The job changes nothing in the state.
    Done,
    /// The conversation can be entered. If the server did not answer, it is unknown whether the
    /// conversation exists.
    CanEnter {
        /// Reference by id, if the id is known.
        reference: ConversationRef,
        /// Reference that the user gave.
        name: ConversationRef,
        /// Name for the prompt.
        label: String,
    },
    /// The conversation cannot be entered. `None` if the job has already printed the reason.
    CannotEnter(Option<Failure>),
    /// A text that waited for the members of a group was not sent.
    NotSent(Failure),
    /// The newest events of a conversation were printed.
    Shown(Shown),
    /// The first members of a group were read.
    FirstMembers { group: ConversationId, list: MemberList },
    /// The next members of a group were read: for completion, or because `text` names users who may
    /// be among them.
    FurtherMembers {
        group: ConversationId,
        list: MemberList,
        text: Option<WaitingText>,
    },
    /// The user was asked to confirm a command, by typing it again.
    Unconfirmed(UnconfirmedCommand),
    /// The user has given a group to another owner, by this command.
    Transferred(UnconfirmedCommand),
    /// The user has left a group, or was no member of it.
    Left(ConversationId),
    /// A message was stored.
    Stored {
        label: String,
        conversation: ConversationId,
        seq: Seq,
    },
}

impl JobResult {
    /// Removes ids and message numbers from the result of a job that was started before the server
    /// was restored from a backup: they may denote other conversations and messages now.
    pub(super) fn without_ids(self) -> Self {
        match self {
            Self::CanEnter { label, .. } => Self::CannotEnter(Some(Failure::new(
                FailureKind::Failed,
                format!("the server was restored from a backup; open {label} again"),
            ))),
            Self::FurtherMembers { text: Some(text), .. } => Self::NotSent(Failure::new(
                FailureKind::Failed,
                format!("the server was restored from a backup; not sent: {}", text.text),
            )),
            Self::Shown(_)
            | Self::FirstMembers { .. }
            | Self::FurtherMembers { .. }
            | Self::Stored { .. }
            | Self::Unconfirmed(_)
            | Self::Transferred(_)
            | Self::Left(_)
            | Self::Done => Self::Done,
            Self::CannotEnter(failure) => Self::CannotEnter(failure),
            Self::NotSent(failure) => Self::NotSent(failure),
        }
    }
}

/// A job that has ended.
#[derive(Debug)]
pub(super) struct EndedJob {
    /// Value of [`State::restore_count`] at the start of the job.
    pub(super) restore_count: u64,
    /// Number of the script line that started the job, or `None` if no line did.
    pub(super) line: Option<u64>,
    /// `true` if input lines are read again after the job, whatever its result. Other jobs that
    /// hold the input release it by their results.
    pub(super) releases_input: bool,
    pub(super) result: Result<JobResult, Failure>,
}

/// A question to the user whether a command shall take effect, which the user answers by giving the
/// command again.
#[derive(Debug)]
pub(super) struct ConfirmationRequest {
    pub(super) command: UnconfirmedCommand,
    /// Number of the script line that gave the command.
    pub(super) line: Option<u64>,
    /// Time at which the user was asked.
    pub(super) asked: Instant,
}

impl ConfirmationRequest {
    /// Returns whether a line that is typed at `now` can be the answer to the question.
    fn can_be_answered(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.asked) >= MIN_ANSWER_TIME
    }
}

/// State of the interactive client.
#[derive(Debug)]
pub(super) struct State {
    /// Client that refuses requests with ids once the server was restored from a backup. It is
    /// replaced when the event about the restored backup arrives, because the state then forgets
    /// the earlier ids.
    pub(super) client: CommandClient,
    /// Number of times that the server was restored from a backup since the start.
    pub(super) restore_count: u64,
    pub(super) screen: Screen,
    pub(super) style: Style,
    pub(super) conversations: Conversations,
    pub(super) sent_texts: SentTexts,
    /// Question whether a command shall take effect, which waits for its answer.
    pub(super) confirmation_request: Option<ConfirmationRequest>,
    /// Names that Tab completes in the line editor.
    pub(super) known: KnownNames,
    /// Running jobs. Each job prints its output.
    pub(super) jobs: JoinSet<EndedJob>,
    /// Members of groups, whom texts can mention.
    pub(super) members: GroupMembers,
    /// Groups whose further members are being read.
    pub(super) loading_members: BTreeSet<ConversationId>,
    /// Members who are typing.
    pub(super) typists: Typists,
    pub(super) read_receipts: ReadReceipts,
    /// Reactions to the messages that were received or printed.
    pub(super) reactions: Reactions,
    /// Messages of this device, which are printed like those of other devices if a user types in
    /// the line editor. `None` if the outcome of each line is printed instead.
    pub(super) own_messages: Option<OwnMessages>,
    /// The script that supplies the input, or `None` if a user types.
    pub(super) script: Option<Script>,
    /// `true` while a job runs that may change the current conversation, or looks up what a text
    /// mentions. No line is read in that time: it is not known where it would be sent, or it would
    /// overtake the text.
    pub(super) input_is_held: bool,
}

impl State {
    /// Returns `true` if a user types in the line editor.
    pub(super) const fn has_line_editor(&self) -> bool {
        self.own_messages.is_some()
    }

    /// Records the id of the conversation with this label, if it was known by name only.
    pub(super) fn set_id(&mut self, label: &str, id: ConversationId) {
        self.conversations.set_id(label, id);
        self.sent_texts.set_id(label, id);
    }

    /// Prints an error. Counts the line of the script that is being executed as failed, and prints
    /// its number.
    pub(super) fn show_error(&mut self, text: &str) {
        let line = self.script.as_mut().and_then(Script::fail_line);
        match line {
            Some(number) => self.show_warning(&format!("line {number}: {text}")),
            None => self.show_warning(text),
        }
    }

    /// Returns the command that the user was asked to confirm. Returns `None` if there is none, or
    /// a user at the line editor cannot have read the question yet.
    pub(super) fn unconfirmed(&self) -> Option<UnconfirmedCommand> {
        let request = self.confirmation_request.as_ref()?;
        let is_answer = !self.has_line_editor() || request.can_be_answered(Instant::now());
        is_answer.then(|| request.command.clone())
    }

    /// Returns the command that the user was asked to confirm, if there is one.
    pub(super) fn asked_command(&self) -> Option<&UnconfirmedCommand> {
        self.confirmation_request.as_ref().map(|request| &request.command)
    }

    /// Records that the user is asked to confirm `command`. Withdraws another command that the user
    /// was asked to confirm.
    pub(super) fn ask_to_confirm(&mut self, command: UnconfirmedCommand) {
        self.end_confirmation(&command);
        self.confirmation_request = Some(ConfirmationRequest {
            command,
            line: self.script.as_ref().and_then(Script::line),
            asked: Instant::now(),
        });
    }

    /// Ends the confirmation of `command`, which has taken effect or has to be confirmed again.
    /// Withdraws another command that the user was asked to confirm.
    pub(super) fn end_confirmation(&mut self, command: &UnconfirmedCommand) {
        match &self.confirmation_request {
            Some(request) if request.command == *command => self.confirmation_request = None,
            _ => self.withdraw_unconfirmed(),
        }
    }

    /// Withdraws the command that the user was asked to confirm, because another line follows, or
    /// the client ends. The line of a script that gave the command has not taken effect, so it
    /// is reported and counted as failed.
    pub(super) fn withdraw_unconfirmed(&mut self) {
        let Some(ConfirmationRequest { command, line, .. }) = self.confirmation_request.take() else {
            return;
        };
        let Some(script) = &mut self.script else { return };
        let running = script.line();
        script.set_line(line);
        let text = match command {
            UnconfirmedCommand::Leave(_) => "the group was not left: the command was not confirmed",
            UnconfirmedCommand::Transfer(..) => "the group was not transferred: the command was not confirmed",
        };
        self.show_error(text);
        if let Some(script) = &mut self.script {
            script.set_line(running);
        }
    }

    /// Prints a warning, which counts no line of the script as failed.
    pub(super) fn show_warning(&self, text: &str) {
        let text = single_line(text);
        match self.script {
            Some(_) => self.screen.error(format_args!("chat-client: {text}")),
            None => self.screen.error(format_args!("{} {text}", self.style.bad("!"))),
        }
    }

    /// Prints a notice that is no error: among the other output for a user, on standard error for a
    /// script.
    pub(super) fn show_notice(&self, text: &str) {
        match self.script {
            Some(_) => self.show_warning(text),
            None => self.screen.line(self.style.dim(&single_line(&format!("-- {text}")))),
        }
    }

    /// Starts a job.
    pub(super) fn spawn(&mut self, job: impl Future<Output = Result<JobResult, Failure>> + Send + 'static) {
        let (restore_count, line) = (self.restore_count, self.script.as_ref().and_then(Script::line));
        self.jobs.spawn(async move {
            EndedJob {
                restore_count,
                line,
                releases_input: false,
                result: job.await,
            }
        });
    }

    /// Starts a job that may leave the current conversation. No input line is read until the job
    /// ends, for at most 10 s, so that the next prompt shows the result.
    pub(super) fn spawn_leaving(&mut self, job: impl Future<Output = Result<JobResult, Failure>> + Send + 'static) {
        self.input_is_held = true;
        let (restore_count, line) = (self.restore_count, self.script.as_ref().and_then(Script::line));
        self.jobs.spawn(async move {
            let result = tokio::time::timeout(ENTER_OR_LEAVE_TIMEOUT, job).await;
            EndedJob {
                restore_count,
                line,
                releases_input: true,
                result: result.unwrap_or_else(|_| Err(unanswered())),
            }
        });
    }

    /// Starts a job that sends `command` to the server and prints `done` once it succeeds.
    pub(super) fn request(&mut self, command: Command, done: String) {
        let (client, screen, style) = (self.client.clone(), self.screen.clone(), self.style);
        self.spawn(async move {
            client.execute(command).await?;
            screen.line(style.dim(&single_line(&format!("-- {done}"))));
            Ok(JobResult::Done)
        });
    }

    /// Starts `job`, which looks up, creates or joins a conversation that the user wants to open.
    /// No input line is read until the job ends, for at most 10 s.
    pub(super) fn open_conversation(&mut self, job: impl Future<Output = Result<JobResult, Failure>> + Send + 'static) {
        self.input_is_held = true;
        self.spawn(async {
            Ok(match tokio::time::timeout(ENTER_OR_LEAVE_TIMEOUT, job).await {
                Ok(Ok(result)) => result,
                Ok(Err(failure)) => JobResult::CannotEnter(Some(failure)),
                Err(_) => JobResult::CannotEnter(Some(unanswered())),
            })
        });
    }

    /// Returns whether the user may mention all members of a group, as far as the client knows.
    pub(super) fn may_mention_all(&self, group: ConversationId) -> bool {
        let info = self.client.known_conversation(group);
        info.is_some_and(|info| info.role >= Role::Admin && matches!(info.view, ConversationView::Group(_)))
    }

    /// Updates the names that Tab completes after an `@`: those of the known members of the current
    /// group, and `all` if the user may mention all members.
    pub(super) fn update_member_completion(&self) {
        let group = self.conversations.current.as_ref().and_then(|current| current.id);
        let Some(group) = group.filter(|group| self.members.has(*group)) else {
            return self.known.set_members([], false);
        };
        let all = self.may_mention_all(group).then_some(mentions::ALL);
        let names = self.members.names(group).chain(all);
        let is_complete = self.members.rest_after(group).is_none();
        self.known.set_members(names, !is_complete);
    }

    /// Adds the name of a conversation to Tab completion.
    pub(super) fn add_to_completion(&self, info: &ConversationInfo) {
        match &info.view {
            ConversationView::Direct(peer) => self.known.add_user(&peer.name),
            ConversationView::Group(group) => self.known.add_group(&group.profile.name),
            ConversationView::Inbox => {}
        }
    }
}

/// Returns the failure of a job that got no answer in time.
fn unanswered() -> Failure {
    let text = "the server did not answer within 10 s; the command may still take effect";
    Failure::new(FailureKind::OutcomeUnknown, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn question_cannot_be_answered_before_it_can_be_read() {
        let asked = Instant::now();
        let request = ConfirmationRequest {
            command: UnconfirmedCommand::Leave(ConversationId(1)),
            line: None,
            asked,
        };
        assert!(!request.can_be_answered(asked));
        assert!(!request.can_be_answered(asked + MIN_ANSWER_TIME / 2));
        assert!(request.can_be_answered(asked + MIN_ANSWER_TIME));
    }
}
