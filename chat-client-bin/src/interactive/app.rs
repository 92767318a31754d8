//! The event loop between input, client and screen.

mod incoming;
mod jobs;
mod password;

use std::collections::BTreeSet;
use std::time::Duration;

use chat_core::client::{Client, Events, Status};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::command_client::CommandClient;
use crate::failure::Failure;
use crate::outbox;
use crate::output::{Output, Style, single_line};
use crate::session::Session;
use crate::signals::StopSignals;

use super::actions;
use super::command::{Action, Line, USAGES, parse};
use super::completion::KnownNames;
use super::conversations::Conversations;
use super::input::{Input, InputEvent, Prompt};
use super::mentions::GroupMembers;
use super::own_messages::OwnMessages;
use super::reactions::Reactions;
use super::read_receipts::ReadReceipts;
use super::script::Script;
use super::sent_texts::SentTexts;
use super::state::{State, UnconfirmedCommand};
use super::typing::{self, Typists};
use password::PasswordChange;

/// Maximum time for which the event loop waits at its end for jobs and queued messages, unless a
/// signal ends it.
const EXIT_TIMEOUT: Duration = Duration::from_secs(10);

/// Maximum time to print the queued lines at exit.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);
/// Maximum time to print the queued lines before a signal ends the client.
const STOP_FLUSH_TIMEOUT: Duration = Duration::from_millis(100);

/// Maximum time between two presses of Ctrl-C that quit. Longer apart, each discards the typed
/// line.
const INTERRUPT_INTERVAL: Duration = Duration::from_secs(3);

/// The event loop of the interactive client.
#[derive(Debug)]
pub(super) struct App {
    state: State,
    /// Client from which the state gets a new handle after the server was restored from a backup.
    client: Client,
    input: Input,
    output: Output,
    /// `true` once the client has received the events that this device missed before the start.
    has_caught_up: bool,
    /// Number of events that other users caused in the inbox and that this device missed before the
    /// start.
    missed_in_inbox: u32,
    /// `true` once the client has connected for the first time.
    was_connected: bool,
    is_quitting: bool,
    /// Maximum time for the jobs of a line, if no line editor is used: then the next line is read
    /// only after they have ended.
    line_timeout: Duration,
    /// Receives SIGCONT: the process continues after it was stopped, as by Ctrl-Z.
    continued: Signal,
    /// Time at which Ctrl-C last discarded the typed line, unless a line was entered since then.
    last_interrupt: Option<Instant>,
    /// Passwords that `/passwd` is asking for, or `None` if it is not.
    password_change: Option<PasswordChange>,
    /// Error that ended the input.
    input_error: Option<Failure>,
}

impl App {
    pub(super) fn new(session: &Session, line_timeout: Duration, output: Output) -> Result<Self, Failure> {
        let known = KnownNames::default();
        let continued = signal(SignalKind::from_raw(nix::sys::signal::Signal::SIGCONT as i32))?;
        let (input, screen) = Input::start(&known);
        let app = Self {
            state: State {
                client: CommandClient::new(session.client.with_known_epoch()),
                restore_count: 0,
                screen,
                style: output.style(),
                conversations: Conversations::default(),
                sent_texts: SentTexts::default(),
                confirmation_request: None,
                known,
                jobs: JoinSet::new(),
                members: GroupMembers::default(),
                loading_members: BTreeSet::new(),
                typists: Typists::default(),
                read_receipts: ReadReceipts::default(),
                reactions: Reactions::default(),
                own_messages: input.has_editor.then(OwnMessages::default),
                script: input.is_script.then(Script::default),
                input_is_held: false,
            },
            client: session.client.clone(),
            input,
            output,
            has_caught_up: false,
            missed_in_inbox: 0,
            was_connected: false,
            is_quitting: false,
            line_timeout,
            continued,
            last_interrupt: None,
            password_change: None,
            input_error: None,
        };
        if app.state.script.is_none() {
            app.state.screen.line(greeting(&session.me()?.name, app.state.style));
        }
        Ok(app)
    }

    /// Runs until the user quits, the input ends, the session ends, or a signal arrives. After
    /// a signal, the client waits neither for an event nor for a line or a job that the server does
    /// not answer.
    pub(super) async fn run(mut self, events: &mut Events, signals: &mut StopSignals) -> Result<(), Failure> {
        let (result, flush_timeout) = tokio::select! {
            biased;
            // Messages without an outcome stay in the outbox.
            signal = signals.next() => (Err(signal.into()), STOP_FLUSH_TIMEOUT),
            result = self.serve(events) => (result, FLUSH_TIMEOUT),
        };
        self.close(flush_timeout);
        result
    }

