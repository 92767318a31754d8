//! The command `listen`: prints events as they arrive.

use std::{
    collections::HashMap,
    future::pending,
    pin::Pin,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use chat_core::client::{ClientError, ClientEvent, Delivery, Events, Receive, Received};
use chat_core::commands::Commands;
use chat_core::model::{ConversationId, ConversationQuery, ConversationRef, EventBody, ReplyCode, Seq, UserRef};
use tokio::time::{Instant, sleep_until, timeout};

use crate::args::{Global, Listen, group_ref, user_ref};
use crate::failure::{Failure, FailureKind};
use crate::login::LoginMode;
use crate::missing::{self, Referents};
use crate::outbox;
use crate::output::{ConversationName, Output, describe_retry, describe_truncation};
use crate::session::{DEFAULT_TIMEOUT, Session, event_line};
use crate::signals::StopSignals;

/// Selection of the events to print, by conversation and time.
struct Filter {
    /// The conversation as the command line names it; `None` for all conversations.
    named: Option<ConversationRef>,
    /// The conversation to look for: as `named`, or by the id of the user if the first message has
    /// yet to create a direct conversation.
    conversation: Option<ConversationRef>,
    /// Id of the conversation, once it is known: its name may change, and the user may leave it.
    id: Option<ConversationId>,
    /// Time before which events that this device has seen are not printed, in milliseconds since
    /// 1970; `None` prints them all.
    since: Option<i64>,
    /// Last event of each conversation that this device had acknowledged to the server at the
    /// start. Conversations that are missing are new.
    seen: HashMap<ConversationId, Seq>,
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
        Ok(Self {
            named: conversation.clone(),
            conversation,
            id: None,
            since,
            seen: HashMap::new(),
        })
    }

    /// Looks up the conversation and the cursors of this device, before any event is read.
    ///
    /// # Errors
    /// The group or the user does not exist, or the server does not answer in time.
    async fn resolve(&mut self, session: &Session) -> Result<(), Failure> {
        let all = ConversationQuery {
            limit: ConversationQuery::MAX_LIMIT,
            include_ended: true,
            ..ConversationQuery::default()
        };
        let conversations = async { Ok(session.client.conversations_from(all).await?) };
        let conversations = session.within(conversations).await?;
        self.seen = conversations.iter().map(|info| (info.id, info.cursor)).collect();
        let Some(wanted) = self.conversation.clone() else {
            return Ok(());
        };
        let found = async { Ok(session.client.conversation(wanted.clone()).await) };
        match (session.within(found).await?, wanted) {
            (Ok(info), _) => self.id = Some(info.id),
            // The first message creates a direct conversation.
            (Err(ClientError::Refused(refused)), ConversationRef::Direct(user))
                if refused.code() == Some(ReplyCode::NotFound) =>
            {
                let users = async { Ok(session.client.users([user.clone()]).await?) };
                let Some(found) = session.within(users).await?.pop() else {
                    return Err(Failure::new(
                        FailureKind::Refused,
                        missing::no_user(&session.client, &user),
                    ));
                };
                self.conversation = Some(ConversationRef::Direct(UserRef::Id(found.id)));
            }
            (Err(error), wanted) => {
                let referents = Referents::conversation(&wanted);
                return session
                    .within(async { Err(referents.explain(&session.client, error).await) })
                    .await;
            }
        }
        Ok(())
    }

    /// Forgets ids and cursors: the server was restored from a backup, and may use them for other
    /// conversations and events.
    fn forget(&mut self) {
        self.conversation.clone_from(&self.named);
        self.id = None;
        self.seen.clear();
    }

    /// Returns whether an event belongs to the conversation that the command line names, or `true`
    /// if it names none. Keeps the id of the conversation once it is known.
    fn includes(&mut self, session: &Session, delivery: &Delivery) -> bool {
        let Some(wanted) = &self.conversation else { return true };
        if self.id.is_none() {
            self.id = session.client.find_conversation(wanted).map(|found| found.id);
        }
        self.id == Some(delivery.conversation.id)
    }

    /// Returns whether an event is recent, or was not seen before. An unseen event is printed
    /// however old it is: this run acknowledges it, so no later run would print it.
    fn is_recent_or_unseen(&self, delivery: &Delivery) -> bool {
        let seen = self.seen.get(&delivery.conversation.id).copied().unwrap_or(Seq::ZERO);
        self.since.is_none_or(|since| delivery.event.event.time.0 >= since) || delivery.seq() > seen
    }
}

/// Maximum time to finish the line that is being printed when listening ends.
const PRINT_GRACE: Duration = Duration::from_millis(200);

/// Reason why listening ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// `--count` events were printed, or with `--new` all events that the device had not seen.
    Complete,
    /// The deadline has passed.
    TimedOut,
    /// A signal asked to end.
    Stopped,
}

pub(super) async fn listen(global: &Global, args: &Listen, output: &mut Output) -> Result<(), Failure> {
    let mut filter = Filter::of(args)?;
    let receive = if args.from_start || filter.since.is_some() {
        Receive::FromBeginning
    } else {
        Receive::FromCursor
    };
    let deadline = global
        .timeout
        .map(|seconds| Instant::now() + Duration::from_secs_f64(seconds));
    // The timeout is that of listening. Connecting takes no longer than in other commands.
    let connecting = Global {
        timeout: global.timeout.map(|seconds| seconds.min(DEFAULT_TIMEOUT.as_secs_f64())),
        ..global.clone()
    };
    let mut session = Session::start(&connecting, LoginMode::Automatic, receive, output).await?;
    let mut signals = StopSignals::install()?;
    let starting = async {
        session.ready().await?;
        filter.resolve(&session).await
    };
    // `Err(None)` stands for a signal, at which the command ends without a failure.
    let started = tokio::select! {
        biased;
        _ = signals.next() => Err(None),
        started = starting => started.map_err(Some),
    };
    if let Err(failure) = started {
        session.close().await;
        return failure.map_or(Ok(()), Err);
    }
    let Some(mut events) = session.client.events() else {
        return Err(Failure::new(
            FailureKind::Failed,
            "the events of this client have been taken already",
        ));
    };
    let agent = session.share();
    let mut printed = 0;
    let end = print_all(
        &session,
        &mut events,
        (args, &mut filter),
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
            Err(Failure::new(FailureKind::Timeout, text))
        }
        _ => Ok(()),
    }
}

