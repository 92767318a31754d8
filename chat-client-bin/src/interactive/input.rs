//! Lines of input: from a terminal with an editor, or from wherever stdin comes.

use std::io::{self, IsTerminal as _};
use std::sync::mpsc as std_mpsc;

use rustyline::{
    CompletionType, Config, Context, Editor, Helper, completion::Completer, error::ReadlineError,
    highlight::Highlighter, hint::Hinter, history::MemHistory, validate::Validator,
};
use tokio::sync::mpsc;

use crate::failure::Failure;
use crate::lines::Lines;

use super::completion::Known;
use super::screen::Screen;

/// Something typed.
#[derive(Debug)]
pub(super) enum Typed {
    Line(String),
    /// A line that is no text.
    NotText(Failure),
    /// Ctrl-C: forget what was typed; twice in a row: leave.
    Interrupt,
    End,
    /// Nothing more can be read.
    Broken(Failure),
}

/// Lines as they come, and the way to let the editor go on.
#[derive(Debug)]
pub(super) struct Input {
    lines: mpsc::Receiver<Typed>,
    /// The next prompt. Dropping it ends the editor's thread.
    prompts: std_mpsc::SyncSender<String>,
    /// Somebody types, as opposed to a file being read.
    pub(super) is_terminal: bool,
}

impl Input {
    /// Starts reading. Output goes to the screen that comes with it, so that neither disturbs the other.
    pub(super) fn start(known: &Known) -> (Self, Screen) {
        let (line_sender, lines) = mpsc::channel(16);
        let (prompts, prompt_receiver) = std_mpsc::sync_channel(1);
        let people = io::stdin().is_terminal() && io::stdout().is_terminal();
        // A dumb terminal has no editor, and is read like a file.
        let editor = if people { editor(known).ok() } else { None };
        let is_terminal = editor.is_some();
        let screen = match editor {
            Some((editor, screen)) => {
                std::thread::spawn(move || edit(editor, &line_sender, &prompt_receiver));
                screen
            }
            None => {
                std::thread::spawn(move || read(&line_sender, &prompt_receiver));
                Screen::stdout()
            }
        };
        let input = Self {
            lines,
            prompts,
            is_terminal,
        };
        (input, screen)
    }

    /// Lets the next line be typed, after this prompt.
    pub(super) fn prompt(&self, prompt: String) {
        let _ = self.prompts.try_send(prompt); // the thread is gone once the input has ended
    }

    /// Waits for a line. `None`: the input has ended.
    pub(super) async fn next(&mut self) -> Option<Typed> {
        self.lines.recv().await
    }
}

type LineEditor = Editor<Words, MemHistory>;

fn editor(known: &Known) -> io::Result<(LineEditor, Screen)> {
    // What was typed stays in memory: it may be private.
    let config = Config::builder()
        .auto_add_history(true)
        .completion_type(CompletionType::List)
        .build();
    let mut editor = LineEditor::with_history(config, MemHistory::new()).map_err(io::Error::other)?;
    editor.set_helper(Some(Words { known: known.clone() }));
    let printer = editor.create_external_printer().map_err(io::Error::other)?;
    Ok((editor, Screen::above_the_prompt(printer)))
}

fn edit(mut editor: LineEditor, lines: &mpsc::Sender<Typed>, prompts: &std_mpsc::Receiver<String>) {
    while let Ok(prompt) = prompts.recv() {
        let typed = loop {
            break match editor.readline(&prompt) {
                Ok(line) => Typed::Line(line),
                Err(ReadlineError::Interrupted) => Typed::Interrupt,
                Err(ReadlineError::Signal(_)) => continue, // the window has another size
                Err(ReadlineError::Io(error)) if error.kind() == io::ErrorKind::InvalidData => {
                    Typed::NotText(Failure::usage("that was not UTF-8"))
                }
                Err(_) => Typed::End,
            };
        };
        if lines.blocking_send(typed).is_err() {
            break;
        }
    }
}

fn read(lines: &mpsc::Sender<Typed>, prompts: &std_mpsc::Receiver<String>) {
    let mut input = Lines::of(io::stdin().lock());
    while prompts.recv().is_ok() {
        let typed = match input.next() {
            Some(Ok(line)) => match line.text {
                Ok(text) => Typed::Line(text),
                Err(problem) => Typed::NotText(Failure::usage(problem).at_line(line.number)),
            },
            Some(Err(error)) => Typed::Broken(error.into()),
            None => Typed::End,
        };
        if lines.blocking_send(typed).is_err() {
            break;
        }
    }
}

/// What the editor knows of our commands.
struct Words {
    known: Known,
}

impl Completer for Words {
    type Candidate = String;

    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        Ok(self.known.complete(&line[..at]))
    }
}

impl Hinter for Words {
    type Hint = String;
}

impl Highlighter for Words {}
impl Validator for Words {}
impl Helper for Words {}
