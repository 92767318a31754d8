//! Cases for pages of the events that a user may read.

use std::sync::Arc;

use super::fixture::{NewEvent, World, messages, page, put_member};
use crate::model::{Member, MemberState, Page, PageFrom, Role, Seq, UserId};
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

pub async fn after_pages_forwards(store: Arc<dyn Store>) {
    let world = world_with_messages(store, 5).await;
    let got = read(&world, world.bob, of_max_events(PageFrom::After(Seq(1)), 3)).await;
    assert_eq!((seqs(&got), got.has_more), (vec![2, 3, 4], true));
    assert_eq!((got.last_seq, got.member), (Seq(5), world.member(world.bob).await));
    let got = read(&world, world.bob, of_max_events(PageFrom::After(Seq(2)), 3)).await;
    assert_eq!((seqs(&got), got.has_more), (vec![3, 4, 5], false));
}

pub async fn before_pages_backwards(store: Arc<dyn Store>) {
    let world = world_with_messages(store, 5).await;
    let got = read(&world, world.bob, of_max_events(PageFrom::Before(Seq(5)), 3)).await;
    assert_eq!((seqs(&got), got.has_more), (vec![2, 3, 4], true));
    let got = read(&world, world.bob, of_max_events(PageFrom::Before(Seq(4)), 3)).await;
    assert_eq!((seqs(&got), got.has_more), (vec![1, 2, 3], false));
    let got = read(&world, world.bob, of_max_events(PageFrom::Before(Seq(1)), 3)).await;
    assert_eq!((seqs(&got), got.has_more), (vec![], false));
}

pub async fn newest_pages_from_the_end(store: Arc<dyn Store>) {
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
