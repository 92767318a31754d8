//! Cases about cursors of devices and read marks of users.

use std::sync::Arc;

use super::fixture::{World, append, create_account, device_id, messages, put_member};
use crate::model::{ConversationId, DeviceId, MemberState, Seq, UserId};
use crate::store::Store;

async fn world_with_five_messages(store: Arc<dyn Store>) -> World {
    let world = World::new(store).await;
    world.say(messages(5)).await;
    world
}

async fn cursor(world: &World, user: UserId, device: u8) -> Seq {
    let membership = world
        .store
        .membership(user, device_id(device), world.group)
        .await
        .unwrap();
    membership.expect("the user has a membership").cursor
}

async fn move_to(world: &World, user: UserId, device: u8, seq: u64) {
    let moves = [(user, device_id(device), world.group, Seq(seq))];
    world.store.advance_cursors(&moves).await.unwrap();
}

async fn read_to(world: &World, user: UserId, seq: u64) {
    world
        .store
        .advance_reads(&[(user, world.group, Seq(seq))])
        .await
        .unwrap();
}

pub async fn cursor_only_grows(store: Arc<dyn Store>) {
    let world = world_with_five_messages(store).await;
    for (to, expected) in [(0, 0), (3, 3), (2, 3), (3, 3), (5, 5), (1, 5)] {
        move_to(&world, world.bob, 1, to).await;
        assert_eq!(cursor(&world, world.bob, 1).await, Seq(expected));
    }
}

pub async fn cursor_advances_the_delivered_mark(store: Arc<dyn Store>) {
    let world = world_with_five_messages(store).await;
    move_to(&world, world.bob, 1, 3).await;
    move_to(&world, world.bob, 2, 2).await;
    let member = world.member(world.bob).await;
    assert_eq!((member.delivered_seq, member.read_seq), (Seq(3), Seq::ZERO));
    move_to(&world, world.bob, 2, 4).await;
    assert_eq!(world.member(world.bob).await.delivered_seq, Seq(4));
    assert_eq!(world.member(world.carol).await.delivered_seq, Seq::ZERO);
}

pub async fn devices_have_separate_cursors(store: Arc<dyn Store>) {
    let world = world_with_five_messages(store).await;
    append(&*world.store, world.direct, world.alice, messages(2))
        .await
        .unwrap();
    let moves = [
        (world.bob, device_id(1), world.group, Seq(4)),
        (world.bob, device_id(2), world.direct, Seq(1)),
        (world.carol, device_id(1), world.group, Seq(2)),
    ];
    world.store.advance_cursors(&moves).await.unwrap();
    assert_eq!(cursor(&world, world.bob, 1).await, Seq(4));
    assert_eq!(cursor(&world, world.bob, 2).await, Seq::ZERO);
    assert_eq!(cursor(&world, world.carol, 1).await, Seq(2));
    let direct = world
        .store
        .membership(world.bob, device_id(2), world.direct)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(direct.cursor, Seq(1));
}

pub async fn cursor_beyond_the_log_moves_to_its_end(store: Arc<dyn Store>) {
    let world = world_with_five_messages(store).await;
    for (end, seq) in [(5, 6), (6, 1 << 40), (7, u64::MAX)] {
        move_to(&world, world.bob, 1, seq).await;
        assert_eq!(cursor(&world, world.bob, 1).await, Seq(end));
        assert_eq!(world.member(world.bob).await.delivered_seq, Seq(end));
        world.say(messages(1)).await;
    }
    let unknown_conversation = [(world.bob, device_id(1), ConversationId(99), Seq(1))];
    world.store.advance_cursors(&unknown_conversation).await.unwrap();
}

