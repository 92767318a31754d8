//! Looks into the store for what the bells did not bring.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::stream::{self, StreamExt};

use super::registry::Entered;
use super::session::SessionHandle;
use super::{Delivery, Shared, topics};
use crate::bus::Topic;
use crate::model::{ConversationId, DeviceId, PresenceState, Push, Seq, UserId};
use crate::store::{Head, StoreError};

/// Conversations whose ends are asked for at once.
pub(super) const COMPARE_AT_ONCE: usize = 1000;
/// Gaps that are filled at the same time.
const AT_ONCE: usize = 8;
/// Events of a conversation a session comes into that are pushed to it; of more it is told that it is behind.
const PUSH_ON_ENTRY: u64 = 32;

pub(super) async fn run(shared: Arc<Shared>) {
    let gaps = async {
        loop {
            let conversations = shared.dirty.take().await;
            let fill = |conversation| fill(&shared, conversation);
            stream::iter(conversations).for_each_concurrent(AT_ONCE, fill).await;
        }
    };
    let places = async {
        loop {
            for (user, conversation) in shared.placed.take().await {
                let result = place(&shared, user, conversation).await;
                again_on_error(&shared, result, || shared.placed.add((user, conversation))).await;
            }
        }
    };
    let logins = async {
        loop {
            for (user, code) in shared.logins.take().await {
                let result = close_fenced(&shared, user, code).await;
                again_on_error(&shared, result, || shared.logins.add((user, code))).await;
            }
        }
    };
    let claims = async {
        loop {
            for (user, device) in shared.claims.take().await {
                claim(&shared, user, device).await;
            }
        }
    };
    tokio::join!(gaps, places, logins, claims);
}

async fn again_on_error(shared: &Shared, result: Result<(), StoreError>, again: impl FnOnce()) {
    if let Err(error) = result {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "cannot read the store; trying again"
        );
        tokio::time::sleep(shared.config.retry_interval).await;
        again();
    }
}

/// Delivers what the log has past what was delivered. Never skips: a read that fails or comes short is tried again.
async fn fill(shared: &Shared, conversation: ConversationId) {
    let mut wait = shared.config.retry_interval;
    while let Some(head) = shared.registry.head(conversation) {
        match read_on(shared, conversation, head).await {
            Ok(true) => wait = shared.config.retry_interval,
            Ok(false) => return,
            Err(error) => {
                tracing::warn!(%conversation, error = &error as &dyn std::error::Error, "cannot fill a gap; trying again");
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(shared.config.retry_interval * 10);
            }
        }
    }
}

/// Reads and delivers one page; `false` if there was nothing.
async fn read_on(shared: &Shared, conversation: ConversationId, head: Seq) -> Result<bool, StoreError> {
    let page = shared.config.repair_page;
    let events = shared
        .store
        .events(conversation, head.next(), Seq(u64::MAX >> 1), page)
        .await?;
    if events.is_empty() {
        return Ok(false);
    }
    shared.repairs.fetch_add(1, Ordering::Relaxed);
    shared.offer(conversation, &events);
    Ok(true)
}

/// Lists a user's sessions under a conversation they came into, and brings them what it holds.
async fn place(shared: &Shared, user: UserId, conversation: ConversationId) -> Result<(), StoreError> {
    for session in shared.registry.of_user(user) {
        let listed = shared
            .registry
            .in_conversation(conversation)
            .iter()
            .any(|other| other.id == session.id);
        if listed {
            continue;
        }
        let Some(head) = shared.store.head(user, session.caller.device, conversation).await? else {
            continue;
        };
        if !head.member.is_active() {
            continue;
        }
        let entered = shared.enter(&session, &head).await?;
        if entered == Entered::First {
            topics::request(shared, Topic::Conversation(conversation)).await;
            shared.compare_with_store(&[conversation]).await?;
        }
        catch_up(shared, &session, &head).await?;
    }
    Ok(())
}

async fn catch_up(shared: &Shared, session: &SessionHandle, head: &Head) -> Result<(), StoreError> {
    let (conversation, last_seq) = (head.conversation.id, head.conversation.last_seq);
    let first = head.member.first_seq;
    if last_seq < first {
        return Ok(());
    }
    if last_seq.0 - first.0 >= PUSH_ON_ENTRY {
        session
            .outbox
            .push(Delivery::new(Push::Behind { conversation, last_seq }));
        return Ok(());
    }
    for event in shared
        .store
        .events(conversation, first, last_seq, shared.config.repair_page)
        .await?
    {
        session.outbox.push(Delivery::new(Push::Event(event)));
    }
    Ok(())
}

/// Ends those sessions of a user that the store says are over.
pub(super) async fn close_fenced(
    shared: &Shared,
    user: UserId,
    code: crate::model::CloseCode,
) -> Result<(), StoreError> {
    let sessions = shared.registry.of_user(user);
    if sessions.is_empty() {
        return Ok(());
    }
    let devices = shared.store.devices(user).await?;
    for session in sessions {
        let live = devices
            .iter()
            .any(|device| device.id == session.caller.device && device.session_epoch == session.caller.epoch);
        // A session may be newer than what was read.
        let newer = devices
            .iter()
            .any(|device| device.id == session.caller.device && device.session_epoch < session.caller.epoch);
        if !live && !newer {
            shared.close(&session, code);
        }
    }
    Ok(())
}

/// Makes the claim of a device what its sessions here are.
async fn claim(shared: &Shared, user: UserId, device: DeviceId) {
    let sessions = shared.registry.of_user(user);
    let state = sessions
        .iter()
        .filter(|session| session.caller.device == device)
        .map(|session| session.presence())
        .max();
    let node = shared.writer.node;
    let result = match state {
        Some(state) if state > PresenceState::Offline => shared.presence.set(node, user, device, state).await,
        _ => shared.presence.clear(node, user, device).await,
    };
    if let Err(error) = result {
        // Presence is soft: the next change, or the lease, corrects it.
        tracing::debug!(error = &error as &dyn std::error::Error, "cannot tell who is present");
    }
}
