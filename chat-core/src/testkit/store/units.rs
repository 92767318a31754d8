//! Cases for units of work, which commit completely or not at all, and for the order of their
//! locks.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::fixture::{
    NOW, NewEvent, World, append_to, create_account, device_id, messages, new_account, new_device, new_group, profile,
    transact, without_group,
};
use crate::model::{
    Contact, ContactState, ConversationId, ConversationKind, EventKind, GroupSnapshot, Member, MemberState, NodeId,
    Role, Seq, Timestamp, UserId,
};
use crate::store::{
    FeedShard, FeedTxExt, NewAuditRecord, Store, StoreError, StoreExt, Transaction, TxError, TypedUnit,
};

/// Ids of a [`World`], which closures can copy.
#[derive(Clone, Copy)]
struct Ids {
    alice: UserId,
    bob: UserId,
    carol: UserId,
    direct: ConversationId,
    group: ConversationId,
}

impl World {
    fn ids(&self) -> Ids {
        Ids {
            alice: self.alice,
            bob: self.bob,
            carol: self.carol,
            direct: self.direct,
            group: self.group,
        }
    }
}

/// Executes every kind of write except those of request notices. Writes existing rows and new rows.
async fn write_everything(tx: &mut dyn Transaction, ids: Ids) -> Result<(), TxError> {
    let mut account = tx.account(ids.alice).await?.ok_or(TxError::Abort)?;
    account.display_name = "changed".into();
    account.disabled = true;
    tx.update_account(&account).await?;
    tx.create_account(new_account("dave")).await?.ok_or(TxError::Abort)?;
    let mut device = tx.lock_device(ids.bob, device_id(1)).await?.ok_or(TxError::Abort)?;
    device.session_token = Some([3; 32]);
    tx.put_device(&device).await?;
    tx.put_device(&new_device(ids.bob, 77)).await?;
    tx.delete_device(ids.carol, device_id(1)).await?;
    tx.lock_contacts(ids.alice, ids.bob).await?;
    for (owner, peer) in [(ids.alice, ids.bob), (ids.bob, ids.carol)] {
        let contact = Contact {
            owner,
            peer,
            state: ContactState::Pending,
            blocked: true,
            note: "changed".into(),
            since: NOW,
        };
        tx.put_contact(&contact).await?;
    }
    tx.delete_contact(ids.bob, ids.alice).await?;
    tx.rename_account(ids.bob, "robert", "skeleton of robert").await?;
    tx.set_subject(ids.bob, Some("auth0|bob")).await?;
    append_to(tx, ids.direct, ids.alice, &messages(3)).await?;
    let mut row = tx.lock_conversation(ids.group).await?.ok_or(TxError::Abort)?;
    row.group = Some(profile("renamed"));
    row.member_count = 9;
    tx.update_conversation(&row).await?;
    let new_events = [
        NewEvent::message("@all").mentioning(&[UserId(0)]),
        NewEvent::of(EventKind::Edit, Some(Seq(2))),
    ];
    append_to(tx, ids.group, ids.alice, &new_events).await?;
    tx.mark_edited(ids.group, Seq(2), Seq(7)).await?;
    append_to(
        tx,
        ids.group,
        ids.alice,
        &[NewEvent::of(EventKind::Recall, Some(Seq(1)))],
    )
    .await?;
    tx.erase(
        ids.group,
        Seq(1),
        Seq(8),
        Bytes::from_static(b"tombstone"),
        Bytes::new(),
    )
    .await?;
    tx.advance_read(ids.group, &[(ids.alice, Seq(8)), (ids.bob, Seq(1))])
        .await?;
    let mut member = Member::active(ids.group, ids.bob, Role::Owner, Seq(2));
    member.state = MemberState::Banned;
    member.until_seq = Some(Seq(4));
    tx.put_member(&member).await?;
    let snapshot = GroupSnapshot {
        profile: profile("left"),
        member_count: 3,
        last_time: NOW,
    };
    tx.put_snapshot(ids.group, ids.bob, &snapshot).await?;
    tx.put_member(&Member::active(ids.group, UserId(50), Role::Member, Seq(1)))
        .await?;
    let made = tx
        .create_conversation(new_group("new group"))
        .await?
        .ok_or(TxError::Abort)?;
    append_to(tx, made, ids.alice, &messages(1)).await?;
    tx.put_member(&Member::active(made, ids.alice, Role::Owner, Seq(1)))
        .await?;
    let notes = ConversationKind::direct(ids.alice, ids.alice);
    tx.create_conversation(without_group(notes))
        .await?
        .ok_or(TxError::Abort)?;
    let mut row = tx.lock_conversation(made).await?.ok_or(TxError::Abort)?;
    row.deleted = true;
    tx.update_conversation(&row).await?;
    for feed in ["feed", "new feed"] {
        let shard = FeedShard::of(ids.group);
        let lease = tx.claim_feed(feed, shard, NodeId([7; 16]), Duration::MAX).await?;
        let lease = lease.ok_or(TxError::Abort)?;
        tx.advance_feed(&lease, &[(ids.group, Seq(4)), (ids.direct, Seq(1))])
            .await?;
        tx.release_feed(&lease).await?;
    }
    tx.delete_feed("feed").await?;
    let record = NewAuditRecord {
        time: NOW,
        operator: "operator".into(),
        action: "test".into(),
        target: "everything".into(),
        detail: String::new(),
        source: "here".into(),
    };
    tx.append_audit(&record).await?;
    Ok(())
}

