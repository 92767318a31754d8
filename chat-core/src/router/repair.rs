//! Looks into the store for what the bells did not bring.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::doubts;
use super::envelope::Doorbell;
use super::pending::{Pace, work};
use super::registry::Told;
use super::shared::{Shared, goes_on};
use crate::cluster::ClusterError;
use crate::model::{CloseCode, ConversationId, DeviceId, PresenceState, Seq, UserId};
use crate::store::StoreError;

/// Conversations whose ends are asked for at once.
const COMPARE_AT_ONCE: usize = 1000;
/// Things of one kind that are looked at the same time.
const AT_ONCE: usize = 8;

/// In every so many sweeps, a node that is alone reads its users' logins again.
const CHECK_ALONE_EVERY: u32 = 10;

pub(super) async fn run(shared: Arc<Shared>) {
    let shared = &*shared;
    let pace = |what, retry| Pace {
        at_once: AT_ONCE,
        retry,
        what,
    };
    let retry = shared.config.retry_interval;
    tokio::join!(
        work(&shared.dirty, pace("fill a gap", retry), |conversation| fill(
            shared,
            conversation
        )),
        work(
            &shared.placed,
            pace("follow a conversation", retry),
            |(user, id)| place(shared, user, id)
        ),
        work(
            &shared.logins,
            pace("check logins", retry),
            |(user, code)| close_fenced(shared, user, code)
        ),
        work(
            &shared.claims,
            pace("tell who is present", shared.config.poll_interval),
            |(user, device)| { claim(shared, user, device) }
        ),
        work(
            &shared.checks,
            Pace {
                at_once: 1,
                ..pace("check a user's conversations", retry)
            },
            |user| { check(shared, user) }
        ),
        compare(shared),
        sweep(shared),
        doubts::run(shared),
    );
}

/// Delivers what the log has past what was delivered. Never skips: a read that fails or comes short is tried again.
async fn fill(shared: &Shared, conversation: ConversationId) -> Result<(), StoreError> {
    let page = shared.config.catch_up_page.max(1);
    while let Some(head) = shared.registry.head(conversation) {
        let events = shared
            .read(shared.store.events(conversation, head.next(), Seq(u64::MAX >> 1), page))
            .await?;
        if events.is_empty() {
            return Ok(());
        }
        shared.repairs.fetch_add(1, Ordering::Relaxed);
        shared.offer(conversation, &events);
        if shared.registry.head(conversation) == Some(head) {
            return Err(StoreError::Corrupt("a log has a hole".into()));
        }
        // Whatever was committed since has rung since.
        if events.len() < page as usize {
            return Ok(());
        }
    }
    Ok(())
}

/// Lists a user's sessions under a conversation they came into; what it holds is then delivered as a gap.
async fn place(shared: &Shared, user: UserId, conversation: ConversationId) -> Result<(), StoreError> {
    let mut sessions = shared.registry.of_user(user);
    sessions.retain(|session| !session.settled(conversation));
    let Some(session) = sessions.first() else {
        return Ok(());
    };
    let head = shared.store.membership(user, session.caller.device, conversation);
    match shared.read(head).await? {
        Some(head) if goes_on(&head) => shared.enter(&sessions, &head, Told::Nothing).await,
        _ => Ok(()),
    }
}

/// Ends those sessions of a user that the store says are over.
async fn close_fenced(shared: &Shared, user: UserId, code: CloseCode) -> Result<(), StoreError> {
    // Before the read, so that a session that begins meanwhile is not judged by what was.
    let sessions = shared.registry.of_user(user);
    if sessions.is_empty() {
        return Ok(());
    }
    let devices = shared.read(shared.store.devices(user)).await?;
    for session in sessions {
        match devices.iter().find(|device| device.id == session.caller.device) {
            Some(device) if device.session_epoch == session.caller.epoch => {}
            // Whatever made us look: a newer login would have left the device.
            None if code == CloseCode::Replaced => shared.close(&session, CloseCode::Revoked),
            _ => shared.close(&session, code),
        }
    }
    Ok(())
}

