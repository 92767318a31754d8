//! Reads input lines from a terminal through a line editor, or from any other standard input.

use std::cell::Cell;
use std::io::{self, IsTerminal as _};
use std::sync::mpsc as std_mpsc;
use std::time::Duration;

use chat_core::model::Secret;
use tokio::sync::mpsc;

use crate::failure::{Failure, FailureKind};
use crate::lines::{InvalidLine, Lines};
use crate::terminal::TerminalGuard;

use super::completion::KnownNames;
use super::editor::{new_editor, read_with_editor};
use super::editor_mode::SharedEditorMode;
use super::screen::Screen;
use super::suspension;
use super::typing::SharedEditorStatus;

/// Maximum time for which dropping an [`Input`] waits for the line editor to set its mode.
const EDITOR_START_TIMEOUT: Duration = Duration::from_millis(200);

/// A line of the input, or another event of the input.
#[derive(Debug)]
pub(super) enum InputEvent {
    /// A line. Lines of a script have a number.
    Line { number: Option<u64>, text: String },
    /// A line that is not valid text, with the reason.
    InvalidLine { number: Option<u64>, problem: InvalidLine },
    /// The user types a text to the open conversation.
    Typing,
    /// Tab was pressed after an `@`, and not all members of the group are known.
    MembersWanted,
    /// Answer to the prompt for a password.
    Password(Secret),
    /// Ctrl-C in the line editor: discards the typed line, or ends the prompts for passwords. Twice
    /// within 3 s it quits.
    Interrupt,
    /// The input has ended, as with Ctrl-D, or the line editor cannot read the terminal.
    End,
    /// Standard input, which is read without the line editor, has failed.
    Failed(Failure),
}

/// Prompt for a line.
#[derive(Clone, Debug)]
pub(super) struct Prompt {
    pub(super) text: String,
    pub(super) kind: PromptKind,
}

/// Kind of the answer to a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PromptKind {
    /// A line. `is_open` is `true` if a conversation is open, so that texts are sent to it.
    Line { is_open: bool },
    /// A password, which is not shown.
    Password,
}

impl Prompt {
    pub(super) const fn line(text: String, is_open: bool) -> Self {
        Self {
            text,
            kind: PromptKind::Line { is_open },
        }
    }

    pub(super) fn password(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            kind: PromptKind::Password,
        }
    }
}

/// Receiver of input events, and sender of prompts. For each prompt the reading thread reads one
/// line.
#[derive(Debug)]
pub(super) struct Input {
    events: mpsc::Receiver<InputEvent>,
    /// Sends the next prompt. Dropping the sender ends the reading thread.
    prompts: std_mpsc::SyncSender<Prompt>,
    /// `true` if the answer to a prompt has not arrived yet. No other prompt is sent meanwhile: the
    /// thread would use it for the line after the answer, for which another prompt, such as that
    /// for a password, may be due by then.
    awaits_answer: Cell<bool>,
    /// Mode of the terminal while the line editor reads a line, otherwise `None`.
    editor_mode: SharedEditorMode,
    /// Status that the line editor shows with the prompt and the typed line.
    pub(super) status: SharedEditorStatus,
    /// `true` if the last prompt named an open conversation.
    prompt_names_conversation: Cell<bool>,
    /// Restores the mode of the terminal when the input is dropped, even while the line editor
    /// reads a line.
    _guard: TerminalGuard,
    /// `true` if a user types in the line editor, `false` if lines are read as from a file.
    pub(super) has_editor: bool,
    /// `true` if a file or pipe is read, `false` if a user types, with or without the line editor.
    pub(super) is_script: bool,
}

/// Returns `true` if a user types at a terminal that shows the output.
pub(super) fn is_at_terminal() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

