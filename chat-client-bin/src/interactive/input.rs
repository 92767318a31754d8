//! Reads input lines from a terminal through a line editor, or from any other standard input.

use std::io::{self, IsTerminal as _};
use std::sync::{Arc, Mutex, PoisonError, mpsc as std_mpsc};

use rustyline::{
    CompletionType, Config, Context, Editor, Helper, completion::Completer, error::ReadlineError,
    highlight::Highlighter, hint::Hinter, history::MemHistory, validate::Validator,
};
use tokio::sync::mpsc;

use crate::failure::Failure;
use crate::lines::{InvalidLine, Lines};
use crate::terminal::{EditorMode, TerminalGuard};

use super::completion::KnownNames;
use super::resize::PaintedPrompt;
use super::screen::Screen;
use super::suspension;

/// A line of the input, or another event of the input.
#[derive(Debug)]
pub(super) enum InputEvent {
    /// A line. Lines of a script have a number.
    Line { number: Option<u64>, text: String },
    /// A line that is not valid text, with the reason.
    InvalidLine { number: Option<u64>, problem: InvalidLine },
    /// Ctrl-C: discards the typed line; twice in a row it quits.
    Interrupt,
    /// The input has ended, as with Ctrl-D.
    End,
    /// The input cannot be read.
    Failed(Failure),
}

/// Receiver of input events, and sender of prompts. For each prompt the reading thread reads one
/// line.
#[derive(Debug)]
pub(super) struct Input {
    lines: mpsc::Receiver<InputEvent>,
    /// Sends the next prompt. Dropping the sender ends the reading thread.
    prompts: std_mpsc::SyncSender<String>,
    /// Mode of the terminal while the line editor reads a line.
    editor_mode: SharedMode,
    /// Restores the mode of the terminal when the input is dropped, even while the line editor
    /// reads a line.
    _guard: TerminalGuard,
    /// `true` if a user types in the line editor, `false` if lines are read as from a file.
    pub(super) is_terminal: bool,
    /// `true` if a file or pipe is read, `false` if a user types, with or without the line editor.
    pub(super) is_script: bool,
}

type SharedMode = Arc<Mutex<Option<EditorMode>>>;

/// Returns `true` if a user types at a terminal that shows the output.
pub(super) fn has_editor() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

impl Input {
    /// Starts the reading thread. Output must go to the returned screen, so that it does not garble
    /// the line being typed.
    pub(super) fn start(known: &KnownNames) -> (Self, Screen) {
        let (line_sender, lines) = mpsc::channel(16);
        let (prompts, prompt_receiver) = std_mpsc::sync_channel(1);
        let guard = TerminalGuard::new();
        let editor_mode = SharedMode::default();
        // A terminal that the editor does not support is read like a file.
        let editor = if has_editor() {
            new_editor(known, &editor_mode).ok()
        } else {
            None
        };
        let is_terminal = editor.is_some();
        let screen = match editor {
            Some((editor, screen)) => {
                std::thread::spawn(move || read_with_editor(editor, &line_sender, &prompt_receiver));
                screen
            }
            None => {
                std::thread::spawn(move || read_plain(&line_sender, &prompt_receiver));
                Screen::stdout()
            }
        };
        let input = Self {
            lines,
            prompts,
            editor_mode,
            _guard: guard,
            is_terminal,
            is_script: !io::stdin().is_terminal(),
        };
        (input, screen)
    }

    /// Lets the thread read the next line. Only the line editor prints `prompt`.
    pub(super) fn prompt(&self, prompt: String) {
        let _ = self.prompts.try_send(prompt); // fails if a prompt is queued, or the input has ended
    }

    /// Sets the mode of the line editor again after the process was stopped. Returns whether the
    /// prompt has to be printed again.
    pub(super) fn resume(&self) -> bool {
        let mode = self.editor_mode.lock().unwrap_or_else(PoisonError::into_inner);
        mode.as_ref().is_some_and(EditorMode::set_again)
    }

    /// Waits for the next event. Returns `None` if the reading thread has ended.
    ///
    /// # Cancel safety
    /// No event is lost.
    pub(super) async fn next(&mut self) -> Option<InputEvent> {
        self.lines.recv().await
    }
}

type LineEditor = Editor<CommandHelper, MemHistory>;

fn new_editor(known: &KnownNames, mode: &SharedMode) -> io::Result<(LineEditor, Screen)> {
    // The history is kept in memory only: typed messages are private.
    let config = Config::builder()
        .auto_add_history(true)
        .completion_type(CompletionType::List)
        .build();
    let mut editor = LineEditor::with_history(config, MemHistory::new()).map_err(io::Error::other)?;
    editor.set_helper(Some(CommandHelper {
        known: known.clone(),
        prompt: PaintedPrompt::new(),
        mode: Arc::clone(mode),
    }));
    let printer = editor.create_external_printer().map_err(io::Error::other)?;
    Ok((editor, Screen::above_the_prompt(printer)))
}

fn read_with_editor(mut editor: LineEditor, lines: &mpsc::Sender<InputEvent>, prompts: &std_mpsc::Receiver<String>) {
    let _ = suspension().thread_unblock(); // a valid set of signals
    while let Ok(prompt) = prompts.recv() {
        if let Some(helper) = editor.helper_mut() {
            helper.prompt.start(&prompt);
        }
        let typed = loop {
            let read = editor.readline(&prompt);
            if let Some(helper) = editor.helper() {
                helper.set_mode(None);
            }
            break match read {
                Ok(text) => InputEvent::Line { number: None, text },
                Err(ReadlineError::Interrupted) => InputEvent::Interrupt,
                Err(ReadlineError::Signal(_)) => continue, // SIGWINCH: the window was resized
                Err(ReadlineError::Io(error)) if error.kind() == io::ErrorKind::InvalidData => {
                    InputEvent::InvalidLine {
                        number: None,
                        problem: InvalidLine::NotUtf8,
                    }
                }
                Err(_) => InputEvent::End,
            };
        };
        if lines.blocking_send(typed).is_err() {
            break;
        }
    }
}

fn read_plain(lines: &mpsc::Sender<InputEvent>, prompts: &std_mpsc::Receiver<String>) {
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
            Some(Err(error)) => InputEvent::Failed(error.into()),
            None => InputEvent::End,
        };
        if lines.blocking_send(typed).is_err() {
            break;
        }
    }
}

/// Completion for the line editor. The editor also calls it each time before it paints the line.
struct CommandHelper {
    known: KnownNames,
    prompt: PaintedPrompt,
    mode: SharedMode,
}

impl CommandHelper {
    fn set_mode(&self, mode: Option<EditorMode>) {
        *self.mode.lock().unwrap_or_else(PoisonError::into_inner) = mode;
    }
}

impl Completer for CommandHelper {
    type Candidate = String;

    fn complete(&self, line: &str, cursor: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        Ok(self.known.complete(&line[..cursor]))
    }
}

impl Hinter for CommandHelper {
    type Hint = String;

    fn hint(&self, line: &str, position: usize, _: &Context<'_>) -> Option<String> {
        self.set_mode(EditorMode::current());
        self.prompt.before_repaint(line, position);
        None
    }
}

impl Highlighter for CommandHelper {}
impl Validator for CommandHelper {}
impl Helper for CommandHelper {}
