//! The command `listen`: prints events as they arrive.

use std::{
    future::pending,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use chat_core::client::{ClientEvent, Delivery, Events, Receive, Received};
use chat_core::model::{ConversationRef, EventBody};
use tokio::time::{Instant, sleep_until};

use crate::args::{Global, Listen, group_ref, user_ref};
use crate::failure::{Failure, Kind};
use crate::login::LoginMode;
use crate::outbox;
use crate::output::{ConversationName, Output, describe_retry, describe_truncation};
use crate::session::{Session, event_line};
use crate::signals::StopSignals;

/// Conversation and time of the events to print.
struct Filter {
    conversation: Option<ConversationRef>,
    /// Earliest time, in milliseconds since 1970.
    since: Option<i64>,
}

impl Filter {
    fn of(args: &Listen) -> Result<Self, Failure> {
        let conversation = match (&args.peer, &args.group) {
            (Some(peer), _) => Some(ConversationRef::Direct(user_ref(peer)?)),
            (_, Some(group)) => Some(group_ref(group)?),
            _ => None,
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let since = args.since.map(|ago| {
            let since = now.as_millis().saturating_sub(ago.into());
            i64::try_from(since).unwrap_or(i64::MAX)
        });
        Ok(Self { conversation, since })
    }

    /// Returns whether an event belongs to the conversation.
    fn includes(&self, session: &Session, delivery: &Delivery) -> bool {
        let Some(wanted) = &self.conversation else { return true };
        let found = session.client.find_conversation(wanted);
        found.is_some_and(|found| found.id == delivery.conversation.id)
    }

    fn is_recent(&self, delivery: &Delivery) -> bool {
        self.since.is_none_or(|since| delivery.event.event.time.0 >= since)
    }
}

/// Reason why listening ended.
enum End {
    Complete,
    TimedOut,
    Stopped,
}

pub(super) async fn listen(global: &Global, args: &Listen, output: &mut Output) -> Result<(), Failure> {
    let filter = Filter::of(args)?;
    let receive = if args.from_start || filter.since.is_some() {
        Receive::FromBeginning
    } else {
        Receive::FromCursor
    };
    let deadline = global
        .timeout
        .map(|seconds| Instant::now() + Duration::from_secs_f64(seconds));
    // The timeout is that of listening, not of connecting.
    let connecting = Global {
        timeout: None,
        ..global.clone()
    };
    let mut session = Session::connect(&connecting, LoginMode::Automatic, receive, output).await?;
    let Some(mut events) = session.client.events() else {
        return Err(Failure::new(
            Kind::Failed,
            "the events of this client have been taken already",
        ));
    };
    let mut signals = StopSignals::install()?;
    let agent = session.share();
    let mut printed = 0;
    let end = print_all(
        &session,
        &mut events,
        (args, &filter),
        deadline,
        (&mut signals, &mut printed),
        output,
    )
    .await;
    drop(agent);
    session.report_outcomes_in(events);
    session.finish().await;
    match (end?, args.count) {
        (End::TimedOut, Some(count)) => {
            let text = format!("{printed} of {count} events arrived before the timeout");
            Err(Failure::new(Kind::Timeout, text))
        }
        _ => Ok(()),
    }
}

/// Prints events and adds their number to `printed`, until the count is reached, the deadline has
/// passed or a signal asks to end.
async fn print_all(
    session: &Session,
    events: &mut Events,
    (args, filter): (&Listen, &Filter),
    deadline: Option<Instant>,
    (signals, printed): (&mut StopSignals, &mut u64),
    output: &mut Output,
) -> Result<End, Failure> {
    let timed_out = async {
        match deadline {
            Some(deadline) => sleep_until(deadline).await,
            None => pending().await,
        }
    };
    tokio::pin!(timed_out);
    loop {
        // Events that have arrived are printed before the timeout applies.
        let received = tokio::select! {
            biased;
            received = events.next() => received,
            _ = signals.next() => return Ok(End::Stopped),
            () = &mut timed_out => return Ok(End::TimedOut),
        };
        let Some(received) = received else {
            return Err(Failure::new(Kind::Failed, "the client has ended"));
        };
        if matches!(&received.event, ClientEvent::Event(delivery) if !filter.includes(session, delivery)) {
            continue; // another run prints it
        }
        if print_received(session, &received, (args, filter), output).await? {
            *printed += 1;
        }
        let caught_up = matches!(received.event, ClientEvent::CaughtUp);
        // The event is acknowledged after printing, so that the next run prints a line that could
        // not be written.
        received.done();
        if args.count.is_some_and(|count| *printed >= count) || (args.new && caught_up) {
            return Ok(End::Complete);
        }
    }
}

/// Prints an event that the arguments select, or a notice about the client. Returns `true` for a
/// printed event, which counts for `--count`.
async fn print_received(
    session: &Session,
    received: &Received,
    (args, filter): (&Listen, &Filter),
    output: &mut Output,
) -> Result<bool, Failure> {
    match &received.event {
        ClientEvent::Event(delivery) if is_selected(args, delivery) && filter.is_recent(delivery) => {
            let line = event_line(&session.client, &delivery.conversation, &delivery.event, &delivery.body).await;
            output.print(&line)?;
            return Ok(true);
        }
        ClientEvent::Disconnected { reason, retry_in } => {
            output.notice("disconnected", &describe_retry(reason, *retry_in));
        }
        ClientEvent::StoreReset => output.notice(
            "store_reset",
            "the server was restored from a backup; its current events follow, and some may be printed again",
        ),
        ClientEvent::Rewound { conversation, to } => {
            let name = ConversationName::of(conversation).label();
            output.notice("rewound", &format!(
                "the server was restored from a backup: the printed events of {name} after #{to} no longer exist; the current events follow"
            ));
        }
        ClientEvent::Truncated { conversation, from, to } => {
            output.notice("truncated", &describe_truncation(conversation, *from, *to));
        }
        ClientEvent::Settled {
            id,
            conversation,
            outcome,
        } => outbox::report(&session.client, *id, conversation, outcome, *output),
        ClientEvent::Ended(reason) => return Err(reason.clone().into()),
        _ => {}
    }
    Ok(false)
}

/// Returns `true` for an event that `listen` prints: messages, edits, recalls and reactions, or
/// with `--all` every event. Events that this device sent need `--own` or `--from-start`.
fn is_selected(args: &Listen, delivery: &Delivery) -> bool {
    let is_sender_selected = !delivery.own || args.own || args.from_start;
    let is_message = matches!(
        delivery.body,
        EventBody::Message(_) | EventBody::Edit { .. } | EventBody::Recall { .. } | EventBody::Reaction { .. }
    );
    is_sender_selected && (is_message || args.all)
}
