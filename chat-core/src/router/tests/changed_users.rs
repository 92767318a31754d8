//! Tests that nodes without a bus find changes of users in time, even if they serve many users.

use super::cluster::replace_login;
use super::races::{join, leave};
use super::*;
use crate::model::{Device, Timestamp};
use crate::testkit::store::{new_account, transact};

/// Number of users that a test creates, each with a session on one node.
const USERS: usize = 10_000;

/// Creates a user with one device: the one of `caller(user, 1)`, as [`caller`] returns it.
async fn new_user(store: &dyn Store, name: String) -> UserId {
    let created = transact(store, move |tx| {
        let new = new_account(&name);
        Box::pin(async move {
            let user = tx.create_account(new).await?.expect("the name is free");
            tx.put_device(&Device {
                user,
                id: DeviceId([1; 16]),
                name: String::new(),
                session_epoch: SessionEpoch(0),
                session_token: None,
                token_issued: None,
                replaced_token: None,
                sibling_token: None,
                device_token: None,
                created: Timestamp(1),
                last_login: Timestamp(1),
                session_expires: None,
            })
            .await?;
            Ok(user)
        })
    });
    created.await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn changes_of_users_are_found_among_ten_thousand_within_three_seconds() {
    let world = world().await;
    let (here, there) = (node(&world, None).await, node(&world, None).await);
    let mut others = Vec::new();
    for number in 0..USERS {
        let user = new_user(&*world.store, format!("user{number}")).await;
        others.push(Reader::attach(&here, user, 1).await);
    }
    let (bob, carol) = (world.bob, world.carol);
    leave(&world, &there, bob, EventBody::MemberLeft { user: bob }).await;
    let mut reader_of_bob = Reader::attach(&here, bob, 1).await;
    let mut reader_of_carol = Reader::attach(&here, carol, 1).await;
    // After this time, the nodes have found each other, have read the users that were created above
    // (at most 800 a second), and are still reading all users, which takes 100 s.
    tokio::time::sleep(Duration::from_secs(20)).await;

    // `Reader::next` fails after three seconds.
    replace_login(&world, carol, 1).await;
    assert_eq!(reader_of_carol.next().await, Push::Closed(CloseCode::Replaced));
    join(&world, &there, bob).await;
    assert_eq!(reader_of_bob.seqs(1).await, [2]);
    for other in &mut others {
        assert!(!other.guard.outbox().is_closed());
    }
}

/// For example, an operator's script ends all sessions, or all users log in again on other nodes.
#[tokio::test(start_paused = true)]
async fn sessions_of_ten_thousand_users_are_closed_within_three_seconds() {
    let world = world().await;
    let (here, _there) = (node(&world, None).await, node(&world, None).await);
    let mut readers = Vec::new();
    for number in 0..USERS {
        let user = new_user(&*world.store, format!("user{number}")).await;
        readers.push((user, Reader::attach(&here, user, 1).await));
    }
    tokio::time::sleep(Duration::from_secs(20)).await;
    for (user, _) in &readers {
        replace_login(&world, *user, 1).await;
    }
    let replaced = tokio::time::Instant::now();
    for (_, reader) in &mut readers {
        assert_eq!(reader.next().await, Push::Closed(CloseCode::Replaced));
    }
    assert!(replaced.elapsed() <= Duration::from_secs(3), "{:?}", replaced.elapsed());
}

/// The node knows no other node, so it does not poll the store: only its regular sweeps find what
/// an operator's command has changed there.
#[tokio::test(start_paused = true)]
async fn single_node_notices_a_replaced_login_within_a_minute() {
    let world = world().await;
    let here = node_with(&world, Arc::clone(&world.store), None, RouterConfig::default()).await;
    let carol = Reader::attach(&here, world.carol, 1).await;
    let bob = Reader::attach(&here, world.bob, 1).await;
    tokio::time::sleep(Duration::from_secs(100)).await;
    replace_login(&world, world.carol, 1).await;
    tokio::time::sleep(Duration::from_secs(45)).await;
    assert!(carol.guard.outbox().is_closed());
    assert!(!bob.guard.outbox().is_closed());
}
