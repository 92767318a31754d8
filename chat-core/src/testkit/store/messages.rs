//! Cases about logs of conversations.

use std::sync::Arc;

use bytes::Bytes;

use super::fixture::{NOW, NewEvent, World, append, append_to, messages, transact};
use crate::model::{ClientMessageId, Conversation, Event, EventId, EventKind, Seq, UserId};
use crate::store::{SentEvent, Store, StoreError, Transaction, TxError};

/// Returns a message of Alice in the group, with the message count for a log that contains only
/// messages.
fn event(world: &World, seq: u64) -> Event {
    Event {
        conversation: world.group,
        seq: Seq(seq),
        id: EventId::random(),
        sender: world.alice,
        device: None,
        client_message_id: None,
        fingerprint: 0,
        time: NOW,
        kind: EventKind::Message,
        target: None,
        message_count: seq,
        edited_seq: None,
        recalled_seq: None,
        body: Bytes::from_static(b"text"),
    }
}

/// Inserts events into the group as they are, and replaces its row with the result of `change`.
async fn insert(
    world: &World,
    events: Vec<Event>,
    change: impl Fn(&mut Conversation) + Clone + Send + Sync + 'static,
) -> Result<(), StoreError> {
    let group = world.group;
    let work = transact(&*world.store, move |tx| {
        let (events, change) = (events.clone(), change.clone());
        Box::pin(async move {
            let mut row = tx.lock_conversation(group).await?.ok_or(TxError::Abort)?;
            change(&mut row);
            tx.insert_events(&events).await?;
            tx.update_conversation(&row).await?;
            Ok(())
        })
    });
    work.await
}

/// Returns a change of the row: the log ends at `seq`, and contains only messages.
fn ends_at(seq: u64) -> impl Fn(&mut Conversation) + Clone + Send + Sync + 'static {
    move |row| {
        row.last_seq = Seq(seq);
        row.message_count = seq;
    }
}

/// Returns all events of the group.
async fn log(world: &World) -> Vec<Event> {
    let events = world.store.events(world.group, Seq(1), Seq(u64::MAX), u32::MAX).await;
    events.unwrap()
}

fn assert_already_sent<T: std::fmt::Debug>(result: Result<T, StoreError>) {
    assert!(matches!(result, Err(StoreError::AlreadySent)), "{result:?}");
}

fn assert_defect<T: std::fmt::Debug>(result: Result<T, StoreError>) {
    assert!(matches!(result, Err(StoreError::Defect(_))), "{result:?}");
}

pub async fn event_reads_back(store: Arc<dyn Store>) {
    let world = World::new(store).await;
    let message = Event {
        device: Some(super::fixture::device_id(1)),
        client_message_id: Some(ClientMessageId([0xff; 16])),
        fingerprint: u64::MAX,
        time: crate::model::Timestamp(-1),
        ..event(&world, 1)
    };
    let reaction = Event {
        kind: EventKind::Reaction,
        target: Some(Seq(1)),
        message_count: 1,
        fingerprint: 1 << 63,
        body: Bytes::new(),
        ..event(&world, 2)
    };
    let events = vec![message, reaction];
    let row = |row: &mut Conversation| {
        row.last_seq = Seq(2);
        row.message_count = 1;
    };
    insert(&world, events.clone(), row).await.unwrap();
    assert_eq!(log(&world).await, events);
    let row = world.store.conversation(world.group).await.unwrap().unwrap();
    assert_eq!((row.last_seq, row.message_count), (Seq(2), 1));
    for (number, kind) in (3..).zip(EventKind::ALL) {
        let last = world.say(vec![NewEvent::of(kind, None)]).await;
        assert_eq!(world.store.events_at(world.group, &[Seq(number)]).await.unwrap(), last);
    }
}

pub async fn gap_is_rejected(store: Arc<dyn Store>) {
    let world = World::new(store).await;
    assert_defect(insert(&world, vec![event(&world, 2)], ends_at(2)).await);
    assert_defect(insert(&world, vec![event(&world, 1), event(&world, 3)], ends_at(3)).await);
    assert_defect(insert(&world, vec![event(&world, 1), event(&world, 1)], ends_at(1)).await);
    assert_eq!(log(&world).await, []);
    world.say(messages(2)).await;
    assert_defect(insert(&world, vec![event(&world, 2)], ends_at(2)).await);
    assert_eq!(log(&world).await.len(), 2);
}

