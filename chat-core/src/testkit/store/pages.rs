//! Cases for pages of the events that a user may read.

use std::sync::Arc;

use bytes::Bytes;

use super::fixture::{NewEvent, World, append_to, messages, page, put_member, transact};
use crate::model::{EventKind, Member, MemberState, Page, PageFrom, Role, Seq, UserId};
use crate::store::{EventPage, Store};

/// Reads a page of the group as `user`, who is or was a member.
async fn read(world: &World, user: UserId, page: Page) -> EventPage {
    let read = world.store.events_for(user, world.group, page).await.unwrap();
    read.expect("the user is or was a member")
}

fn seqs(page: &EventPage) -> Vec<u64> {
    page.events.iter().map(|event| event.seq.0).collect()
}

/// Returns a request for a page that only `max_events` limits.
fn of_max_events(from: PageFrom, max_events: u32) -> Page {
    Page {
        max_events,
        ..page(from)
    }
}

/// Returns a request for a page that only `max_bytes` limits.
fn of_max_bytes(from: PageFrom, max_bytes: u32) -> Page {
    Page {
        max_bytes,
        ..page(from)
    }
}

/// Returns a world with `count` messages in its group.
async fn world_with_messages(store: Arc<dyn Store>, count: usize) -> World {
    let world = World::new(store).await;
    world.say(messages(count)).await;
    world
}

pub async fn page_after_an_event_goes_forwards(store: Arc<dyn Store>) {
    let world = world_with_messages(store, 5).await;
    let got = read(&world, world.bob, of_max_events(PageFrom::After(Seq(1)), 3)).await;
    assert_eq!((seqs(&got), got.has_more), (vec![2, 3, 4], true));
    assert_eq!((got.last_seq, got.member), (Seq(5), world.member(world.bob).await));
    let got = read(&world, world.bob, of_max_events(PageFrom::After(Seq(2)), 3)).await;
    assert_eq!((seqs(&got), got.has_more), (vec![3, 4, 5], false));
}

pub async fn page_before_an_event_goes_backwards(store: Arc<dyn Store>) {
    let world = world_with_messages(store, 5).await;
    let got = read(&world, world.bob, of_max_events(PageFrom::Before(Seq(5)), 3)).await;
    assert_eq!((seqs(&got), got.has_more), (vec![2, 3, 4], true));
    let got = read(&world, world.bob, of_max_events(PageFrom::Before(Seq(4)), 3)).await;
    assert_eq!((seqs(&got), got.has_more), (vec![1, 2, 3], false));
    let got = read(&world, world.bob, of_max_events(PageFrom::Before(Seq(1)), 3)).await;
    assert_eq!((seqs(&got), got.has_more), (vec![], false));
}

pub async fn newest_page_ends_at_the_end_of_the_log(store: Arc<dyn Store>) {
    let world = world_with_messages(store, 5).await;
    let got = read(&world, world.bob, of_max_events(PageFrom::Newest, 2)).await;
    assert_eq!((seqs(&got), got.has_more), (vec![4, 5], true));
    let got = read(&world, world.bob, of_max_events(PageFrom::Newest, 9)).await;
    assert_eq!((seqs(&got), got.has_more), (vec![1, 2, 3, 4, 5], false));
}

pub async fn empty_log_has_an_empty_page(store: Arc<dyn Store>) {
    let world = World::new(store).await;
    for from in [PageFrom::After(Seq::ZERO), PageFrom::Before(Seq(9)), PageFrom::Newest] {
        let got = read(&world, world.bob, page(from)).await;
        assert_eq!((seqs(&got), got.has_more, got.last_seq), (vec![], false, Seq::ZERO));
    }
}