pub async fn cursors_of_non_members_are_ignored(store: Arc<dyn Store>) {
    let world = world_with_five_messages(store).await;
    let stranger = create_account(&*world.store, "stranger").await;
    super::fixture::put_device(&*world.store, super::fixture::new_device(stranger, 1)).await;
    move_to(&world, stranger, 1, 3).await;
    read_to(&world, stranger, 3).await;
    assert_eq!(world.store.member(world.group, stranger).await.unwrap(), None);
    let mut invited = crate::model::Member::active(world.group, stranger, crate::model::Role::Member, Seq::ZERO);
    invited.state = MemberState::Invited;
    put_member(&*world.store, invited.clone()).await;
    move_to(&world, stranger, 1, 3).await;
    read_to(&world, stranger, 3).await;
    assert_eq!(world.member(stranger).await, invited);
}

pub async fn cursors_of_unknown_devices_are_ignored(store: Arc<dyn Store>) {
    let world = world_with_five_messages(store).await;
    let unknown: DeviceId = device_id(99);
    world
        .store
        .advance_cursors(&[(world.bob, unknown, world.group, Seq(3))])
        .await
        .unwrap();
    assert_eq!(world.member(world.bob).await.delivered_seq, Seq::ZERO);
    let membership = world
        .store
        .membership(world.bob, unknown, world.group)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(membership.cursor, Seq::ZERO);
}

pub async fn cursor_of_a_former_member_ends_at_until_seq(store: Arc<dyn Store>) {
    let world = world_with_five_messages(store).await;
    let mut member = world.member(world.carol).await;
    member.state = MemberState::Left;
    member.until_seq = Some(Seq(3));
    put_member(&*world.store, member).await;
    for (to, expected) in [(2, 2), (4, 3), (5, 3)] {
        move_to(&world, world.carol, 1, to).await;
        read_to(&world, world.carol, to).await;
        assert_eq!(cursor(&world, world.carol, 1).await, Seq(expected));
        let member = world.member(world.carol).await;
        assert_eq!((member.delivered_seq, member.read_seq), (Seq(expected), Seq(expected)));
    }
}

pub async fn read_marks_only_grow(store: Arc<dyn Store>) {
    let world = world_with_five_messages(store).await;
    for (to, expected) in [(3, 3), (1, 3), (5, 5), (4, 5)] {
        read_to(&world, world.bob, to).await;
        assert_eq!(world.member(world.bob).await.read_seq, Seq(expected));
    }
    assert_eq!(cursor(&world, world.bob, 1).await, Seq::ZERO);
}

pub async fn read_marks_beyond_the_log_move_to_its_end(store: Arc<dyn Store>) {
    let world = world_with_five_messages(store).await;
    for (end, seq) in [(5, 6), (6, u64::MAX)] {
        read_to(&world, world.bob, seq).await;
        assert_eq!(world.member(world.bob).await.read_seq, Seq(end));
        world.say(messages(1)).await;
    }
    let unknown_conversation = [(world.bob, ConversationId(u64::MAX), Seq(1))];
    world.store.advance_reads(&unknown_conversation).await.unwrap();
}

pub async fn one_call_takes_many_moves(store: Arc<dyn Store>) {
    let world = world_with_five_messages(store).await;
    let users = [world.alice, world.bob, world.carol];
    let cursors: Vec<_> = (1..=5)
        .flat_map(|seq| users.map(|user| (user, device_id(2), world.group, Seq(seq))))
        .collect();
    world.store.advance_cursors(&cursors).await.unwrap();
    let reads: Vec<_> = (1..=4)
        .rev()
        .flat_map(|seq| users.map(|user| (user, world.group, Seq(seq))))
        .collect();
    world.store.advance_reads(&reads).await.unwrap();
    for user in users {
        assert_eq!(cursor(&world, user, 2).await, Seq(5));
        let member = world.member(user).await;
        assert_eq!((member.delivered_seq, member.read_seq), (Seq(5), Seq(4)));
    }
    world.store.advance_cursors(&[]).await.unwrap();
    world.store.advance_reads(&[]).await.unwrap();
}
