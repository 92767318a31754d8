//! Cases about simultaneous units of work and reads.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::task::JoinSet;

use super::fixture::{
    NOW, NewEvent, World, append, append_to, create, create_account, device_id, messages, new_account, new_device,
    page, put_device, transact, without_group,
};
use crate::model::{
    Contact, ContactState, ConversationId, ConversationKind, Member, PageFrom, Role, Seq, SessionEpoch, Timestamp,
    UserId,
};
use crate::store::{Store, StoreError, TxError};

/// Number of simultaneous units of work in most cases.
const MANY: u64 = 64;

pub async fn concurrent_appends_leave_no_gap(store: Arc<dyn Store>) {
    let world = World::new(store).await;
    let mut tasks = JoinSet::new();
    for task in 0..MANY {
        let (store, group) = (Arc::clone(&world.store), world.group);
        let sender = [world.alice, world.bob, world.carol][task as usize % 3];
        tasks.spawn(async move {
            let mut mine = Vec::new();
            for round in 0..8 {
                let new_events = messages(1 + (task + round) as usize % 3);
                mine.extend(append(&*store, group, sender, new_events).await.unwrap());
            }
            mine
        });
    }
    let mut appended = Vec::new();
    for mine in tasks.join_all().await {
        assert!(
            mine.is_sorted_by_key(|event| event.seq),
            "the events of one task are in order"
        );
        appended.extend(mine);
    }
    appended.sort_by_key(|event| event.seq);
    let stored = world
        .store
        .events(world.group, Seq(1), Seq(u64::MAX), u32::MAX)
        .await
        .unwrap();
    assert_eq!(stored, appended);
    assert!(stored.iter().map(|event| event.seq.0).eq(1..=appended.len() as u64));
    assert!(stored.is_sorted_by_key(|event| event.time));
}

pub async fn readers_never_see_a_gap(store: Arc<dyn Store>) {
    /// Number of messages, which eight writers append two at a time.
    const TOTAL: u64 = 400;
    let world = World::new(store).await;
    let mut writers = JoinSet::new();
    for _ in 0..8 {
        let (store, group, alice) = (Arc::clone(&world.store), world.group, world.alice);
        writers.spawn(async move {
            for _ in 0..TOTAL / 16 {
                append(&*store, group, alice, messages(2)).await.unwrap();
            }
        });
    }
    let mut readers = JoinSet::new();
    for _ in 0..4 {
        let (store, group, bob) = (Arc::clone(&world.store), world.group, world.bob);
        readers.spawn(async move {
            let mut last = Seq::ZERO;
            while last < Seq(TOTAL) {
                let got = store
                    .events_for(bob, group, page(PageFrom::After(last)))
                    .await
                    .unwrap()
                    .unwrap();
                for event in &got.events {
                    assert_eq!(event.seq, last.next());
                    last = event.seq;
                }
                assert!(last >= got.last_seq, "the page ends before the log");
                assert!(last.0.is_multiple_of(2), "the log ends inside a unit, at {last}");
            }
        });
    }
    writers.join_all().await;
    readers.join_all().await;
}

pub async fn account_name_is_taken_once_by_many(store: Arc<dyn Store>) {
    let mut tasks = JoinSet::new();
    for _ in 0..MANY / 2 {
        let store = Arc::clone(&store);
        tasks.spawn(async move {
            let made = transact(&*store, |tx| {
                Box::pin(async move { Ok(tx.create_account(new_account("alice")).await?) })
            });
            made.await.unwrap()
        });
    }
    let given: Vec<UserId> = tasks.join_all().await.into_iter().flatten().collect();
    assert_eq!(given.len(), 1);
    assert_eq!(store.account_by_name("alice").await.unwrap().unwrap().id, given[0]);
}