/// Creates a world that also has contacts, events, mentions and cursors.
async fn full_world(store: Arc<dyn Store>) -> World {
    let world = World::new(store).await;
    let ids = world.ids();
    let contacts = transact(&*world.store, move |tx| {
        Box::pin(async move {
            for (owner, peer) in [(ids.alice, ids.bob), (ids.bob, ids.alice)] {
                let contact = Contact {
                    owner,
                    peer,
                    state: ContactState::Friend,
                    blocked: false,
                    note: String::new(),
                    since: Timestamp(7),
                };
                tx.put_contact(&contact).await?;
            }
            Ok(())
        })
    });
    contacts.await.unwrap();
    world
        .say(vec![
            NewEvent::message("@bob").mentioning(&[ids.bob]),
            NewEvent::message("two"),
        ])
        .await;
    world
        .say(vec![
            NewEvent::of(EventKind::Edit, Some(Seq(1))),
            NewEvent::message("@all").mentioning(&[UserId(0)]),
        ])
        .await;
    world.say(messages(1)).await;
    let moves = [ids.alice, ids.bob, ids.carol].map(|user| (user, device_id(1), ids.group, Seq(2)));
    world.store.advance_cursors(&moves).await.unwrap();
    world
}

/// Runs a unit of work that calls [`write_everything`] and then `end`, which fails. Checks that no
/// write remains, and returns the error of the unit.
async fn error_after_writes_that_roll_back(
    store: Arc<dyn Store>,
    end: impl Fn() -> Result<(), TxError> + Copy + Send + Sync + 'static,
) -> StoreError {
    let world = full_world(store).await;
    let (ids, before) = (world.ids(), world.dump().await);
    let work = transact(&*world.store, move |tx| {
        Box::pin(async move {
            write_everything(tx, ids).await?;
            end()
        })
    });
    let error = work.await.unwrap_err();
    assert_eq!(world.dump().await, before);
    // The names of the rolled-back rows are free again.
    let work = transact(&*world.store, move |tx| {
        Box::pin(async move { write_everything(tx, ids).await })
    });
    work.await.unwrap();
    assert_ne!(world.dump().await, before);
    error
}

pub async fn aborted_unit_leaves_no_writes(store: Arc<dyn Store>) {
    let error = error_after_writes_that_roll_back(store, || Err(TxError::Abort)).await;
    assert!(matches!(error, StoreError::Aborted));
}

pub async fn store_error_leaves_no_writes(store: Arc<dyn Store>) {
    let error = error_after_writes_that_roll_back(store, || Err(StoreError::Corrupt("made up".into()).into())).await;
    assert!(matches!(error, StoreError::Corrupt(text) if text == "made up"));
}

pub async fn panic_is_caught_and_leaves_no_writes(store: Arc<dyn Store>) {
    let error = error_after_writes_that_roll_back(store, || panic!("a deliberate panic")).await;
    assert!(matches!(error, StoreError::Defect(text) if text.contains("a deliberate panic")));
}

pub async fn contract_violation_leaves_no_writes(store: Arc<dyn Store>) {
    let world = full_world(store).await;
    let (ids, before) = (world.ids(), world.dump().await);
    // The unit of work ends with a violation of the contract: it changes `last_seq` without an
    // event.
    let work = transact(&*world.store, move |tx| {
        Box::pin(async move {
            write_everything(tx, ids).await?;
            let mut row = tx.lock_conversation(ids.group).await?.ok_or(TxError::Abort)?;
            row.last_seq = row.last_seq.next();
            tx.update_conversation(&row).await?;
            Ok(())
        })
    });
    assert!(matches!(work.await, Err(StoreError::Defect(_))));
    assert_eq!(world.dump().await, before);
}

pub async fn uncommitted_writes_are_invisible(store: Arc<dyn Store>) {
    let (a, b) = (create_account(&*store, "a").await, create_account(&*store, "b").await);
    let writer = {
        let store = Arc::clone(&store);
        async move {
            for round in 0..100 {
                let work = transact(&*store, move |tx| {
                    Box::pin(async move {
                        for id in [a, b] {
                            let mut account = tx.account(id).await?.ok_or(TxError::Abort)?;
                            account.display_name = format!("round {round}");
                            tx.update_account(&account).await?;
                        }
                        // Even rounds are rolled back.
                        if round % 2 == 0 { Err(TxError::Abort) } else { Ok(()) }
                    })
                });
                assert_eq!(work.await.is_err(), round % 2 == 0);
            }
        }
    };
    let writer = tokio::spawn(writer);
    let mut names = [String::new(), String::new()];
    while !writer.is_finished() {
        let accounts = store.accounts(&[a, b]).await.unwrap();
        names = [a, b].map(|id| {
            let account = accounts.iter().find(|account| account.id == id);
            account.unwrap().display_name.clone()
        });
        let is_initial = names == ["a displayed", "b displayed"];
        let round = names[0].rsplit(' ').next().and_then(|round| round.parse::<u32>().ok());
        let is_committed_round = names[0] == names[1] && round.is_some_and(|round| round % 2 == 1);
        assert!(is_initial || is_committed_round, "{names:?}");
    }
    drop(names);
    writer.await.unwrap();
}

