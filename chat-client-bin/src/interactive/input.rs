//! Reads input lines from a terminal through a line editor, or from any other standard input.

use std::io::{self, IsTerminal as _};
use std::sync::mpsc as std_mpsc;

use rustyline::{
    CompletionType, Config, Context, Editor, Helper, completion::Completer, error::ReadlineError,
    highlight::Highlighter, hint::Hinter, history::MemHistory, validate::Validator,
};
use tokio::sync::mpsc;

use crate::failure::Failure;
use crate::lines::{InvalidLine, Lines};

use super::completion::KnownNames;
use super::screen::Screen;

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
    /// The next prompt. Dropping the sender ends the reading thread.
    prompts: std_mpsc::SyncSender<String>,
    /// `true` if a user types in the line editor, `false` if lines are read as from a file.
    pub(super) is_terminal: bool,
    /// `true` if a file or pipe is read, `false` if a user types, with or without the line editor.
    pub(super) is_script: bool,
}

impl Input {
    /// Starts the reading thread. Output must go to the returned screen, so that it does not garble
    /// the line being typed.
    pub(super) fn start(known: &KnownNames) -> (Self, Screen) {
        let (line_sender, lines) = mpsc::channel(16);
        let (prompts, prompt_receiver) = std_mpsc::sync_channel(1);
        let has_terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
        // A terminal that the editor does not support is read like a file.
        let editor = if has_terminal { new_editor(known).ok() } else { None };
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
            is_terminal,
            is_script: !io::stdin().is_terminal(),
        };
        (input, screen)
    }

    /// Lets the thread print `prompt` and read the next line.
    pub(super) fn prompt(&self, prompt: String) {
        let _ = self.prompts.try_send(prompt); // fails if a prompt is queued, or the input has ended
    }

    /// Waits for the next event. Returns `None` after the input has ended. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<InputEvent> {
        self.lines.recv().await
    }
}

type LineEditor = Editor<CommandHelper, MemHistory>;

fn new_editor(known: &KnownNames) -> io::Result<(LineEditor, Screen)> {
    // The history is kept in memory only: typed messages are private.
    let config = Config::builder()
        .auto_add_history(true)
        .completion_type(CompletionType::List)
        .build();
    let mut editor = LineEditor::with_history(config, MemHistory::new()).map_err(io::Error::other)?;
    editor.set_helper(Some(CommandHelper { known: known.clone() }));
    let printer = editor.create_external_printer().map_err(io::Error::other)?;
    Ok((editor, Screen::above_the_prompt(printer)))
}

fn read_with_editor(mut editor: LineEditor, lines: &mpsc::Sender<InputEvent>, prompts: &std_mpsc::Receiver<String>) {
    while let Ok(prompt) = prompts.recv() {
        let typed = loop {
            break match editor.readline(&prompt) {
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

/// Completion for the line editor.
struct CommandHelper {
    known: KnownNames,
}

impl Completer for CommandHelper {
    type Candidate = String;

    fn complete(&self, line: &str, cursor: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        Ok(self.known.complete(&line[..cursor]))
    }
}

impl Hinter for CommandHelper {
    type Hint = String;
}

impl Highlighter for CommandHelper {}
impl Validator for CommandHelper {}
impl Helper for CommandHelper {}
