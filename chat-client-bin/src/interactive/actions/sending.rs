//! Actions that send messages, edits, recalls and reactions, and print their outcome.

use std::time::Duration;

use chat_core::client::SendOutcome;
use chat_core::commands::Commands;
use chat_core::model::{ConversationId, ConversationRef, DraftContent, Emoji, MessageText, Seq};

use crate::emoji;
use crate::failure::{Failure, FailureKind};
use crate::interactive::mentions::Mentions;
use crate::interactive::state::{JobResult, State};
use crate::missing::Referents;
use crate::output::single_line;

use super::mentions::{self, WaitingText};
use super::{JobContext, current};

/// Time without an answer after which the client prints that a text to the current conversation is
/// being sent.
const SEND_NOTICE_DELAY: Duration = Duration::from_millis(700);
/// Maximum time to send a notice that the user is typing.
const TYPING_TIMEOUT: Duration = Duration::from_secs(2);
/// Time without an answer after which the client prints that an edit, recall or reaction is being
/// sent.
const CHANGE_NOTICE_DELAY: Duration = Duration::from_secs(1);
/// Time without an answer after which the client prints that the text of `/dm USER TEXT` is being
/// sent.
pub(super) const DIRECT_NOTICE_DELAY: Duration = Duration::from_millis(200);

/// Sends a text to the current conversation. In a group, it mentions the members whom it names.
pub(in crate::interactive) fn send_to_current(state: &mut State, text: String, reply_to: Option<Seq>) {
    match current(state) {
        Ok(current) => {
            let id = state.conversations.current.as_ref().and_then(|current| current.id);
            if let Some(group) = id
                && state.members.mentioned_in(&text, group).are_incomplete
                && let Some(after) = state.members.rest_after(group)
            {
                return mentions::load_remaining_members_for(state, group, after, WaitingText { text, reply_to });
            }
            send_text(
                state,
                current,
                Text::to_conversation(state, id, text, reply_to),
                SEND_NOTICE_DELAY,
            );
        }
        // The line editor may have cleared the text.
        Err(failure) if state.has_line_editor() => {
            state.show_error(&format!("not sent: {failure}: {}", excerpt(&text)));
        }
        Err(failure) => state.show_error(&failure.text),
    }
}

/// Sends a text that has waited for the members of the current group.
pub(in crate::interactive) fn send_now(state: &mut State, WaitingText { text, reply_to }: WaitingText) {
    match current(state) {
        Ok(current) => {
            let id = state.conversations.current.as_ref().and_then(|current| current.id);
            send_text(
                state,
                current,
                Text::to_conversation(state, id, text, reply_to),
                SEND_NOTICE_DELAY,
            );
        }
        Err(failure) => state.show_error(&format!("not sent: {failure}: {}", excerpt(&text))),
    }
}

/// A text with what it refers to.
pub(super) struct Text {
    text: String,
    reply_to: Option<Seq>,
    mentions: Mentions,
}

impl Text {
    pub(super) fn new(text: String, reply_to: Option<Seq>, mentions: Mentions) -> Self {
        Self {
            text,
            reply_to,
            mentions,
        }
    }

    /// Returns a text to a conversation, which mentions the known members whom it names. Only
    /// admins and the owner may mention all members; in the texts of others, `@all` is plain text.
    fn to_conversation(state: &State, id: Option<ConversationId>, text: String, reply_to: Option<Seq>) -> Self {
        let mut mentions = id.map_or_else(Mentions::default, |id| state.members.mentioned_in(&text, id));
        mentions.all &= id.is_some_and(|id| state.may_mention_all(id));
        Self::new(text, reply_to, mentions)
    }
}

/// Tells the other members of the current conversation that the user is typing, if the conversation
/// exists already. A notice that is late is of no use.
pub(in crate::interactive) fn send_typing(state: &mut State) {
    let Some(id) = state.conversations.current.as_ref().and_then(|current| current.id) else {
        return;
    };
    let client = state.client.clone();
    state.spawn(async move {
        let _ = tokio::time::timeout(TYPING_TIMEOUT, client.set_typing(id, true)).await; // best effort
        Ok(JobResult::Done)
    });
}

/// Sends a text and prints its outcome: `✓` stored, `…` no answer within `slow_after`, otherwise an
/// error that says that it was refused or that the outcome is unknown. In the line editor, the line
/// of the stored message appears instead of `✓`; the text that was typed is gone by then, so the
/// other outcomes quote it.
pub(super) fn send_text(
    state: &mut State,
    (reference, label): (ConversationRef, String),
    text: Text,
    slow_after: Duration,
) {
    let Text {
        text,
        reply_to,
        mentions,
    } = text;
    let text = match MessageText::new(text) {
        Ok(text) => text,
        Err(error) => return state.show_error(&error.to_string()),
    };
    let content = DraftContent::Message {
        text,
        reply_to,
        mentions: mentions.users,
        mention_all: mentions.all,
    };
    let context = JobContext::of(state);
    let number = state.sent_texts.add(&reference, &label);
    state.spawn(async move {
        let result = send(context, reference, label, content, slow_after, None).await?;
        if let JobResult::Stored { seq, .. } = &result {
            number.send_replace(Some(*seq));
        }
        Ok(result)
    });
}

pub(super) fn edit(state: &mut State, target: Option<Seq>, text: String) -> Result<(), Failure> {
    let text = MessageText::new(text).map_err(Failure::usage)?;
    edit_or_recall(state, target, "changed", |target| DraftContent::Edit { target, text })
}