impl Input {
    /// Starts the reading thread. Output must go to the returned screen, so that it does not garble
    /// the line being typed.
    pub(super) fn start(known: &KnownNames) -> (Self, Screen) {
        let (event_sender, events) = mpsc::channel(16);
        let (prompts, prompt_receiver) = std_mpsc::sync_channel(1);
        let guard = TerminalGuard::new();
        let (editor_mode, status) = (SharedEditorMode::default(), SharedEditorStatus::default());
        // A terminal that the editor does not support is read like a file.
        let editor = if is_at_terminal() {
            new_editor(known, &editor_mode, &status).ok()
        } else {
            None
        };
        let has_editor = editor.is_some();
        let screen = match editor {
            Some((editor, screen)) => {
                std::thread::spawn(move || read_with_editor(editor, &event_sender, &prompt_receiver));
                screen
            }
            None => {
                std::thread::spawn(move || read_plain(&event_sender, &prompt_receiver));
                Screen::stdout()
            }
        };
        let input = Self {
            events,
            prompts,
            awaits_answer: Cell::new(false),
            editor_mode,
            status,
            prompt_names_conversation: Cell::new(false),
            _guard: guard,
            has_editor,
            is_script: !io::stdin().is_terminal(),
        };
        (input, screen)
    }

    /// Lets the thread read the next line, unless it is already reading one. Only the line editor
    /// prints `prompt`.
    pub(super) fn prompt(&self, prompt: Prompt) {
        if !self.awaits_answer.replace(true) {
            self.prompt_names_conversation
                .set(prompt.kind == PromptKind::Line { is_open: true });
            let _ = self.prompts.try_send(prompt); // fails if the input has ended
        }
    }

    /// Returns whether the last prompt named an open conversation.
    pub(super) fn prompt_names_conversation(&self) -> bool {
        self.prompt_names_conversation.get()
    }

    /// Sets the mode of the line editor again after the process was stopped. Returns whether the
    /// prompt has to be printed again.
    pub(super) fn resume(&self) -> bool {
        self.editor_mode.set_again()
    }

    /// Waits for the next event. Returns `None` if the reading thread has ended. Once this has
    /// returned the answer to a prompt, [`prompt`](Self::prompt) sends the next prompt.
    ///
    /// # Cancel safety
    /// No event is lost.
    pub(super) async fn next(&mut self) -> Option<InputEvent> {
        let event = self.events.recv().await;
        self.note(event.as_ref());
        event
    }

    /// Records that no answer is awaited any more, if `event` is the answer to the prompt, or is
    /// `None` because the reading thread has ended.
    fn note(&self, event: Option<&InputEvent>) {
        if !matches!(event, Some(InputEvent::Typing | InputEvent::MembersWanted)) {
            self.awaits_answer.set(false);
        }
    }
}

impl Drop for Input {
    /// Waits, for at most [`EDITOR_START_TIMEOUT`], until the line editor has set the mode in which
    /// it reads, or has noticed that it may not read. After that, it changes the mode only if
    /// Ctrl-Z suspends it, so the guard, which is dropped next, restores the mode.
    fn drop(&mut self) {
        while let Ok(event) = self.events.try_recv() {
            self.note(Some(&event));
        }
        if self.has_editor && self.awaits_answer.get() {
            self.editor_mode.close(EDITOR_START_TIMEOUT);
        }
    }
}

/// Reads one line for each prompt without the line editor, until the application ends. Does not
/// print the prompts.
fn read_plain(events: &mpsc::Sender<InputEvent>, prompts: &std_mpsc::Receiver<Prompt>) {
    // No mode has to be restored, so this thread can take the signal of Ctrl-Z at any time.
    let _ = suspension().thread_unblock(); // a valid set of signals
    let is_script = !io::stdin().is_terminal();
    let mut input = Lines::of(io::stdin().lock());
    while prompts.recv().is_ok() {
        let typed = match input.next() {
            Some(Ok(line)) => {
                let number = is_script.then_some(line.number);
                match line.text {
                    Ok(text) => InputEvent::Line { number, text },
                    Err(problem) => InputEvent::InvalidLine { number, problem },
                }
            }
            Some(Err(error)) => {
                let text = format!("cannot read standard input: {error}");
                InputEvent::Failed(Failure::new(FailureKind::Failed, text))
            }
            None => InputEvent::End,
        };
        if events.blocking_send(typed).is_err() {
            break;
        }
    }
}