/// A store may read a page in parts, as the MySQL store does. The first parts of that store have 8
/// and 32 events, so these pages end just before, at, and just after the end of a part.
pub async fn long_pages_are_complete(store: Arc<dyn Store>) {
    let world = world_with_messages(store, 50).await;
    for max in [7, 8, 9, 39, 40, 41, 50, 51] {
        let got = read(&world, world.bob, of_max_events(PageFrom::After(Seq::ZERO), max)).await;
        let expected: Vec<u64> = (1..=u64::from(max).min(50)).collect();
        assert_eq!((seqs(&got), got.has_more), (expected, max < 50), "after, {max}");
        let got = read(&world, world.bob, of_max_events(PageFrom::Newest, max)).await;
        let expected: Vec<u64> = (51 - u64::from(max).min(50)..=50).collect();
        assert_eq!((seqs(&got), got.has_more), (expected, max < 50), "newest, {max}");
    }
}

pub async fn max_events_ends_a_page(store: Arc<dyn Store>) {
    let world = world_with_messages(store, 3).await;
    for from in [PageFrom::After(Seq::ZERO), PageFrom::Before(Seq(4)), PageFrom::Newest] {
        for max in [0, 1, 2, 3, 4] {
            let got = read(&world, world.bob, of_max_events(from, max)).await;
            assert_eq!(got.events.len(), max.min(3) as usize);
            assert_eq!(got.has_more, max < 3);
        }
    }
}

pub async fn max_bytes_ends_a_page(store: Arc<dyn Store>) {
    let world = World::new(store).await;
    for _ in 0..4 {
        world.say(vec![NewEvent::message("1234567890")]).await;
    }
    for (max_bytes, oldest, newest) in [
        (9, vec![1], vec![4]),
        (20, vec![1, 2], vec![3, 4]),
        (39, vec![1, 2, 3], vec![2, 3, 4]),
    ] {
        let got = read(&world, world.bob, of_max_bytes(PageFrom::After(Seq::ZERO), max_bytes)).await;
        assert_eq!((seqs(&got), got.has_more), (oldest, true));
        let got = read(&world, world.bob, of_max_bytes(PageFrom::Newest, max_bytes)).await;
        assert_eq!((seqs(&got), got.has_more), (newest, true));
    }
    let got = read(&world, world.bob, of_max_bytes(PageFrom::Newest, 40)).await;
    assert_eq!((got.events.len(), got.has_more), (4, false));
}

/// Appends an edit of the message at `target` with this body, and marks the message as edited.
/// Returns the position of the edit.
async fn edit(world: &World, target: u64, body: String) -> Seq {
    let (group, alice) = (world.group, world.alice);
    let work = transact(&*world.store, move |tx| {
        let body = body.clone();
        Box::pin(async move {
            let new_event = NewEvent {
                kind: EventKind::Edit,
                target: Some(Seq(target)),
                ..NewEvent::message(body)
            };
            let edit = append_to(tx, group, alice, &[new_event]).await?[0].seq;
            tx.mark_edited(group, Seq(target), edit).await?;
            Ok(edit)
        })
    });
    work.await.unwrap()
}

fn edit_seqs(page: &EventPage) -> Vec<u64> {
    let mut seqs: Vec<u64> = page.edits.iter().map(|edit| edit.seq.0).collect();
    seqs.sort_unstable();
    seqs
}