pub(super) fn recall(state: &mut State, target: Option<Seq>) -> Result<(), Failure> {
    edit_or_recall(state, target, "recalled", |target| DraftContent::Recall { target })
}

/// Sends an edit or recall to the current conversation: of the message `target`, or if that is
/// `None` of the user's last message, which may not be stored yet. Once the change is stored,
/// prints that the message is `done`, such as "changed".
fn edit_or_recall(
    state: &mut State,
    target: Option<Seq>,
    done: &'static str,
    content: impl FnOnce(Seq) -> DraftContent + Send + 'static,
) -> Result<(), Failure> {
    let current_conversation = state.conversations.current.as_ref();
    let unstored = current_conversation.and_then(|current| state.sent_texts.last_unstored(current));
    let confirmation = move |target| format!("#{target} is {done}");
    match (target, unstored) {
        (None, Some(text)) => {
            let (reference, label) = current(state)?;
            let context = JobContext::of(state);
            state.spawn(async move {
                let target = text.number().await?;
                let done = Some(confirmation(target));
                send(context, reference, label, content(target), CHANGE_NOTICE_DELAY, done).await
            });
            Ok(())
        }
        (target, _) => {
            let target = target
                .or(state.conversations.last_own())
                .ok_or_else(|| no_target("message of yours"))?;
            send_change(state, content(target), confirmation(target))
        }
    }
}

pub(super) fn react(state: &mut State, target: Option<Seq>, emoji: &str) -> Result<(), Failure> {
    let target = target
        .or(state.conversations.last_any())
        .ok_or_else(|| no_target("message"))?;
    let emoji = emoji::resolve(emoji)
        .ok_or_else(|| Failure::usage(format!("{emoji} is not the name of an emoji; Tab completes the names")))?;
    let emoji = Emoji::new(emoji).map_err(Failure::usage)?;
    let content = DraftContent::React {
        target,
        emoji,
        remove: false,
    };
    send_change(state, content, format!("reacted to #{target}"))
}

fn no_target(description: &str) -> Failure {
    Failure::usage(format!(
        "no {description} is known in this conversation; give its number"
    ))
}

/// Sends an edit, recall or reaction to the current conversation, and prints `done` once it is
/// stored.
fn send_change(state: &mut State, content: DraftContent, done: String) -> Result<(), Failure> {
    let (reference, label) = current(state)?;
    let context = JobContext::of(state);
    state.spawn(send(
        context,
        reference,
        label,
        content,
        CHANGE_NOTICE_DELAY,
        Some(done),
    ));
    Ok(())
}

/// Sends a message, edit, recall or reaction. Prints `…` if there is no answer within `slow_after`,
/// and a confirmation once it is stored. `done` is the text that confirms an edit, recall or
/// reaction. It is `None` for a message: its number confirms it or, if a user types in the line
/// editor, the line of the conversation that appears for it.
///
/// # Errors
/// It was not stored, or it is unknown whether it was. The event loop prints the error.
async fn send(
    job: JobContext,
    reference: ConversationRef,
    label: String,
    content: DraftContent,
    slow_after: Duration,
    done: Option<String>,
) -> Result<JobResult, Failure> {
    let quoted = match &content {
        DraftContent::Message { text, .. } if job.prints_own_messages => format!(": {}", excerpt(text.as_str())),
        DraftContent::Edit { target, text } => format!(": #{target}: {}", excerpt(text.as_str())),
        DraftContent::Recall { target } => format!(": the recall of #{target}"),
        DraftContent::React { target, .. } => format!(": the reaction to #{target}"),
        _ => String::new(),
    };
    let referents = Referents::of_message(&reference, &content);
    let mut handle = job.client.enqueue(reference, content).await?;
    let outcome = match tokio::time::timeout(slow_after, handle.outcome()).await {
        Ok(outcome) => outcome,
        Err(_) => {
            let text = format!("… sending to {label}; the message is kept until the server has stored it{quoted}");
            job.screen.line(job.style.dim(&text));
            handle.outcome().await
        }
    };
    match outcome? {
        SendOutcome::Stored(appended) => {
            if done.is_some() || !job.prints_own_messages {
                let text = done.clone().unwrap_or_else(|| format!("#{} {label}", appended.seq));
                job.screen.line(job.style.dim(&format!("✓ {text}")));
            }
            if done.is_some() {
                return Ok(JobResult::Done); // the event is no message
            }
            Ok(JobResult::Stored {
                label,
                conversation: appended.conversation,
                seq: appended.seq,
            })
        }
        SendOutcome::NotStored(reason) => {
            let reason = referents.explain(&job.client, reason).await;
            let text = format!("not sent to {label}: {reason}{quoted}");
            Err(Failure::new(FailureKind::Refused, text))
        }
        _ => {
            let text = format!("it is unknown whether the message to {label} was sent{quoted}");
            Err(Failure::new(FailureKind::OutcomeUnknown, text))
        }
    }
}

/// Returns the beginning of a text, on one line and in quotation marks.
fn excerpt(text: &str) -> String {
    /// Maximum number of characters.
    const MAX_CHARS: usize = 60;
    let line = single_line(text);
    match line.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("“{}…”", &line[..end]),
        None => format!("“{line}”"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excerpt_is_one_short_line() {
        assert_eq!(excerpt("hello\nthere"), "“hello there”");
        let long = excerpt(&"小".repeat(100));
        assert_eq!(long, format!("“{}…”", "小".repeat(60)));
    }
}
