//! Preparation of submissions: finds or opens their conversations, asks the hooks or runs the
//! checks, and finds drafts that were stored before.

use std::sync::Arc;
use std::time::Instant;

use super::machine::{Done, Preparation};
use super::resend_order::is_temporary;
use super::submission::LaneCheck;
use super::work::AppendPorts;
use crate::engine::directory::{Destination, FoundConversation};
use crate::engine::error::CommandError;
use crate::engine::operations::message::{QueuedDraft, appended, check_first_message};
use crate::engine::panics::contain;
use crate::engine::store_access::within;
use crate::model::{Caller, ConversationRef, Draft, Event};

/// Prepares a submission. A draft that would be refused permanently is looked for among the stored
/// events first: it may be a retry of a draft that was stored when there was no reason to refuse
/// it. If it is found, its event is delivered to the sessions that may have missed it.
pub(super) async fn prepare(ports: Arc<AppendPorts>, preparation: Preparation) -> Done {
    let Preparation {
        sender,
        caller,
        conversation,
        draft,
        for_hooks,
        check,
        deadline,
    } = preparation;
    // A future that misses the deadline is dropped inside `contain`, because its drop may panic.
    let result = match &draft {
        Some(draft) => contain(prepare_draft(&ports, &conversation, draft, for_hooks, deadline)).await,
        None => contain(prepare_change(&ports, caller, &conversation, check, deadline)).await,
    };
    let (Some(draft), Err(error)) = (draft, &result) else {
        return Done::Prepared { sender, result };
    };
    if is_temporary(error) {
        return Done::Prepared { sender, result };
    }
    // Delivering the event calls wakers of other tasks, which may panic.
    let stored = async {
        let found = find_stored(&ports, &conversation, &draft);
        let Some(event) = within(deadline, found).await? else {
            return Ok(None);
        };
        let appended = appended(&event, true);
        ports.publisher.deliver(&[event]);
        Ok(Some(appended))
    };
    match contain(stored).await {
        Ok(Some(appended)) => Done::Stored { sender, appended },
        Ok(None) => Done::Prepared { sender, result },
        Err(error) => Done::Prepared {
            sender,
            result: Err(error),
        },
    }
}

/// Finds the conversation of a change, and runs its check.
async fn prepare_change(
    ports: &AppendPorts,
    caller: Caller,
    conversation: &ConversationRef,
    check: Option<LaneCheck>,
    deadline: Instant,
) -> Result<(FoundConversation, Option<QueuedDraft>), CommandError> {
    within(deadline, async {
        let found = ports.directory.find(caller.user, conversation).await?;
        if let Some(check) = check {
            check(found.clone()).await?;
        }
        Ok((found, None))
    })
    .await
}

/// Finds the conversation of a draft and asks the hooks. A direct conversation that does not exist
/// is opened once the hooks have allowed its first message.
async fn prepare_draft(
    ports: &AppendPorts,
    conversation: &ConversationRef,
    draft: &QueuedDraft,
    for_hooks: Option<Draft>,
    deadline: Instant,
) -> Result<(FoundConversation, Option<QueuedDraft>), CommandError> {
    let caller = draft.caller;
    let destination = ports.opener.find(caller, conversation, deadline).await?;
    check_opening(ports, &destination, draft)?;
    let rewritten = match for_hooks {
        Some(original) => {
            let (id, kind) = destination.conversation();
            let allowed = ports.hooks.before_append(caller, id, kind, original);
            let content = within(deadline, allowed).await?;
            content.map(|content| draft.clone().rewritten(content))
        }
        None => None,
    };
    if let Some(rewritten) = &rewritten {
        check_opening(ports, &destination, rewritten)?;
    }
    let found = ports.opener.open(caller, destination, deadline).await?;
    Ok((found, rewritten))
}

/// Refuses a draft that would open a conversation and cannot be its first event.
fn check_opening(ports: &AppendPorts, destination: &Destination, draft: &QueuedDraft) -> Result<(), CommandError> {
    match destination {
        Destination::Existing(_) => Ok(()),
        Destination::Unopened(direct) => check_first_message(draft, direct.peer, ports.limits),
    }
}

/// Returns the event that was stored for a draft. Returns `None` if there is none, or if the stored
/// draft had another content or went to another conversation. If the sender referred to the
/// conversation by a name, the conversation is not compared, because the name may belong to another
/// conversation by now, or to none.
async fn find_stored(
    ports: &AppendPorts,
    conversation: &ConversationRef,
    draft: &QueuedDraft,
) -> Result<Option<Event>, CommandError> {
    let (caller, ids) = (draft.caller, [draft.client_message_id]);
    let sent = ports.access.store().find_sent(caller.user, &ids);
    let sent = ports.access.read(sent).await?.pop();
    let Some(event) = sent.map(|sent| sent.event) else {
        return Ok(None);
    };
    if event.fingerprint != draft.fingerprint {
        return Ok(None);
    }
    if conversation.is_by_name() {
        return Ok(Some(event));
    }
    match ports.directory.find(caller.user, conversation).await {
        Ok(found) => Ok((found.id == event.conversation).then_some(event)),
        Err(error) if is_temporary(&error) => Err(error),
        Err(_) => Ok(None),
    }
}
