//! The line editor of a terminal.

use std::borrow::Cow;
use std::io::{self, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc as std_mpsc;
use std::time::{Duration, Instant};

use chat_core::model::Secret;
use chat_core::sync::Mutex;
use rustyline::{
    ColorMode, CompletionType, Config, Context, Editor, Helper,
    completion::Completer,
    config::Configurer as _,
    error::ReadlineError,
    highlight::{CmdKind, Highlighter},
    hint::Hinter,
    history::MemHistory,
    validate::{ValidationContext, ValidationResult, Validator},
};
use tokio::sync::mpsc;
use unicode_width::UnicodeWidthChar as _;

use crate::lines::InvalidLine;
use crate::output::Style;
use crate::terminal::EditorMode;

use super::command::is_message;
use super::completion::KnownNames;
use super::editor_mode::SharedEditorMode;
use super::input::{InputEvent, Prompt, PromptKind};
use super::resize::PaintedPrompt;
use super::screen::{PrintGuard, PrintLock, Screen};
use super::suspension;
use super::typing::{SharedEditorStatus, TypingNotices};

/// Maximum time for which Enter waits for a line that is being printed.
const PAUSE_TIMEOUT: Duration = Duration::from_millis(50);
/// Escape sequence that saves the position of the cursor (DECSC).
const SAVE_CURSOR: &str = "\x1b7";
/// Escape sequence that moves the cursor to the saved position (DECRC).
const RESTORE_CURSOR: &str = "\x1b8";

type LineEditor = Editor<CommandHelper, MemHistory>;

/// Creates the line editor, and the screen that prints above its prompt.
pub(super) fn new_editor(
    known: &KnownNames,
    mode: &SharedEditorMode,
    status: &SharedEditorStatus,
) -> io::Result<(LineEditor, Screen)> {
    // The history is kept in memory only: typed messages are private.
    let config = Config::builder()
        .completion_type(CompletionType::List)
        // Otherwise the editor would not call the highlighter, which hides passwords, if NO_COLOR
        // is set. The highlighter itself adds no colours then.
        .color_mode(ColorMode::Forced)
        .build();
    let mut editor = LineEditor::with_history(config, MemHistory::new()).map_err(io::Error::other)?;
    let printing = PrintLock::default();
    editor.set_helper(Some(CommandHelper {
        known: known.clone(),
        prompt: PaintedPrompt::new(),
        kind: PromptKind::Line { is_open: false },
        mode: mode.clone(),
        printing: printing.clone(),
        print_guard: Mutex::default(),
        typing: Mutex::default(),
        status: status.clone(),
        style: Style::of_stdout(),
        has_ended: AtomicBool::new(false),
        events: None,
    }));
    let printer = editor.create_external_printer().map_err(io::Error::other)?;
    Ok((editor, Screen::above_the_prompt(printer, printing)))
}

/// Reads one line or password for each prompt, until the application ends.
pub(super) fn read_with_editor(
    mut editor: LineEditor,
    events: &mpsc::Sender<InputEvent>,
    prompts: &std_mpsc::Receiver<Prompt>,
) {
    let _ = suspension().thread_unblock(); // fails only for an invalid set of signals
    while let Ok(prompt) = prompts.recv() {
        editor.set_auto_add_history(prompt.kind != PromptKind::Password);
        if let Some(helper) = editor.helper_mut() {
            helper.prompt.start(&prompt.text);
            helper.kind = prompt.kind;
            helper.has_ended.store(false, Ordering::Relaxed);
            helper.events = Some(events.clone());
            let typing = helper.typing.get_mut();
            typing.start();
        }
        let typed = loop {
            if editor.helper().is_some_and(|helper| !helper.mode.may_read()) {
                return;
            }
            let read = editor.readline(&prompt.text);
            if let Some(helper) = editor.helper() {
                helper.mode.store(None);
            }
            break match read {
                Ok(text) if prompt.kind == PromptKind::Password => InputEvent::Password(Secret::new(text)),
                Ok(text) => {
                    if let Some(helper) = editor.helper() {
                        helper.clear_if_sent(&text);
                    }
                    if let PromptKind::Line { is_open } = prompt.kind
                        && is_message(&text, is_open)
                        && let Some(helper) = editor.helper_mut()
                    {
                        helper.typing.get_mut().sent();
                    }
                    InputEvent::Line { number: None, text }
                }
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
        if events.blocking_send(typed).is_err() {
            break;
        }
    }
}

/// Helper of the line editor: completes words, paints the prompt and the line, and notices that the
/// user types. The editor calls [`hint`](Hinter::hint) before it paints a line that the user has
/// changed, and before it paints the line for a terminal of another width.
pub(super) struct CommandHelper {
    /// Names that Tab completes.
    known: KnownNames,
    prompt: PaintedPrompt,
    kind: PromptKind,
    mode: SharedEditorMode,
    printing: PrintLock,
    /// Present from the moment at which Enter ends a line that is sent as a message until the line
    /// is cleared, so that nothing is printed between the line and the cursor. `None` meanwhile if
    /// another line was still being printed.
    print_guard: Mutex<Option<PrintGuard>>,
    typing: Mutex<TypingNotices>,
    status: SharedEditorStatus,
    style: Style,
    /// True once the editor paints the line for the last time, because Enter or Ctrl+D has ended
    /// it. It is painted without the status then.
    has_ended: AtomicBool,
    /// Sender of [`InputEvent::Typing`] and [`InputEvent::MembersWanted`]; `None` until the first
    /// prompt.
    events: Option<mpsc::Sender<InputEvent>>,
}

impl CommandHelper {
    /// Reports that the user is typing, if that is due.
    fn report_typing(&self, line: &str) {
        let mut typing = self.typing.lock();
        if self.kind == (PromptKind::Line { is_open: true })
            && typing.take_due(line, Instant::now())
            && let Some(events) = &self.events
        {
            let _ = events.try_send(InputEvent::Typing); // a notice may be lost
        }
    }

    /// Clears a typed message from the terminal: it is printed as a line of the conversation once
    /// it is stored. Leaves it there if another line may have been printed below it, if the size of
    /// the terminal is unknown, or if the message does not fit into the terminal. Lets other lines
    /// be printed again.
    fn clear_if_sent(&self, line: &str) {
        let guard = self.print_guard.lock().take();
        if guard.is_some()
            && let Some(sequence) = self.prompt.clear_above(line)
        {
            let mut out = io::stdout().lock();
            let _ = out.write_all(sequence.as_bytes()).and_then(|()| out.flush()); // the terminal may have been closed
        }
    }
}

impl Completer for CommandHelper {
    type Candidate = String;

    fn complete(&self, line: &str, cursor: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        if self.kind == PromptKind::Password {
            return Ok((cursor, Vec::new()));
        }
        let line = &line[..cursor];
        if self.known.needs_more_members(line)
            && let Some(events) = &self.events
        {
            let _ = events.try_send(InputEvent::MembersWanted); // the next Tab asks again
        }
        Ok(self.known.complete(line))
    }
}

impl Hinter for CommandHelper {
    type Hint = String;

    fn hint(&self, line: &str, position: usize, _: &Context<'_>) -> Option<String> {
        self.mode.store(EditorMode::of(io::stdin()));
        self.prompt.before_repaint(line, position);
        self.report_typing(line);
        None
    }
}

impl Highlighter for CommandHelper {
    /// Replaces a prompt that names a closed conversation by blanks, up to the `> ` at its end. The
    /// width of the prompt stays the same.
    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(&'s self, prompt: &'p str, _: bool) -> Cow<'b, str> {
        let is_line = matches!(self.kind, PromptKind::Line { .. });
        match prompt.strip_suffix("> ") {
            Some(label) if is_line && self.status.get().is_prompt_stale => Cow::Owned(format!("{}> ", blank(label))),
            _ => Cow::Borrowed(prompt),
        }
    }

    /// Replaces the characters of a password by blanks. Adds the status to a line that is not a
    /// password, unless the line has ended or the status does not fit into the row. The editor does
    /// not know of the status, so the cursor returns to the end of the line.
    fn highlight<'l>(&self, line: &'l str, _: usize) -> Cow<'l, str> {
        if self.kind == PromptKind::Password {
            return Cow::Owned(blank(line));
        }
        let status = self.status.get().text;
        if status.is_empty() || self.has_ended.load(Ordering::Relaxed) {
            return Cow::Borrowed(line);
        }
        let shown = format!("  ({status})");
        if shown.chars().map(|c| c.width().unwrap_or(0)).sum::<usize>() >= self.prompt.room_after(line) {
            return Cow::Borrowed(line);
        }
        Cow::Owned(format!("{line}{SAVE_CURSOR}{}{RESTORE_CURSOR}", self.style.dim(&shown)))
    }

    /// Returns whether each typed character needs the line to be painted again. Otherwise the
    /// editor writes the character itself. Also notices that the line has ended.
    fn highlight_char(&self, _: &str, _: usize, kind: CmdKind) -> bool {
        // The editor paints the line for the last time.
        if kind == CmdKind::ForcedRefresh {
            self.has_ended.store(true, Ordering::Relaxed);
        }
        self.kind == PromptKind::Password || !self.status.get().text.is_empty()
    }
}

impl Validator for CommandHelper {
    /// Accepts every line. The editor calls this when Enter is pressed. If the line is sent as a
    /// message, stops the printing of other lines until it is cleared.
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        if let PromptKind::Line { is_open } = self.kind
            && is_message(context.input(), is_open)
        {
            // If a line is still being printed, it may appear below the typed line, which then
            // stays.
            *self.print_guard.lock() = self.printing.pause(PAUSE_TIMEOUT);
        }
        Ok(ValidationResult::Valid(None))
    }
}

impl Helper for CommandHelper {}

/// Returns blanks that are as wide as `line`.
fn blank(line: &str) -> String {
    let width = line.chars().map(|c| c.width().unwrap_or(0)).sum();
    " ".repeat(width)
}
