//! Reports the outcomes of messages for which nothing waits, such as those that earlier runs of the
//! client left in the outbox, and the number of messages that this run leaves there.

use std::sync::Arc;

use chat_core::client::{Client, ClientError, ClientEvent, Events, SendOutcome};
use chat_core::model::{ClientMessageId, ConversationRef, ReplyCode, UserRef};
use chat_core::sync::Mutex;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::missing;
use crate::output::{ConversationName, Output, single_line};

/// Task that reports outcomes until the client has ended.
#[derive(Debug)]
pub(crate) struct Reporter {
    task: JoinHandle<()>,
    last_problem: Arc<Mutex<Option<ClientError>>>,
}

impl Reporter {
    /// Starts to report the outcomes among `events`. Other events are not acknowledged, so a later
    /// run receives them.
    pub(crate) fn start(client: Client, mut events: Events, output: Output) -> Self {
        let last_problem = Arc::<Mutex<_>>::default();
        let problem = Arc::clone(&last_problem);
        let task = tokio::spawn(async move {
            while let Some(received) = events.next().await {
                match &received.event {
                    ClientEvent::Settled {
                        id,
                        conversation,
                        outcome,
                    } => report(&client, *id, conversation, outcome, output),
                    ClientEvent::Disconnected { reason, .. } => {
                        *problem.lock() = Some(reason.clone());
                    }
                    _ => {}
                }
            }
        });
        Self { task, last_problem }
    }

    /// Returns why the last connection or attempt to connect failed, or `None` if none has failed
    /// since this task started.
    pub(crate) fn last_problem(&self) -> Option<ClientError> {
        self.last_problem.lock().clone()
    }

    /// Waits until the outcomes of a client that has ended are reported.
    pub(crate) async fn finish(self) {
        let _ = self.task.await; // a panic is printed
    }
}

/// Reports the outcome of a message to standard error.
pub(crate) fn report(
    client: &Client,
    id: ClientMessageId,
    conversation: &ConversationRef,
    outcome: &SendOutcome,
    output: Output,
) {
    let (text, mut notice) = describe(client, conversation, outcome);
    notice["client_message_id"] = id.to_string().into();
    if let Some(name) = name_of(client, conversation, outcome) {
        notice["conversation"] = json!(name);
    }
    output.outbox(&text, notice);
}

/// Reports the number of messages that stay in the outbox, if there are any.
pub(crate) fn report_unsettled(client: &Client, output: Output) {
    let count = client.unsettled();
    if count > 0 {
        output.outbox(
            &describe_unsettled(count),
            json!({"outcome": "waiting", "count": count}),
        );
    }
}

/// Says that `count` messages stay in the outbox.
pub(crate) fn describe_unsettled(count: usize) -> String {
    match count {
        1 => "1 message is kept in the outbox until a run of the client can send it".to_owned(),
        _ => format!("{count} messages are kept in the outbox until a run of the client can send them"),
    }
}

/// Returns the outcome of a message as text, and as fields of a notice.
pub(crate) fn describe(client: &Client, conversation: &ConversationRef, outcome: &SendOutcome) -> (String, Value) {
    let label = label_of(client, conversation, outcome);
    match outcome {
        SendOutcome::Stored(appended) => (
            format!("an earlier message to {label} was stored as #{}", appended.seq),
            json!({"outcome": "stored", "seq": appended.seq.0}),
        ),
        SendOutcome::NotStored(reason) => {
            let why = match reason.code() {
                Some(ReplyCode::NotFound) => missing::of_earlier_message(client, conversation),
                _ => reason.to_string(),
            };
            let text = if is_of_replaced_store(outcome) {
                format!(
                    "an earlier message to {label} was not sent to the restored server, but may be in its backup: {why}"
                )
            } else {
                format!("an earlier message to {label} was not stored: {why}")
            };
            let mut notice = json!({"outcome": "not_stored"});
            if let ClientError::Refused(refused) = reason {
                notice["code"] = refused.number().into();
            }
            if is_of_replaced_store(outcome) {
                notice["reason"] = "store_replaced".into();
            }
            (text, notice)
        }
        _ => (
            format!("it is unknown whether an earlier message to {label} was stored"),
            json!({"outcome": "unknown"}),
        ),
    }
}

/// Returns a label for the conversation of a message.
fn label_of(client: &Client, reference: &ConversationRef, outcome: &SendOutcome) -> String {
    match (name_of(client, reference, outcome), reference) {
        (Some(name), _) => name.label(),
        (None, _) if is_of_replaced_store(outcome) => "a conversation from before the restore".to_owned(),
        (None, reference) => conversation_label(client, reference),
    }
}

/// Returns a label for a conversation, even if the client does not know it yet. An id in the
/// reference must not be from before the server was restored from a backup.
pub(crate) fn conversation_label(client: &Client, reference: &ConversationRef) -> String {
    match (known_name(client, reference), reference) {
        (Some(name), _) => name.label(),
        (None, ConversationRef::Direct(user)) => user_label(client, user),
        (None, ConversationRef::Id(id)) => format!("conversation {id}"),
        (None, _) => "an unknown conversation".to_owned(),
    }
}

/// Returns the name of a user, or "user" and the id if the name is unknown.
pub(crate) fn user_label(client: &Client, user: &UserRef) -> String {
    let label = match user {
        UserRef::Name(name) => name.to_string(),
        UserRef::Id(id) => client
            .known_names([*id])
            .remove(id)
            .unwrap_or_else(|| format!("user {id}")),
    };
    single_line(&label)
}

/// Returns the name of the conversation of a message, or `None` if it is unknown. An id from before
/// the server was restored from a backup has no known name, because it may denote another
/// conversation now.
fn name_of(client: &Client, reference: &ConversationRef, outcome: &SendOutcome) -> Option<ConversationName> {
    match reference {
        ConversationRef::Id(_) if is_of_replaced_store(outcome) => None,
        _ => known_name(client, reference),
    }
}

/// Returns whether a message was given up because the server was restored from a backup, which may
/// contain the message.
fn is_of_replaced_store(outcome: &SendOutcome) -> bool {
    matches!(outcome, SendOutcome::NotStored(ClientError::StoreReplaced))
}

fn known_name(client: &Client, reference: &ConversationRef) -> Option<ConversationName> {
    match reference {
        ConversationRef::Direct(UserRef::Name(name)) => Some(ConversationName::Direct(name.to_string())),
        ConversationRef::Group(name) => Some(ConversationName::Group(name.to_string())),
        ConversationRef::Id(id) => Some(ConversationName::of(&*client.known_conversation(*id)?)),
        ConversationRef::Direct(UserRef::Id(id)) => {
            let mut names = client.known_names([*id]);
            names.remove(id).map(ConversationName::Direct)
        }
    }
}
