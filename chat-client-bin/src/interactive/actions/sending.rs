//! Saying something, and telling what became of it.

use std::time::Duration;

use chat_core::client::SendOutcome;
use chat_core::model::{ConversationRef, DraftContent, MessageText, Seq};

use crate::failure::Failure;
use crate::interactive::app::{App, Told};

use super::{Job, job, room};

/// Sends a text, and says how it went: `✓` stored, `…` after `slow` without an answer, `!` failed.
pub(in crate::interactive) fn send_text(
    app: &mut App,
    reference: ConversationRef,
    label: String,
    text: String,
    reply_to: Option<Seq>,
    slow: Duration,
) {
    let text = match MessageText::new(text) {
        Ok(text) => text,
        Err(error) => return app.complain(&error.to_string()),
    };
    let content = DraftContent::Message {
        text,
        reply_to,
        mentions: Vec::new(),
        mention_all: false,
    };
    app.jobs.spawn(send(job(app), reference, label, content, slow, None));
}

/// Edits, recalls or reacts to something here.
pub(super) fn touch(app: &mut App, content: DraftContent, done: String) -> Result<(), Failure> {
    let (reference, label) = room(app)?;
    app.jobs.spawn(send(
        job(app),
        reference,
        label,
        content,
        Duration::from_secs(1),
        Some(done),
    ));
    Ok(())
}

pub(super) async fn send(
    job: Job,
    reference: ConversationRef,
    label: String,
    content: DraftContent,
    slow: Duration,
    done: Option<String>,
) -> Result<Told, Failure> {
    let mut handle = job.client.send(reference, content).await?;
    let outcome = match tokio::time::timeout(slow.max(Duration::from_millis(200)), handle.outcome()).await {
        Ok(outcome) => outcome,
        Err(_) => {
            job.screen.line(
                job.style
                    .dim(&format!("… sending to {label}; it is kept until the server has it")),
            );
            handle.outcome().await
        }
    };
    match outcome? {
        SendOutcome::Acked(appended) => {
            let what = done.unwrap_or_else(|| format!("#{} {label}", appended.seq));
            job.screen.line(job.style.dim(&format!("✓ {what}")));
            Ok(Told::Stored(appended.conversation, appended.seq))
        }
        SendOutcome::Rejected(reason) => Err(Failure::usage(format!("not sent to {label}: {reason}"))),
        _ => Err(Failure::usage(format!("whether it was sent to {label} is unknown"))),
    }
}
