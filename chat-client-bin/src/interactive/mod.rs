//! Chatting: one line of input, what arrives above it. Typing and receiving do not wait for each other.
//!
//! ```text
//! input thread ──lines──► App ──► screen
//! client ───────events──►  │
//!                          └──► jobs (what the server is asked), each printing when it is done
//! ```

mod actions;
mod app;
mod command;
mod completion;
mod input;
mod rooms;
mod screen;

use chat_core::client::Receive;

use crate::args::Global;
use crate::failure::{Failure, Kind};
use crate::output::Output;
use crate::session::{How, Session};

use app::App;

/// Runs until the person leaves, the input ends, or the session does.
pub(crate) async fn run(global: &Global, output: &mut Output) -> Result<(), Failure> {
    let session = Session::connect(global, How::AsIs, Receive::FromCursor, output).await?;
    let Some(events) = session.client.events() else {
        return Err(Failure::new(Kind::Failed, "somebody else listens"));
    };
    let agent = session.share();
    let ended = App::new(&session, *output)?.run(events).await;
    drop(agent);
    session.finish().await;
    ended
}
