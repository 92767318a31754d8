//! The command `listen`: prints events as they arrive, each once.

use std::{future::pending, time::Duration};

use chat_core::client::{ClientEvent, Delivery, Events, Receive, Received, SendOutcome};
use chat_core::model::EventBody;
use tokio::time::{Instant, sleep_until};

use crate::args::{Global, Listen};
use crate::failure::{Failure, Kind};
use crate::output::{ConversationName, Output};
use crate::session::{LoginMode, Session};

use crate::session::event_line;

/// Reason why listening ended.
enum End {
    CountReached,
    TimedOut,
    Interrupted,
}

pub(super) async fn listen(global: &Global, args: &Listen, output: &mut Output) -> Result<(), Failure> {
    let receive = if args.from_start {
        Receive::FromBeginning
    } else {
        Receive::FromCursor
    };
    let deadline = args
        .timeout
        .map(|seconds| Instant::now() + Duration::from_secs_f64(seconds));
    let session = Session::connect(global, LoginMode::Automatic, receive, output).await?;
    let Some(mut events) = session.client.events() else {
        return Err(Failure::new(
            Kind::Failed,
            "the events of this client have been taken already",
        ));
    };
    let agent = session.share();
    let mut printed = 0;
    let end = print_all(&session, &mut events, args, deadline, &mut printed, output).await;
    drop(agent);
    session.finish().await;
    match (end?, args.count) {
        (End::TimedOut, Some(count)) => {
            let text = format!("{printed} of {count} events arrived before the timeout");
            Err(Failure::new(Kind::Timeout, text))
        }
        _ => Ok(()),
    }
}

async fn print_all(
    session: &Session,
    events: &mut Events,
    args: &Listen,
    deadline: Option<Instant>,
    printed: &mut u64,
    output: &mut Output,
) -> Result<End, Failure> {
    let timed_out = async {
        match deadline {
            Some(deadline) => sleep_until(deadline).await,
            None => pending().await,
        }
    };
    let interrupted = tokio::signal::ctrl_c();
    tokio::pin!(timed_out, interrupted);
    loop {
        // Events that have arrived are printed before the timeout applies.
        let received = tokio::select! {
            biased;
            received = events.next() => received,
            _ = &mut interrupted => return Ok(End::Interrupted),
            () = &mut timed_out => return Ok(End::TimedOut),
        };
        let Some(received) = received else {
            return Err(Failure::new(Kind::Failed, "the client has ended"));
        };
        if print_one(session, &received, args, output).await? {
            *printed += 1;
        }
        // Acknowledged after printing: a line that was not written is printed by the next run.
        received.done();
        if args.count.is_some_and(|count| *printed >= count) {
            return Ok(End::CountReached);
        }
    }
}

/// Prints an event if the arguments ask for it. Returns `true` if it counts for `--count`.
async fn print_one(
    session: &Session,
    received: &Received,
    args: &Listen,
    output: &mut Output,
) -> Result<bool, Failure> {
    match &received.event {
        ClientEvent::Event(delivery) if is_wanted(args, delivery) => {
            let line = event_line(&session.client, &delivery.conversation, &delivery.event, &delivery.body).await;
            output.print(&line)?;
            return Ok(true);
        }
        ClientEvent::Disconnected { reason, retry_in } => {
            output.note(&format!(
                "{reason}; trying again in {} s",
                retry_in.as_secs_f32().ceil()
            ));
        }
        ClientEvent::HistoryReset => {
            output.note("the store of the server was replaced; reading the whole history again")
        }
        ClientEvent::Rewound { conversation, to } => {
            let name = ConversationName::of(conversation).label();
            output.note(&format!(
                "{name} was rewound to {to} by a restore; later events are void and are read again"
            ));
        }
        ClientEvent::Truncated { from, to, .. } => output.note(&format!("events {from} to {to} are no longer stored")),
        ClientEvent::Settled {
            outcome: SendOutcome::Rejected(reason),
            ..
        } => {
            output.note(&format!("a message of an earlier run was refused: {reason}"));
        }
        ClientEvent::Ended(reason) => return Err(reason.clone().into()),
        _ => {}
    }
    Ok(false)
}

/// Returns `true` for messages and their changes, and with `--all` for every event: inbox and
/// members have commands of their own.
fn is_wanted(args: &Listen, delivery: &Delivery) -> bool {
    let own = !delivery.own || args.own || args.from_start;
    let is_message = matches!(
        delivery.body,
        EventBody::Message(_) | EventBody::Edit { .. } | EventBody::Recall { .. } | EventBody::Reaction { .. }
    );
    own && (is_message || args.all)
}