pub async fn direct_conversation_is_created_once_by_many(store: Arc<dyn Store>) {
    let mut tasks = JoinSet::new();
    for task in 0..MANY / 2 {
        let store = Arc::clone(&store);
        let (a, b) = if task % 2 == 0 {
            (UserId(1), UserId(2))
        } else {
            (UserId(2), UserId(1))
        };
        tasks.spawn(async move { create(&*store, without_group(ConversationKind::direct(a, b))).await });
    }
    let made: Vec<_> = tasks.join_all().await.into_iter().flatten().collect();
    assert_eq!(made.len(), 1);
}

pub async fn device_locks_exclude_each_other(store: Arc<dyn Store>) {
    let user = create_account(&*store, "alice").await;
    put_device(&*store, new_device(user, 1)).await;
    let mut tasks = JoinSet::new();
    for _ in 0..MANY {
        let store = Arc::clone(&store);
        tasks.spawn(async move {
            let login = transact(&*store, move |tx| {
                Box::pin(async move {
                    let mut device = tx.lock_device(user, device_id(1)).await?.ok_or(TxError::Abort)?;
                    device.session_epoch = SessionEpoch(device.session_epoch.0 + 1);
                    tx.put_device(&device).await?;
                    Ok(device.session_epoch.0)
                })
            });
            login.await.unwrap()
        });
    }
    let epochs: BTreeSet<u64> = tasks.join_all().await.into_iter().collect();
    assert!(epochs.into_iter().eq(1..=MANY), "every login has a different epoch");
}

/// Changes of one account that read and write its row while they hold the lock of the same device
/// do not undo each other, although each writes the whole row.
pub async fn account_changes_under_the_device_lock_lose_nothing(store: Arc<dyn Store>) {
    let user = create_account(&*store, "alice").await;
    let mut tasks = JoinSet::new();
    for task in 0..MANY {
        let store = Arc::clone(&store);
        tasks.spawn(async move {
            let change = transact(&*store, move |tx| {
                Box::pin(async move {
                    tx.lock_device(user, device_id(1)).await?;
                    let mut account = tx.account(user).await?.ok_or(TxError::Abort)?;
                    // Half of the tasks count in one field, the others in another field.
                    let count = |text: &str| format!("{text}x");
                    if task % 2 == 0 {
                        account.display_name = count(&account.display_name);
                    } else {
                        account.password_hash = Some(count(&account.password_hash.unwrap_or_default()));
                    }
                    Ok(tx.update_account(&account).await?)
                })
            });
            change.await.unwrap();
        });
    }
    tasks.join_all().await;
    let account = store.account(user).await.unwrap().unwrap();
    let half = "x".repeat(MANY as usize / 2);
    assert_eq!(
        account.display_name,
        format!("{}{half}", new_account("alice").display_name)
    );
    assert_eq!(account.password_hash, Some(half));
}

pub async fn contact_locks_exclude_each_other(store: Arc<dyn Store>) {
    let mut tasks = JoinSet::new();
    for task in 0..MANY {
        let store = Arc::clone(&store);
        tasks.spawn(async move {
            let work = transact(&*store, move |tx| {
                Box::pin(async move {
                    let (a, b) = (UserId(1), UserId(2));
                    let found = if task % 2 == 0 {
                        tx.lock_contacts(a, b).await?.0
                    } else {
                        tx.lock_contacts(b, a).await?.1
                    };
                    let contact = Contact {
                        owner: a,
                        peer: b,
                        state: ContactState::Requested,
                        blocked: false,
                        note: String::new(),
                        since: Timestamp(found.map_or(0, |contact| contact.since.0) + 1),
                    };
                    Ok(tx.put_contact(&contact).await?)
                })
            });
            work.await.unwrap();
        });
    }
    tasks.join_all().await;
    let contact = store.contact(UserId(1), UserId(2)).await.unwrap().unwrap();
    assert_eq!(contact.since, Timestamp(MANY as i64));
}