/// Unit of work that creates an account with this name and one named `also`, and rejects taken
/// names.
#[derive(Clone, Debug)]
struct Register(&'static str);

#[derive(Debug)]
enum Rejection {
    Taken(&'static str),
    Store(StoreError),
}

impl From<StoreError> for Rejection {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

#[async_trait]
impl TypedUnit for Register {
    type Output = UserId;
    type Rejection = Rejection;

    async fn apply(&mut self, tx: &mut dyn Transaction) -> Result<UserId, Rejection> {
        let id = tx.create_account(new_account(self.0)).await?;
        tx.create_account(new_account("also"))
            .await?
            .ok_or(Rejection::Taken("also"))?;
        id.ok_or(Rejection::Taken(self.0))
    }

    fn store_error(rejection: Rejection) -> Result<StoreError, Rejection> {
        match rejection {
            Rejection::Store(error) => Ok(error),
            taken @ Rejection::Taken(_) => Err(taken),
        }
    }
}

pub async fn run_returns_the_result(store: Arc<dyn Store>) {
    let id = store.run(Register("alice")).await.unwrap();
    assert_eq!(store.account_by_name("alice").await.unwrap().unwrap().id, id);
    assert!(store.account_by_name("also").await.unwrap().is_some());
}

pub async fn run_returns_the_rejection(store: Arc<dyn Store>) {
    create_account(&*store, "alice").await;
    let refused = store.run(Register("alice")).await;
    assert!(matches!(refused, Err(Rejection::Taken("alice"))), "{refused:?}");
    assert_eq!(store.account_by_name("also").await.unwrap(), None);
    store.close().await;
    let failed = store.run(Register("bob")).await;
    assert!(
        matches!(failed, Err(Rejection::Store(StoreError::Unavailable(_)))),
        "{failed:?}"
    );
}

pub async fn locks_out_of_order_are_rejected(store: Arc<dyn Store>) {
    let world = World::new(store).await;
    let ids = world.ids();
    let (first, second) = (ids.direct.min(ids.group), ids.direct.max(ids.group));
    let in_order = transact(&*world.store, move |tx| {
        Box::pin(async move {
            tx.lock_devices_of(ids.alice).await?;
            tx.lock_device(ids.alice, device_id(1)).await?;
            tx.lock_contacts(ids.alice, ids.bob).await?;
            tx.lock_contacts(ids.alice, ids.carol).await?;
            tx.lock_conversation(first).await?;
            tx.lock_conversation(second).await?;
            tx.lock_conversation(first).await?;
            tx.devices_in(&[(ids.alice, device_id(1))]).await?;
            Ok(())
        })
    });
    in_order.await.unwrap();
    for case in 0..4 {
        let out_of_order = transact(&*world.store, move |tx| {
            Box::pin(async move {
                match case {
                    0 => {
                        tx.lock_conversation(second).await?;
                        tx.lock_conversation(first).await?;
                    }
                    1 => {
                        tx.lock_conversation(first).await?;
                        tx.lock_contacts(ids.alice, ids.bob).await?;
                    }
                    2 => {
                        tx.lock_conversation(first).await?;
                        tx.lock_devices_of(ids.alice).await?;
                    }
                    _ => {
                        tx.lock_contacts(ids.alice, ids.bob).await?;
                        tx.lock_device(ids.alice, device_id(1)).await?;
                    }
                }
                Ok(())
            })
        });
        assert!(matches!(out_of_order.await, Err(StoreError::Defect(_))), "case {case}");
    }
}

pub async fn created_conversations_may_be_locked_at_any_time(store: Arc<dyn Store>) {
    let world = World::new(store).await;
    let ids = world.ids();
    let work = transact(&*world.store, move |tx| {
        Box::pin(async move {
            let made = tx.create_conversation(new_group("new")).await?.ok_or(TxError::Abort)?;
            append_to(tx, ids.direct, ids.alice, &messages(1)).await?;
            append_to(tx, made, ids.alice, &messages(2)).await?;
            append_to(tx, ids.group, ids.alice, &messages(1)).await?;
            append_to(tx, made, ids.alice, &messages(1)).await?;
            Ok(made)
        })
    });
    let made = work.await.unwrap();
    let row = world.store.conversation(made).await.unwrap().unwrap();
    assert_eq!((row.last_seq, row.message_count), (Seq(3), 3));
}