/// A page of short messages with long edits stays within `max_bytes`, in both directions.
pub async fn edits_count_towards_max_bytes(store: Arc<dyn Store>) {
    let world = World::new(store).await;
    for _ in 0..6 {
        world.say(vec![NewEvent::message("1234567890")]).await;
    }
    for target in 1..=6 {
        edit(&world, target, "e".repeat(1000)).await;
    }
    // The messages have the positions 1 to 6, the edits 7 to 12.
    let got = read(&world, world.bob, of_max_bytes(PageFrom::After(Seq::ZERO), 3029)).await;
    assert_eq!(
        (seqs(&got), edit_seqs(&got), got.has_more),
        (vec![1, 2], vec![7, 8], true)
    );
    let got = read(&world, world.bob, of_max_bytes(PageFrom::After(Seq::ZERO), 3030)).await;
    assert_eq!((seqs(&got), edit_seqs(&got)), (vec![1, 2, 3], vec![7, 8, 9]));
    let got = read(&world, world.bob, of_max_bytes(PageFrom::Before(Seq(7)), 2020)).await;
    assert_eq!(
        (seqs(&got), edit_seqs(&got), got.has_more),
        (vec![5, 6], vec![11, 12], true)
    );
    let got = read(&world, world.bob, of_max_bytes(PageFrom::Before(Seq(7)), 1)).await;
    assert_eq!(
        (seqs(&got), edit_seqs(&got)),
        (vec![6], vec![12]),
        "the first event is returned although it does not fit"
    );
    let got = read(&world, world.bob, page(PageFrom::Newest)).await;
    assert_eq!((got.events.len(), edit_seqs(&got)), (12, (7..=12).collect()));
    assert!(
        got.edits
            .iter()
            .all(|edit| edit.body.len() == 1000 && edit.kind == EventKind::Edit)
    );
}

/// An edit from after the reader has left, and the edit of a recalled message, are neither among
/// the edits of the page nor counted towards `max_bytes`.
pub async fn page_contains_the_edits_that_its_reader_may_read(store: Arc<dyn Store>) {
    let world = World::new(store).await;
    world.say(messages(3)).await;
    edit(&world, 1, "old".to_owned()).await;
    edit(&world, 1, "latest".to_owned()).await;
    edit(&world, 2, "recalled later".to_owned()).await;
    let (group, alice) = (world.group, world.alice);
    let recall = transact(&*world.store, move |tx| {
        Box::pin(async move {
            let new_event = NewEvent::of(EventKind::Recall, Some(Seq(2)));
            let recall = append_to(tx, group, alice, &[new_event]).await?[0].seq;
            tx.erase(
                group,
                Seq(2),
                recall,
                Bytes::from_static(b"-"),
                Bytes::from_static(b"-"),
            )
            .await?;
            Ok(())
        })
    });
    recall.await.unwrap();
    let left = Member {
        until_seq: Some(Seq(7)),
        state: MemberState::Left,
        ..world.member(world.carol).await
    };
    put_member(&*world.store, left).await;
    edit(&world, 3, "after carol left".repeat(100)).await;
    for (reader, max_bytes, edits) in [(world.bob, u32::MAX, vec![5, 8]), (world.carol, 100, vec![5])] {
        let got = read(&world, reader, of_max_bytes(PageFrom::After(Seq::ZERO), max_bytes)).await;
        assert_eq!(edit_seqs(&got), edits);
        assert_eq!(got.events.len(), if reader == world.bob { 8 } else { 7 });
        assert_eq!(
            &*got.edits.iter().find(|edit| edit.seq == Seq(5)).unwrap().body,
            b"latest"
        );
    }
}

pub async fn oversized_event_is_returned_alone(store: Arc<dyn Store>) {
    let world = World::new(store).await;
    world
        .say(vec![
            NewEvent::message("a"),
            NewEvent::message("b".repeat(1000)),
            NewEvent::message("c"),
        ])
        .await;
    let got = read(&world, world.bob, of_max_bytes(PageFrom::After(Seq(1)), 10)).await;
    assert_eq!((seqs(&got), got.has_more), (vec![2], true));
    let got = read(&world, world.bob, of_max_bytes(PageFrom::Before(Seq(3)), 0)).await;
    assert_eq!((seqs(&got), got.has_more), (vec![2], true));
}

pub async fn forward_pages_contain_every_event_once(store: Arc<dyn Store>) {
    let world = world_with_messages(store, 57).await;
    for max in [1, 7, 57, 100] {
        let mut seen = Vec::new();
        let mut last = Seq::ZERO;
        loop {
            let got = read(&world, world.bob, of_max_events(PageFrom::After(last), max)).await;
            seen.extend(seqs(&got));
            if !got.has_more {
                break;
            }
            last = got.events.last().unwrap().seq;
        }
        assert_eq!(seen, (1..=57).collect::<Vec<_>>());
    }
}