pub async fn wrong_message_count_is_rejected(store: Arc<dyn Store>) {
    let world = World::new(store).await;
    let wrong = Event {
        message_count: 2,
        ..event(&world, 1)
    };
    assert_defect(insert(&world, vec![wrong], ends_at(1)).await);
    let not_a_message = Event {
        kind: EventKind::Edit,
        ..event(&world, 1)
    };
    assert_defect(insert(&world, vec![not_a_message], ends_at(1)).await);
    assert_eq!(log(&world).await, []);
}

pub async fn appending_without_the_lock_is_rejected(store: Arc<dyn Store>) {
    let world = World::new(store).await;
    let events = vec![event(&world, 1)];
    let work = transact(&*world.store, move |tx| {
        let events = events.clone();
        Box::pin(async move { Ok(tx.insert_events(&events).await?) })
    });
    assert_defect(work.await);
    assert_eq!(log(&world).await, []);
}

pub async fn row_that_disagrees_with_its_log_is_rejected(store: Arc<dyn Store>) {
    let world = World::new(store).await;
    assert_defect(insert(&world, vec![event(&world, 1)], ends_at(0)).await);
    assert_defect(insert(&world, vec![event(&world, 1)], ends_at(2)).await);
    assert_defect(insert(&world, vec![], ends_at(1)).await);
    assert_eq!(log(&world).await, []);
    let row = world.store.conversation(world.group).await.unwrap().unwrap();
    assert_eq!(row.last_seq, Seq::ZERO);
    insert(&world, vec![event(&world, 1)], ends_at(1)).await.unwrap();
}

pub async fn find_sent_finds_sent_events(store: Arc<dyn Store>) {
    let world = World::new(store).await;
    let new_events = messages(3);
    let ids: Vec<_> = new_events
        .iter()
        .filter_map(|new_event| new_event.client_message_id)
        .collect();
    let events = world.say(new_events).await;
    let unknown = ClientMessageId::random();
    let asked = [ids[2], unknown, ids[0], ids[2]];
    let mut found = world.store.find_sent(world.alice, &asked).await.unwrap();
    found.sort_by_key(|sent| sent.event.seq);
    let expected = [0, 2].map(|index| SentEvent {
        sender: world.alice,
        client_message_id: ids[index],
        event: events[index].clone(),
    });
    assert_eq!(found, expected);
    let alice = world.alice;
    let pairs = asked.map(|id| (alice, id)).to_vec();
    let work = transact(&*world.store, move |tx| {
        let pairs = pairs.clone();
        Box::pin(async move { Ok(tx.find_sent(&pairs).await?) })
    });
    let mut found = work.await.unwrap();
    found.sort_by_key(|sent| sent.event.seq);
    assert_eq!(found, expected);
}

pub async fn client_message_id_belongs_to_its_sender(store: Arc<dyn Store>) {
    let world = World::new(store).await;
    let new_event = NewEvent::message("hello");
    let id = new_event.client_message_id.unwrap();
    let by_alice = append(&*world.store, world.group, world.alice, vec![new_event.clone()])
        .await
        .unwrap();
    let by_bob = append(&*world.store, world.group, world.bob, vec![new_event])
        .await
        .unwrap();
    for (user, events) in [(world.alice, by_alice), (world.bob, by_bob)] {
        let found = world.store.find_sent(user, &[id]).await.unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].event, events[0]);
    }
    assert!(world.store.find_sent(world.carol, &[id]).await.unwrap().is_empty());
}

pub async fn used_client_message_id_is_rejected(store: Arc<dyn Store>) {
    let world = World::new(store).await;
    let new_event = NewEvent::message("hello");
    world.say(vec![new_event.clone()]).await;
    let fresh = NewEvent::message("fresh");
    let again = append(
        &*world.store,
        world.direct,
        world.alice,
        vec![fresh.clone(), new_event.clone()],
    )
    .await;
    assert_already_sent(again);
    let twice = append(&*world.store, world.direct, world.alice, vec![fresh.clone(), fresh]).await;
    assert_already_sent(twice);
    assert_eq!(log(&world).await.len(), 1);
    let direct = world.store.conversation(world.direct).await.unwrap().unwrap();
    assert_eq!(direct.last_seq, Seq::ZERO);
    // Events without a client message id never collide.
    let mut anonymous = messages(3);
    anonymous
        .iter_mut()
        .for_each(|new_event| new_event.client_message_id = None);
    world.say(anonymous).await;
}