/// Prints and acknowledges events, and adds the number of the printed ones to `printed`, until the
/// count is reached, with `--new` all unseen events are printed, the deadline has passed or a
/// signal asks to end.
async fn print_all(
    session: &Session,
    events: &mut Events,
    (args, filter): (&Listen, &mut Filter),
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
    // Watches a copy, because `output` is borrowed mutably for each line.
    let watched = *output;
    let closing = watched.closed();
    tokio::pin!(closing);
    loop {
        let next = async {
            tokio::select! {
                biased;
                received = events.next() => Ok(received),
                failure = &mut closing => Err(failure),
            }
        };
        let received = match run_until_end(signals, timed_out.as_mut(), next).await {
            Ok(received) => received?,
            Err(end) => return Ok(end),
        };
        let Some(received) = received else {
            return Err(Failure::new(FailureKind::Failed, "the client has ended"));
        };
        if matches!(&received.event, ClientEvent::Event(delivery) if !filter.includes(session, delivery)) {
            continue; // another run prints it
        }
        let handling = print_received(session, &received, (args, filter), output);
        tokio::pin!(handling);
        let (is_printed, end) = match run_until_end(signals, timed_out.as_mut(), handling.as_mut()).await {
            Ok(is_printed) => (is_printed?, None),
            Err(end) => match timeout(PRINT_GRACE, handling).await {
                Ok(is_printed) => (is_printed?, Some(end)),
                // The event is not acknowledged, so that the next run prints it.
                Err(_) => return Ok(end),
            },
        };
        *printed += u64::from(is_printed);
        let caught_up = matches!(received.event, ClientEvent::CaughtUp);
        // The event is acknowledged after printing, so that the next run prints a line that could
        // not be written.
        received.done();
        if args.count.is_some_and(|count| *printed >= count) || (args.new && caught_up) {
            return Ok(End::Complete);
        }
        if let Some(end) = end {
            return Ok(end);
        }
    }
}

/// Runs `work` until it is done, a signal asks to end, or the deadline has passed. Work that can be
/// done at once, such as printing an event that has arrived, comes before the deadline, but not
/// before a signal.
async fn run_until_end<T>(
    signals: &mut StopSignals,
    timed_out: Pin<&mut impl Future<Output = ()>>,
    work: impl Future<Output = T>,
) -> Result<T, End> {
    tokio::select! {
        biased;
        _ = signals.next() => Err(End::Stopped),
        done = work => Ok(done),
        () = timed_out => Err(End::TimedOut),
    }
}

/// Prints an event that the arguments select, or a notice about the client. Returns `true` for a
/// printed event, which counts for `--count`.
async fn print_received(
    session: &Session,
    received: &Received,
    (args, filter): (&Listen, &mut Filter),
    output: &mut Output,
) -> Result<bool, Failure> {
    match &received.event {
        ClientEvent::Event(delivery) if is_selected(args, delivery) && filter.is_recent_or_unseen(delivery) => {
            let line = event_line(&session.client, &delivery.conversation, &delivery.event, &delivery.body).await;
            output.print_in_background(&line).await?;
            return Ok(true);
        }
        ClientEvent::Disconnected { reason, retry_in } => {
            output.notice("disconnected", &describe_retry(reason, *retry_in));
        }
        ClientEvent::StoreReplaced => {
            filter.forget();
            output.notice(
                "store_replaced",
                "the server was restored from a backup; its current events follow, and some may be printed again",
            );
        }
        ClientEvent::Rewound { conversation, to } => {
            filter
                .seen
                .entry(conversation.id)
                .and_modify(|seen| *seen = *to.min(seen));
            let name = ConversationName::of(conversation).label();
            output.notice("rewound", &format!(
                "the server was restored from a backup: the printed events of {name} after #{to} may no longer exist; the current events follow"
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
    let is_sender_selected = !delivery.is_from_this_device || args.own || args.from_start;
    let is_message = matches!(
        delivery.body,
        EventBody::Message(_) | EventBody::Edit { .. } | EventBody::Recall { .. } | EventBody::Reaction { .. }
    );
    is_sender_selected && (is_message || args.all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::signal::{Signal, raise};

    /// An event may wait for the name of a user while the server is away.
    #[tokio::test]
    async fn signal_and_deadline_end_the_handling_of_an_event() {
        let mut signals = StopSignals::install().unwrap();
        let timed_out = std::pin::pin!(async {});
        let end = run_until_end(&mut signals, timed_out, pending::<()>()).await;
        assert_eq!(end, Err(End::TimedOut));
        raise(Signal::SIGTERM).unwrap();
        let never = std::pin::pin!(pending());
        let end = run_until_end(&mut signals, never, pending::<()>()).await;
        assert_eq!(end, Err(End::Stopped));
        let timed_out = std::pin::pin!(async {});
        let end = run_until_end(&mut signals, timed_out, async { "printed" }).await;
        assert_eq!(end, Ok("printed"));
    }
}
