//! listen: what arrives, each once, as long as it is wanted.

use std::{future::pending, time::Duration};

use chat_core::client::{ClientEvent, Delivery, Events, Receive, Received, SendOutcome};
use chat_core::model::EventBody;
use tokio::time::{Instant, sleep_until};

use crate::args::{Global, Listen};
use crate::failure::{Failure, Kind};
use crate::output::{Output, Place};
use crate::session::{How, Session};

use super::event_line;

/// Why listening ends.
enum End {
    Enough,
    TimeIsUp,
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
    let session = Session::connect(global, How::AsIs, receive, output).await?;
    let Some(mut events) = session.client.events() else {
        return Err(Failure::new(Kind::Failed, "somebody else listens"));
    };
    let agent = session.share();
    let mut printed = 0;
    let end = print_all(&session, &mut events, args, deadline, &mut printed, output).await;
    drop(agent);
    session.finish().await;
    match (end?, args.count) {
        (End::TimeIsUp, Some(count)) => {
            let text = format!("{printed} of {count} events came in time");
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
    let time_is_up = async {
        match deadline {
            Some(deadline) => sleep_until(deadline).await,
            None => pending().await,
        }
    };
    let interrupted = tokio::signal::ctrl_c();
    tokio::pin!(time_is_up, interrupted);
    loop {
        // What has arrived is printed before the time counts.
        let received = tokio::select! {
            biased;
            received = events.next() => received,
            _ = &mut interrupted => return Ok(End::Interrupted),
            () = &mut time_is_up => return Ok(End::TimeIsUp),
        };
        let Some(received) = received else {
            return Err(Failure::new(Kind::Failed, "the client ended"));
        };
        if print_one(session, &received, args, output).await? {
            *printed += 1;
        }
        // Only now: a line that was not written comes again with the next run.
        received.done();
        if args.count.is_some_and(|count| *printed >= count) {
            return Ok(End::Enough);
        }
    }
}

/// Prints what is to be printed; true if it counts.
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
        ClientEvent::HistoryReset => output.note("the server's history is another one; it begins anew"),
        ClientEvent::Rewound { conversation, to } => {
            let place = Place::of(conversation).label();
            output.note(&format!(
                "{place} went back: what came after {to} is void, and comes as it is now"
            ));
        }
        ClientEvent::Truncated { from, to, .. } => output.note(&format!("events {from} to {to} are gone")),
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

/// Inbox and members have commands of their own; who listens wants to hear what is said.
fn is_wanted(args: &Listen, delivery: &Delivery) -> bool {
    let own = !delivery.own || args.own || args.from_start;
    let said = matches!(
        delivery.body,
        EventBody::Message(_) | EventBody::Edit { .. } | EventBody::Recall { .. } | EventBody::Reaction { .. }
    );
    own && (said || args.all)
}
