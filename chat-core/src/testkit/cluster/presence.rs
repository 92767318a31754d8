//! Conformance cases of [`Presence`]. A change is visible to every call that starts after the
//! change has returned.

use std::sync::Arc;

use crate::cluster::Presence;
use crate::model::{DeviceId, NodeId, PresenceState, UserId};

const ALICE: UserId = UserId(1);
const BOB: UserId = UserId(2);
const PHONE: DeviceId = DeviceId([1; 16]);
const LAPTOP: DeviceId = DeviceId([2; 16]);
const HERE: NodeId = NodeId([3; 16]);
const THERE: NodeId = NodeId([4; 16]);

/// A node's claim that a device of a user is connected to it, in a presence state.
type Claim = (UserId, DeviceId, NodeId, PresenceState);

const ONLINE: PresenceState = PresenceState::Online;
const IDLE: PresenceState = PresenceState::Idle;

/// Returns the claims of these users, ordered by user and device.
async fn claims_of(presence: &dyn Presence, users: &[UserId]) -> Vec<Claim> {
    let mut claims = presence.devices(users).await.unwrap();
    claims.sort_by_key(|claim| (claim.0, claim.1));
    claims
}

pub async fn claim_reads_back(presence: Arc<dyn Presence>) {
    presence.set(HERE, ALICE, PHONE, ONLINE).await.unwrap();
    assert_eq!(claims_of(&*presence, &[ALICE]).await, [(ALICE, PHONE, HERE, ONLINE)]);
}

pub async fn users_have_no_claims_at_first(presence: Arc<dyn Presence>) {
    assert_eq!(claims_of(&*presence, &[ALICE, BOB]).await, []);
    assert_eq!(claims_of(&*presence, &[]).await, []);
}

pub async fn claims_belong_to_devices(presence: Arc<dyn Presence>) {
    presence.set(HERE, ALICE, PHONE, ONLINE).await.unwrap();
    presence.set(THERE, ALICE, LAPTOP, IDLE).await.unwrap();
    let both = [(ALICE, PHONE, HERE, ONLINE), (ALICE, LAPTOP, THERE, IDLE)];
    assert_eq!(claims_of(&*presence, &[ALICE]).await, both);
}

pub async fn claim_takes_the_latest_state(presence: Arc<dyn Presence>) {
    for state in [ONLINE, IDLE, ONLINE] {
        presence.set(HERE, ALICE, PHONE, state).await.unwrap();
        assert_eq!(claims_of(&*presence, &[ALICE]).await, [(ALICE, PHONE, HERE, state)]);
    }
}

pub async fn set_is_idempotent(presence: Arc<dyn Presence>) {
    for _ in 0..10 {
        presence.set(HERE, ALICE, PHONE, ONLINE).await.unwrap();
    }
    assert_eq!(claims_of(&*presence, &[ALICE]).await, [(ALICE, PHONE, HERE, ONLINE)]);
    presence.clear(HERE, ALICE, PHONE).await.unwrap();
    assert_eq!(claims_of(&*presence, &[ALICE]).await, []);
}

pub async fn newer_claim_of_another_node_wins(presence: Arc<dyn Presence>) {
    presence.set(HERE, ALICE, PHONE, ONLINE).await.unwrap();
    presence.set(THERE, ALICE, PHONE, IDLE).await.unwrap();
    assert_eq!(claims_of(&*presence, &[ALICE]).await, [(ALICE, PHONE, THERE, IDLE)]);
}

pub async fn clear_ends_the_claim(presence: Arc<dyn Presence>) {
    presence.set(HERE, ALICE, PHONE, ONLINE).await.unwrap();
    presence.set(HERE, ALICE, LAPTOP, ONLINE).await.unwrap();
    presence.clear(HERE, ALICE, PHONE).await.unwrap();
    assert_eq!(claims_of(&*presence, &[ALICE]).await, [(ALICE, LAPTOP, HERE, ONLINE)]);
    presence.clear(HERE, ALICE, LAPTOP).await.unwrap();
    assert_eq!(claims_of(&*presence, &[ALICE]).await, []);
}

pub async fn clear_needs_no_claim(presence: Arc<dyn Presence>) {
    presence.clear(HERE, ALICE, PHONE).await.unwrap();
    presence.set(HERE, ALICE, LAPTOP, ONLINE).await.unwrap();
    presence.clear(HERE, ALICE, PHONE).await.unwrap();
    presence.clear(HERE, BOB, LAPTOP).await.unwrap();
    assert_eq!(
        claims_of(&*presence, &[ALICE, BOB]).await,
        [(ALICE, LAPTOP, HERE, ONLINE)]
    );
}

pub async fn clear_keeps_the_claim_of_another_node(presence: Arc<dyn Presence>) {
    presence.set(HERE, ALICE, PHONE, ONLINE).await.unwrap();
    presence.set(THERE, ALICE, PHONE, ONLINE).await.unwrap();
    presence.clear(HERE, ALICE, PHONE).await.unwrap();
    assert_eq!(claims_of(&*presence, &[ALICE]).await, [(ALICE, PHONE, THERE, ONLINE)]);
}

pub async fn claims_of_users_are_separate(presence: Arc<dyn Presence>) {
    presence.set(HERE, ALICE, PHONE, ONLINE).await.unwrap();
    presence.set(THERE, BOB, PHONE, IDLE).await.unwrap();
    assert_eq!(claims_of(&*presence, &[ALICE]).await, [(ALICE, PHONE, HERE, ONLINE)]);
    presence.clear(HERE, ALICE, PHONE).await.unwrap();
    assert_eq!(claims_of(&*presence, &[ALICE, BOB]).await, [(BOB, PHONE, THERE, IDLE)]);
}

pub async fn devices_takes_many_users(presence: Arc<dyn Presence>) {
    let users: Vec<_> = (1..=500).map(UserId).collect();
    let mut expected = Vec::new();
    for user in users.iter().filter(|user| user.0 % 2 == 0) {
        presence.set(HERE, *user, PHONE, ONLINE).await.unwrap();
        expected.push((*user, PHONE, HERE, ONLINE));
    }
    assert_eq!(claims_of(&*presence, &users).await, expected);
}

pub async fn claims_work_for_extreme_ids(presence: Arc<dyn Presence>) {
    let (user, device, node) = (UserId(u64::MAX), DeviceId([0xff; 16]), NodeId([0xff; 16]));
    let zero = DeviceId([0; 16]);
    presence.set(node, user, device, ONLINE).await.unwrap();
    presence.set(NodeId([0; 16]), user, zero, IDLE).await.unwrap();
    let both = [(user, zero, NodeId([0; 16]), IDLE), (user, device, node, ONLINE)];
    assert_eq!(claims_of(&*presence, &[user]).await, both);
}

pub async fn concurrent_claims_lose_nothing(presence: Arc<dyn Presence>) {
    let tasks = (0..50_u8).map(|number| {
        let presence = Arc::clone(&presence);
        tokio::spawn(async move {
            let device = DeviceId([number; 16]);
            for state in [IDLE, ONLINE] {
                presence.set(HERE, ALICE, device, state).await.unwrap();
            }
            if number % 2 == 0 {
                presence.clear(HERE, ALICE, device).await.unwrap();
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    let odd = (0..50_u8).filter(|number| number % 2 == 1);
    let expected: Vec<_> = odd
        .map(|number| (ALICE, DeviceId([number; 16]), HERE, ONLINE))
        .collect();
    assert_eq!(claims_of(&*presence, &[ALICE]).await, expected);
}