    async fn serve(&mut self, events: &mut Events) -> Result<(), Failure> {
        for info in self.state.client.known_conversations() {
            self.state.add_to_completion(&info);
        }
        if self.input.has_editor {
            self.state.spawn(actions::add_contacts_to_completion(
                self.state.client.clone(),
                self.state.known.clone(),
            ));
            actions::load_members_of_recent_groups(&mut self.state);
        }
        self.prompt();
        while !self.is_quitting {
            self.show_status();
            tokio::select! {
                // Events come first, so that a pasted text does not delay them.
                biased;
                received = events.next() => {
                    let Some(received) = received else { break };
                    self.handle_event(&received.event).await?;
                    self.state.screen.check()?;
                    received.done();
                }
                Some(ended) = self.state.jobs.join_next() => self.job_ended(ended),
                Some(()) = self.continued.recv() => self.resume(),
                () = expiry(&self.state.typists) => {}
                typed = self.input.next() => self.handle_input(typed).await,
            }
            self.state.screen.check()?;
        }
        self.finish_jobs().await;
        self.state.withdraw_unconfirmed();
        self.state.screen.check()?;
        match (self.input_error.take(), &self.state.script) {
            (Some(failure), _) => Err(failure),
            (None, Some(script)) => script.result(),
            (None, None) => Ok(()),
        }
    }

    /// Prints the queued lines, and ends the line editor.
    fn close(self, flush_timeout: Duration) {
        self.state.screen.flush(flush_timeout);
        drop(self.input);
    }

    /// Shows in the line editor who is typing in the current conversation, or else who has read the
    /// user's last message in it, and whether the conversation that the prompt names was closed
    /// since.
    fn show_status(&mut self) {
        if self.input.has_editor {
            self.state.typists.expire(std::time::Instant::now());
            let current = self.state.conversations.current.as_ref();
            let text = current.and_then(|current| current.id).map_or_else(String::new, |id| {
                let typing = self.state.typists.text(id);
                if typing.is_empty() {
                    self.state.read_receipts.text(id)
                } else {
                    typing
                }
            });
            let status = typing::EditorStatus {
                text: single_line(&text),
                is_prompt_stale: current.is_none() && self.input.prompt_names_conversation(),
            };
            if self.input.status.set(status) {
                self.state.screen.repaint();
            }
        }
    }

    /// Shows the prompt and the typed line again after the process was stopped.
    fn resume(&self) {
        if self.input.resume() {
            self.state.screen.line("");
        }
    }

    /// Finishes the running jobs and flushes the outbox, for at most 10 s.
    async fn finish_jobs(&mut self) {
        let client = self.state.client.clone();
        let finish = async {
            while let Some(ended) = self.state.jobs.join_next().await {
                self.job_ended(ended);
            }
            let _ = client.flush().await; // unsent messages stay in the outbox
        };
        let _ = tokio::time::timeout(EXIT_TIMEOUT, finish).await; // unfinished jobs are aborted
    }

    async fn handle_input(&mut self, event: Option<InputEvent>) {
        match event {
            Some(InputEvent::Line { number, text }) => {
                self.last_interrupt = None;
                self.set_script_line(number);
                self.handle_line(&text);
                if !self.input.has_editor {
                    self.finish_line().await;
                }
                self.set_script_line(None);
            }
            Some(InputEvent::InvalidLine { number, problem }) => {
                self.set_script_line(number);
                self.state.withdraw_unconfirmed();
                self.state.show_error(&problem.to_string());
                self.set_script_line(None);
            }
            // The editor still reads the line, so that it needs no prompt.
            Some(InputEvent::Typing) => return actions::send_typing(&mut self.state),
            Some(InputEvent::MembersWanted) => return actions::load_remaining_members(&mut self.state),
            Some(InputEvent::Password(password)) => {
                self.last_interrupt = None;
                self.handle_password(password);
            }
            Some(InputEvent::Interrupt) if self.password_change.is_some() => self.cancel_password_change(),
            Some(InputEvent::Interrupt) => {
                let last = self.last_interrupt.replace(Instant::now());
                self.is_quitting = last.is_some_and(|at| at.elapsed() < INTERRUPT_INTERVAL);
                if !self.is_quitting {
                    self.state
                        .screen
                        .line("Press Ctrl-C again within 3 s to quit; Ctrl-D and /quit do the same.");
                }
            }
            Some(InputEvent::Failed(failure)) => {
                self.input_error = Some(failure);
                self.is_quitting = true;
            }
            Some(InputEvent::End) | None => self.is_quitting = true,
        }
        self.prompt();
    }