/// Friend requests of many users to one user, each of which counts the open requests under the lock
/// of the inbox, do not exceed a maximum together.
pub async fn requests_under_the_lock_of_the_inbox_are_counted(store: Arc<dyn Store>) {
    const MAX: u32 = 5;
    let world = World::new(store).await;
    let bob = world.bob;
    let inbox = create(&*world.store, without_group(ConversationKind::Inbox { owner: bob })).await;
    let inbox = inbox.unwrap();
    let mut tasks = JoinSet::new();
    for sender in 1000..1000 + MANY {
        let store = Arc::clone(&world.store);
        tasks.spawn(async move {
            let request = transact(&*store, move |tx| {
                Box::pin(async move {
                    let sender = UserId(sender);
                    tx.lock_contacts(sender, bob).await?;
                    tx.lock_conversation(inbox).await?;
                    if tx.incoming_request_count(bob, MAX).await? >= MAX {
                        return Ok(false);
                    }
                    for (owner, peer, state) in [
                        (sender, bob, ContactState::Requested),
                        (bob, sender, ContactState::Pending),
                    ] {
                        let contact = Contact {
                            owner,
                            peer,
                            state,
                            blocked: false,
                            note: String::new(),
                            since: NOW,
                        };
                        tx.put_contact(&contact).await?;
                    }
                    Ok(true)
                })
            });
            request.await.unwrap()
        });
    }
    let made = tasks.join_all().await.into_iter().filter(|is_made| *is_made).count();
    assert_eq!(made, MAX as usize);
    assert_eq!(world.store.contacts(bob, UserId(0), 100).await.unwrap().len(), made);
}

pub async fn concurrent_retries_store_one_event(store: Arc<dyn Store>) {
    let world = World::new(store).await;
    let new_event = NewEvent::message("once");
    let id = new_event.client_message_id.unwrap();
    let mut tasks = JoinSet::new();
    for _ in 0..MANY {
        let (store, group, alice) = (Arc::clone(&world.store), world.group, world.alice);
        let new_event = new_event.clone();
        tasks.spawn(async move {
            let send = transact(&*store, move |tx| {
                let new_event = new_event.clone();
                Box::pin(async move {
                    tx.lock_conversation(group).await?;
                    if let Some(sent) = tx.find_sent(&[(alice, id)]).await?.pop() {
                        return Ok((sent.event.seq, sent.event.id));
                    }
                    let events = append_to(tx, group, alice, &[new_event]).await?;
                    Ok((events[0].seq, events[0].id))
                })
            });
            send.await.unwrap()
        });
    }
    let answers: BTreeSet<_> = tasks.join_all().await.into_iter().collect();
    assert_eq!(answers.len(), 1, "every retry has the same answer");
    assert_eq!(
        world.store.conversation(world.group).await.unwrap().unwrap().last_seq,
        Seq(1)
    );
}

pub async fn failing_units_do_not_affect_others(store: Arc<dyn Store>) {
    let world = World::new(store).await;
    let mut tasks = JoinSet::new();
    for task in 0..MANY * 2 {
        let (store, group, alice) = (Arc::clone(&world.store), world.group, world.alice);
        tasks.spawn(async move {
            let work = transact(&*store, move |tx| {
                Box::pin(async move {
                    match task % 4 {
                        0 => append_to(tx, group, alice, &messages(2)).await,
                        1 => {
                            tx.lock_conversation(group).await?;
                            Err(TxError::Abort)
                        }
                        2 => {
                            append_to(tx, group, alice, &messages(3)).await?;
                            Err(TxError::Abort)
                        }
                        _ => {
                            append_to(tx, group, alice, &messages(1)).await?;
                            tx.create_account(new_account("ghost")).await?;
                            panic!("a deliberate panic");
                        }
                    }
                })
            });
            (task, work.await)
        });
    }
    let mut appended = Vec::new();
    for (task, answer) in tasks.join_all().await {
        match (task % 4, answer) {
            (0, Ok(events)) => appended.extend(events),
            (1 | 2, Err(StoreError::Aborted)) | (3, Err(StoreError::Defect(_))) => {}
            other => panic!("{other:?}"),
        }
    }
    appended.sort_by_key(|event| event.seq);
    assert_eq!(appended.len() as u64, MANY);
    let stored = world
        .store
        .events(world.group, Seq(1), Seq(u64::MAX), u32::MAX)
        .await
        .unwrap();
    assert_eq!(stored, appended);
    assert_eq!(world.store.account_by_name("ghost").await.unwrap(), None);
}