/// Reads a user's logins and conversations again, because bells for them may have been lost. Takes its time, so that many
/// users do not keep the store from its work.
async fn check(shared: &Shared, user: UserId) -> Result<(), StoreError> {
    close_fenced(shared, user, CloseCode::Replaced).await?;
    let sessions = shared.registry.of_user(user);
    if let Some(session) = sessions.first() {
        let heads = shared.store.memberships(user, session.caller.device);
        for head in shared.read(heads).await? {
            let id = head.conversation.id;
            if goes_on(&head) && sessions.iter().any(|session| !session.settled(id)) {
                shared.placed.add((user, id));
            }
        }
    }
    sleep(Duration::from_secs(1) / shared.config.user_rechecks_per_second.max(1)).await;
    Ok(())
}

/// Makes the claim of a device what its sessions here are.
async fn claim(shared: &Shared, user: UserId, device: DeviceId) -> Result<(), ClusterError> {
    let sessions = shared.registry.of_user(user);
    let state = sessions
        .iter()
        .filter(|session| session.caller.device == device)
        .map(|session| session.presence())
        .max();
    let node = shared.writer.node;
    let change = async {
        match state {
            Some(state) if state > PresenceState::Offline => shared.presence.set(node, user, device, state).await,
            _ => shared.presence.clear(node, user, device).await,
        }
    };
    let result = tokio::time::timeout(shared.config.bus_timeout, change).await;
    result.unwrap_or_else(|_| Err(ClusterError("it did not answer in time".into())))
}

/// Compares conversations with the store, many at once.
async fn compare(shared: &Shared) {
    let mut wait = shared.config.retry_interval;
    loop {
        let conversations = Vec::from_iter(shared.fresh.take().await);
        for chunk in conversations.chunks(COMPARE_AT_ONCE) {
            match shared.read(shared.store.last_seqs(chunk)).await {
                Ok(ends) => {
                    wait = shared.config.retry_interval;
                    for (conversation, last_seq, _) in ends {
                        shared.heard(Doorbell { conversation, last_seq });
                    }
                }
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "cannot compare with the store; trying again"
                    );
                    shared.fresh.add_all(chunk.iter().copied());
                    sleep(wait).await;
                    wait = (wait * 2).min(shared.config.retry_interval * 10);
                }
            }
        }
    }
}

/// Compares everything followed here with the store when that is asked for, and from time to time in any case, also without other
/// nodes.
async fn sweep(shared: &Shared) {
    let mut last = Instant::now();
    for number in 1_u32.. {
        let next = last + jittered(shared.config.sweep_interval);
        let lost = tokio::select! {
            // What is known to be lost comes before what may be.
            biased;
            () = shared.heard.sweep_asked() => true,
            () = sleep_until(next) => false,
        };
        if lost && number > 1 {
            sleep_until(last + shared.config.poll_interval).await;
        }
        last = Instant::now();
        shared.sweeps.fetch_add(1, Ordering::Relaxed);
        shared.fresh.add_all(shared.registry.conversations());
        // Who is alone has done to users all that was done to them, but for what an operator did in the store.
        let alone = shared.link.is_none() && shared.neighbours.nodes().is_empty();
        if lost || !alone || number % CHECK_ALONE_EVERY == 0 {
            shared.checks.add_all(shared.registry.users());
        }
        // Claims may have been lost as well.
        shared.claims.add_all(shared.registry.devices());
    }
}

/// Two thirds to four thirds of `interval`, so that nodes do not sweep together.
fn jittered(interval: Duration) -> Duration {
    let random = uuid::Uuid::new_v4().as_u128() % 1000;
    interval.mul_f64(2.0 / 3.0 + random as f64 / 1500.0)
}