    /// Waits for the jobs of a line: a script expects each line to take effect before the next. A
    /// line without an answer fails; its message stays in the outbox.
    async fn finish_line(&mut self) {
        let deadline = Instant::now() + self.line_timeout;
        while !self.state.jobs.is_empty() {
            match timeout_at(deadline, self.state.jobs.join_next()).await {
                Ok(Some(ended)) => self.job_ended(ended),
                Ok(None) => break,
                Err(_) => self.abandon_line().await,
            }
        }
    }

    /// Ends the jobs of a line that got no answer in time, and prints the error. If they held the
    /// input, closes the current conversation, for which the next lines may not be meant.
    async fn abandon_line(&mut self) {
        self.state.jobs.shutdown().await;
        let limit = self.line_timeout.as_secs_f32();
        let mut text = match self.state.client.status() {
            Status::Connecting(Some(reason)) => format!("no answer within {limit} s; the last problem was: {reason}"),
            _ => format!("no answer within {limit} s"),
        };
        let unsettled = self.state.client.unsettled();
        if unsettled > 0 {
            text.push_str(&format!("; {}", outbox::describe_unsettled(unsettled)));
        }
        self.state.show_error(&text);
        if std::mem::take(&mut self.state.input_is_held) {
            self.state.conversations.close_current();
        }
    }

    fn set_script_line(&mut self, number: Option<u64>) {
        if let Some(script) = &mut self.state.script {
            script.set_line(number);
        }
    }

    fn prompt(&mut self) {
        if !self.is_quitting && !self.state.input_is_held {
            // No event reports that a user has another name.
            let current = self.state.conversations.current.as_ref().and_then(|current| current.id);
            if let Some(info) = current.and_then(|id| self.state.client.known_conversation(id)) {
                self.state.conversations.rename(&info);
            }
            let conversations = &self.state.conversations;
            let prompt = match &self.password_change {
                Some(change) => change.prompt(),
                None => Prompt::line(
                    conversations.prompt(&self.state.client.known_conversations()),
                    conversations.current.is_some(),
                ),
            };
            self.input.prompt(prompt);
        }
    }

    fn handle_line(&mut self, line: &str) {
        let line = parse(line);
        let may_confirm = matches!(
            (&line, self.state.asked_command()),
            (Line::Empty, _)
                | (Line::Action(Action::Leave(_)), Some(UnconfirmedCommand::Leave(_)))
                | (
                    Line::Action(Action::Transfer(_)),
                    Some(UnconfirmedCommand::Transfer(..))
                )
        );
        if !may_confirm {
            self.state.withdraw_unconfirmed();
        }
        match line {
            Line::Empty => {}
            Line::Text(text) => actions::send_to_current(&mut self.state, text, None),
            Line::Action(Action::Quit) => self.is_quitting = true,
            Line::Action(Action::Help) => self.help(),
            Line::Action(Action::Passwd) => self.begin_password_change(),
            Line::Action(action) => actions::perform(&mut self.state, action),
            Line::Invalid(why) => self.state.show_error(&why),
        }
    }

    fn help(&self) {
        for usage in USAGES {
            let syntax = format!("{} {}", usage.name, usage.arguments);
            self.state.screen.line(format_args!(
                "  {} {}",
                crate::output::pad(&syntax, 23), // the width of the longest syntax
                self.state.style.dim(usage.help)
            ));
        }
        let footer =
            "  Any other line is sent to the conversation in the prompt; // sends a text that begins with a slash.";
        self.state.screen.line(self.state.style.dim(footer));
    }
}

/// Waits until a member no longer counts as typing.
async fn expiry(typists: &Typists) {
    match typists.next_expiry() {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

fn greeting(name: &str, style: Style) -> String {
    let name = style.name(&single_line(name));
    format!("You are {name}. /help lists the commands; /dm USER and /group NAME open a conversation.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greeting_escapes_the_users_own_name() {
        let greeting = greeting("eve\u{1b}]0;title\u{7}", Style::PLAIN);
        assert!(greeting.starts_with("You are eve\\u{1b}]0;title\\u{7}. "), "{greeting}");
    }
}