pub async fn backward_pages_contain_every_event_once(store: Arc<dyn Store>) {
    let world = world_with_messages(store, 57).await;
    for max in [1, 7, 57, 100] {
        let mut seen = Vec::new();
        let mut from = PageFrom::Newest;
        loop {
            let got = read(&world, world.bob, of_max_events(from, max)).await;
            seen.splice(0..0, seqs(&got));
            if !got.has_more {
                break;
            }
            from = PageFrom::Before(got.events[0].seq);
        }
        assert_eq!(seen, (1..=57).collect::<Vec<_>>());
    }
}

pub async fn page_contains_nothing_before_first_seq(store: Arc<dyn Store>) {
    let world = world_with_messages(store, 6).await;
    let newcomer = UserId(50);
    put_member(
        &*world.store,
        Member::active(world.group, newcomer, Role::Member, Seq(4)),
    )
    .await;
    for from in [PageFrom::After(Seq::ZERO), PageFrom::Before(Seq(7)), PageFrom::Newest] {
        let got = read(&world, newcomer, page(from)).await;
        assert_eq!((seqs(&got), got.has_more), (vec![4, 5, 6], false));
    }
    let got = read(&world, newcomer, page(PageFrom::Before(Seq(4)))).await;
    assert_eq!((seqs(&got), got.has_more), (vec![], false));
}

pub async fn page_contains_nothing_after_until_seq(store: Arc<dyn Store>) {
    let world = world_with_messages(store, 6).await;
    for state in [
        MemberState::Left,
        MemberState::Banned,
        MemberState::Invited,
        MemberState::Requested,
    ] {
        let mut member = world.member(world.carol).await;
        member.state = state;
        member.until_seq = Some(Seq(3));
        put_member(&*world.store, member).await;
        for from in [PageFrom::After(Seq::ZERO), PageFrom::Before(Seq(7)), PageFrom::Newest] {
            let got = read(&world, world.carol, page(from)).await;
            assert_eq!((seqs(&got), got.has_more, got.last_seq), (vec![1, 2, 3], false, Seq(6)));
        }
        let got = read(&world, world.carol, page(PageFrom::After(Seq(3)))).await;
        assert_eq!((seqs(&got), got.has_more), (vec![], false));
    }
}

pub async fn page_is_none_for_a_user_who_was_never_a_member(store: Arc<dyn Store>) {
    let world = world_with_messages(store, 2).await;
    let invited = UserId(50);
    let member = Member {
        state: MemberState::Invited,
        ..Member::active(world.group, invited, Role::Member, Seq::ZERO)
    };
    put_member(&*world.store, member).await;
    for user in [invited, UserId(77), UserId(u64::MAX)] {
        let got = world.store.events_for(user, world.group, page(PageFrom::Newest)).await;
        assert_eq!(got.unwrap(), None);
    }
}

pub async fn pages_may_start_beyond_the_ends_of_the_log(store: Arc<dyn Store>) {
    let world = world_with_messages(store, 2).await;
    for seq in [Seq(2), Seq(3), Seq(u64::MAX >> 1), Seq(u64::MAX)] {
        let got = read(&world, world.bob, page(PageFrom::After(seq))).await;
        assert_eq!((seqs(&got), got.has_more), (vec![], false), "after {seq}");
    }
    for seq in [Seq(3), Seq(u64::MAX)] {
        let got = read(&world, world.bob, page(PageFrom::Before(seq))).await;
        assert_eq!((seqs(&got), got.has_more), (vec![1, 2], false), "before {seq}");
    }
    let got = read(&world, world.bob, page(PageFrom::Before(Seq::ZERO))).await;
    assert_eq!((seqs(&got), got.has_more), (vec![], false));
}
