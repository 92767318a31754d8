//! The interactive client: a line editor, with events printed above it. Typing and receiving do not
//! block each other.
//!
//! ```text
//! input thread ──lines──► App ──► screen
//! client ───────events──►  │
//!                          └──► actions ──► jobs (requests to the server); each prints its output
//! ```

mod actions;
mod app;
mod command;
mod completion;
mod conversations;
mod editor;
mod editor_mode;
mod input;
mod mentions;
mod own_messages;
mod reactions;
mod read_receipts;
mod resize;
mod screen;
mod script;
mod sent_texts;
mod state;
mod typing;

use chat_core::client::Receive;
use nix::sys::signal::{SigSet, Signal};

use crate::args::Global;
use crate::failure::{Failure, FailureKind};
use crate::login::LoginMode;
use crate::output::Output;
use crate::session::{DEFAULT_TIMEOUT, Session};
use crate::signals::StopSignals;
use crate::terminal::TerminalGuard;

use app::App;

/// Runs until the user quits, the input ends, the session ends, or a signal arrives.
pub(crate) async fn run(global: &Global, output: &mut Output) -> Result<(), Failure> {
    block_suspension();
    // Restores the mode of the terminal at the end. If Ctrl-Z suspends the client while `App` ends,
    // the line editor may change the mode after `App` has restored it.
    let _guard = TerminalGuard::new();
    let mut session = Session::connect(global, LoginMode::Automatic, Receive::FromCursor, output).await?;
    let Some(mut events) = session.client.events() else {
        return Err(Failure::new(
            FailureKind::Failed,
            "the events of this client have been taken already",
        ));
    };
    let agent = session.share();
    let line_timeout = global.timeout_or(DEFAULT_TIMEOUT);
    let mut signals = StopSignals::install()?;
    let app = App::new(&session, line_timeout, *output)?;
    let result = app.run(&mut events, &mut signals).await;
    // The following calls may wait for the server, but a signal ends the process at once.
    signals.let_end_process();
    drop(agent);
    session.report_outcomes_in(events);
    match &result {
        Err(failure) if matches!(failure.kind, FailureKind::Stopped(_)) => session.close().await,
        _ => session.finish().await,
    }
    result
}

/// Lets only the thread that reads the terminal take the signal of Ctrl-Z, which stops the process.
/// On Ctrl-Z, the line editor restores the mode of the terminal, sends the signal, and once the
/// process continues, sets its own mode and prints the prompt again. If another thread took the
/// signal, the editor could set its own mode before the process stops, and the shell would get this
/// mode. Threads that are started later inherit the setting.
fn block_suspension() {
    if input::is_at_terminal() {
        let _ = suspension().thread_block(); // fails only for an invalid set of signals
    }
}

/// Returns the set with the signal of Ctrl-Z only.
fn suspension() -> SigSet {
    SigSet::from(Signal::SIGTSTP)
}