pub async fn events_returns_ranges(store: Arc<dyn Store>) {
    let world = World::new(store).await;
    let all = world.say(messages(5)).await;
    let range = async |first, last, max| {
        let events = world.store.events(world.group, Seq(first), Seq(last), max).await;
        events.unwrap()
    };
    assert_eq!(range(1, 5, 9).await, all);
    assert_eq!(range(0, u64::MAX, u32::MAX).await, all);
    assert_eq!(range(2, 4, 9).await, all[1..4]);
    assert_eq!(range(2, 4, 2).await, all[1..3]);
    assert_eq!(range(5, 5, 1).await, all[4..]);
    for (first, last, max) in [(4, 2, 9), (6, 9, 9), (1, 5, 0), (0, 0, 9), (u64::MAX, u64::MAX, 9)] {
        assert_eq!(range(first, last, max).await, []);
    }
}

pub async fn events_at_finds_those_that_exist(store: Arc<dyn Store>) {
    let world = World::new(store).await;
    let all = world.say(messages(4)).await;
    let asked = [Seq(4), Seq(2), Seq(2), Seq(0), Seq(9), Seq(u64::MAX)];
    let mut found = world.store.events_at(world.group, &asked).await.unwrap();
    found.sort_by_key(|event| event.seq);
    let expected = [all[1].clone(), all[3].clone()];
    assert_eq!(found, expected);
    let group = world.group;
    let work = transact(&*world.store, move |tx| {
        Box::pin(async move { Ok(tx.events_at(group, &asked).await?) })
    });
    let mut found = work.await.unwrap();
    found.sort_by_key(|event| event.seq);
    assert_eq!(found, expected);
}

/// Appends an edit of `target`, and marks the target as edited. Returns the sequence number of the
/// edit.
async fn edit(
    tx: &mut dyn Transaction,
    (conversation, sender): (crate::model::ConversationId, UserId),
    target: Seq,
    text: &str,
) -> Result<Seq, TxError> {
    let mut new_event = NewEvent::of(EventKind::Edit, Some(target));
    new_event.body = Bytes::from(text.to_owned());
    let events = append_to(tx, conversation, sender, &[new_event]).await?;
    tx.mark_edited(conversation, target, events[0].seq).await?;
    Ok(events[0].seq)
}

pub async fn edit_is_marked(store: Arc<dyn Store>) {
    let world = World::new(store).await;
    let before = world.say(messages(2)).await;
    let group_and_sender = (world.group, world.alice);
    for seq in [3, 4] {
        let work = transact(&*world.store, move |tx| {
            Box::pin(async move { edit(tx, group_and_sender, Seq(1), "edited").await })
        });
        assert_eq!(work.await.unwrap(), Seq(seq));
        let expected = Event {
            edited_seq: Some(Seq(seq)),
            ..before[0].clone()
        };
        assert_eq!(log(&world).await[..2], [expected, before[1].clone()]);
    }
}

pub async fn marking_an_unknown_event_is_an_error(store: Arc<dyn Store>) {
    let world = World::new(store).await;
    world.say(messages(1)).await;
    let group = world.group;
    let work = transact(&*world.store, move |tx| {
        Box::pin(async move {
            tx.lock_conversation(group).await?;
            Ok(tx.mark_edited(group, Seq(9), Seq(1)).await?)
        })
    });
    assert_defect(work.await);
    let work = transact(&*world.store, move |tx| {
        Box::pin(async move {
            tx.lock_conversation(group).await?;
            Ok(tx.erase(group, Seq(9), Seq(1), Bytes::new(), Bytes::new()).await?)
        })
    });
    assert_defect(work.await);
}