pub async fn concurrent_cursors_end_at_the_greatest(store: Arc<dyn Store>) {
    let world = World::new(store).await;
    world.say(messages(MANY as usize)).await;
    let mut tasks = JoinSet::new();
    for task in 1..=MANY {
        let (store, group, bob) = (Arc::clone(&world.store), world.group, world.bob);
        tasks.spawn(async move {
            // The tasks together take each number of `1..=MANY` once, not in ascending order.
            let seq = Seq((task * 37) % MANY + 1);
            store.advance_cursors(&[(bob, device_id(1), group, seq)]).await.unwrap();
            store.advance_reads(&[(bob, group, seq)]).await.unwrap();
        });
    }
    tasks.join_all().await;
    let membership = world.membership(world.bob).await;
    assert_eq!(
        (membership.cursor, membership.member.read_seq, membership.unread),
        (Seq(MANY), Seq(MANY), 0)
    );
}

pub async fn page_and_member_come_from_one_snapshot(store: Arc<dyn Store>) {
    let world = World::new(store).await;
    let (alice, carol, group) = (world.alice, world.carol, world.group);
    let writer = {
        let store = Arc::clone(&world.store);
        async move {
            for _ in 0..60 {
                let work = transact(&*store, move |tx| {
                    Box::pin(async move {
                        let events = append_to(tx, group, alice, &messages(1)).await?;
                        let mut member = Member::active(group, carol, Role::Member, Seq(1));
                        member.until_seq = Some(events[0].seq);
                        Ok(tx.put_member(&member).await?)
                    })
                });
                work.await.unwrap();
            }
        }
    };
    let writer = tokio::spawn(writer);
    while !writer.is_finished() {
        let got = world
            .store
            .events_for(carol, group, page(PageFrom::Newest))
            .await
            .unwrap()
            .unwrap();
        let last = got.events.last().map_or(Seq::ZERO, |event| event.seq);
        assert_eq!(
            (last, got.member.until_seq.unwrap_or(last)),
            (got.last_seq, got.last_seq)
        );
    }
    writer.await.unwrap();
}

pub async fn memberships_come_from_one_snapshot(store: Arc<dyn Store>) {
    let world = World::new(store).await;
    let (alice, bob, direct, group) = (world.alice, world.bob, world.direct, world.group);
    let writer = {
        let store = Arc::clone(&world.store);
        async move {
            for _ in 0..60 {
                let work = transact(&*store, move |tx| {
                    Box::pin(async move {
                        append_to(tx, direct, alice, &messages(1)).await?;
                        Ok(append_to(tx, group, alice, &messages(1)).await?.len())
                    })
                });
                work.await.unwrap();
            }
        }
    };
    let writer = tokio::spawn(writer);
    while !writer.is_finished() {
        let memberships = world
            .store
            .memberships(bob, device_id(1), ConversationId(0), u32::MAX)
            .await
            .unwrap();
        assert_eq!(memberships.len(), 2);
        assert_eq!(
            memberships[0].conversation.last_seq,
            memberships[1].conversation.last_seq
        );
        assert_eq!(memberships[0].unread, memberships[0].conversation.last_seq.0);
        assert_eq!(memberships[1].unread, memberships[0].unread);
    }
    writer.await.unwrap();
    let last_time = world.store.conversation(direct).await.unwrap().unwrap().last_time;
    assert!(NOW < last_time, "the writer appended nothing");
}