/// Appends a recall of the message `target` to the group, and erases the message. Returns the
/// sequence number of the recall.
async fn recall(world: &World, target: Seq) -> Seq {
    let (group, alice) = (world.group, world.alice);
    let work = transact(&*world.store, move |tx| {
        Box::pin(async move {
            let events = append_to(tx, group, alice, &[NewEvent::of(EventKind::Recall, Some(target))]).await?;
            let (tombstone, edit_tombstone) = (Bytes::from_static(b"stone"), Bytes::from_static(b"edit stone"));
            tx.erase(group, target, events[0].seq, tombstone, edit_tombstone)
                .await?;
            Ok(events[0].seq)
        })
    });
    work.await.unwrap()
}

pub async fn erasing_replaces_message_and_edits(store: Arc<dyn Store>) {
    let world = World::new(store).await;
    let before = world.say(messages(2)).await;
    let group_and_sender = (world.group, world.alice);
    for target in [1, 2, 1] {
        let work = transact(&*world.store, move |tx| {
            Box::pin(async move { edit(tx, group_and_sender, Seq(target), "edited text").await })
        });
        work.await.unwrap();
    }
    world.say(vec![NewEvent::of(EventKind::Reaction, Some(Seq(1)))]).await;
    assert_eq!(recall(&world, Seq(1)).await, Seq(7));
    let after = log(&world).await;
    let bodies: Vec<_> = after.iter().map(|event| &event.body[..]).collect();
    let expected: [&[u8]; 7] = [
        b"stone",
        b"message 2",
        b"edit stone",
        b"edited text",
        b"edit stone",
        b"Reaction",
        b"Recall",
    ];
    assert_eq!(bodies, expected);
    let first = Event {
        recalled_seq: Some(Seq(7)),
        edited_seq: Some(Seq(5)),
        body: Bytes::from_static(b"stone"),
        ..before[0].clone()
    };
    assert_eq!(after[0], first);
    assert_eq!(after[1].recalled_seq, None);
}

pub async fn erasing_leaves_no_readable_text(store: Arc<dyn Store>) {
    const SECRET: &str = "the secret 秘密 text";
    let world = World::new(store).await;
    let new_event = NewEvent::message(SECRET).mentioning(&[world.bob, UserId(0)]);
    world.say(vec![new_event.clone()]).await;
    let group_and_sender = (world.group, world.alice);
    let work = transact(&*world.store, move |tx| {
        Box::pin(async move { edit(tx, group_and_sender, Seq(1), SECRET).await })
    });
    work.await.unwrap();
    // A dump contains bodies in the `Debug` form of `Bytes`.
    let secret = format!("{:?}", Bytes::from_static(SECRET.as_bytes()));
    assert!(world.dump().await.contains(&secret));
    recall(&world, Seq(1)).await;
    assert!(!world.dump().await.contains(&secret));
    let sent = world
        .store
        .find_sent(world.alice, &[new_event.client_message_id.unwrap()])
        .await
        .unwrap();
    assert_eq!(sent[0].event.body, "stone");
    assert_eq!(world.membership(world.bob).await.unread_mentions, 0);
}

pub async fn batch_is_one_unit(store: Arc<dyn Store>) {
    let world = World::new(store).await;
    let events = world.say(messages(128)).await;
    assert_eq!(log(&world).await, events);
    // The 128th event has a used client message id, so none of the events is stored.
    let mut new_events = messages(127);
    new_events.push(NewEvent {
        client_message_id: events[5].client_message_id,
        ..NewEvent::message("used")
    });
    assert_already_sent(append(&*world.store, world.group, world.alice, new_events).await);
    assert_eq!(log(&world).await, events);
}

pub async fn unit_spans_conversations(store: Arc<dyn Store>) {
    let world = World::new(store).await;
    let (alice, direct, group) = (world.alice, world.direct, world.group);
    for refuse in [true, false] {
        let work = transact(&*world.store, move |tx| {
            Box::pin(async move {
                append_to(tx, direct, alice, &messages(2)).await?;
                append_to(tx, group, alice, &messages(3)).await?;
                append_to(tx, group, alice, &messages(1)).await?;
                if refuse { Err(TxError::Abort) } else { Ok(()) }
            })
        });
        assert_eq!(work.await.is_err(), refuse);
        let mut found = world.store.log_versions(&[direct, group]).await.unwrap();
        found.sort();
        let expected = if refuse { [Seq(0), Seq(0)] } else { [Seq(2), Seq(4)] };
        assert_eq!([found[0].last_seq, found[1].last_seq], expected);
    }
}
