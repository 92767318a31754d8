//! Cases about memberships of users in conversations.

use std::sync::Arc;

use super::fixture::{
    World, create, create_account, device_id, messages, new_group, page, profile, put_member, transact, without_group,
};
use crate::model::{
    ConversationId, ConversationKind, GroupProfile, GroupSnapshot, JoinPolicy, Member, MemberState, PageFrom, Role,
    Seq, Timestamp, UserId,
};
use crate::store::{Store, StoreError};

pub async fn member_reads_back(store: Arc<dyn Store>) {
    let id = create(&*store, new_group("g")).await.unwrap();
    let states = [
        MemberState::Active,
        MemberState::Invited,
        MemberState::Requested,
        MemberState::Left,
        MemberState::Banned,
    ];
    let roles = [Role::Member, Role::Admin, Role::Owner];
    for (user, state) in (1..).map(UserId).zip(states) {
        for role in roles {
            let member = Member {
                conversation: id,
                user,
                state,
                role,
                first_seq: Seq(user.0 * 10),
                until_seq: (role == Role::Admin).then_some(Seq(1000)),
                muted_until: Timestamp(12345),
                delivered_seq: Seq(40),
                read_seq: Seq(30),
                has_sent: role == Role::Admin,
                invited_by: (role != Role::Owner).then_some(UserId(77)),
            };
            put_member(&*store, member.clone()).await;
            assert_eq!(store.member(id, user).await.unwrap(), Some(member));
        }
    }
    assert_eq!(store.member(id, UserId(99)).await.unwrap(), None);
}

pub async fn delivered_and_read_marks_never_decrease(store: Arc<dyn Store>) {
    let world = World::new(store).await;
    let mut member = world.member(world.bob).await;
    member.delivered_seq = Seq(9);
    member.read_seq = Seq(7);
    put_member(&*world.store, member.clone()).await;
    let lower = Member {
        delivered_seq: Seq(8),
        read_seq: Seq(0),
        role: Role::Member,
        ..member.clone()
    };
    put_member(&*world.store, lower).await;
    let expected = Member {
        role: Role::Member,
        ..member
    };
    assert_eq!(world.member(world.bob).await, expected);
}

pub async fn members_are_listed_in_pages(store: Arc<dyn Store>) {
    let id = create(&*store, new_group("g")).await.unwrap();
    let other = create(&*store, new_group("h")).await.unwrap();
    put_member(&*store, Member::active(other, UserId(3), Role::Member, Seq(1))).await;
    for user in [7, 2, 5, 11] {
        put_member(&*store, Member::active(id, UserId(user), Role::Member, Seq(1))).await;
    }
    for (user, state) in [
        (4, MemberState::Left),
        (6, MemberState::Invited),
        (8, MemberState::Banned),
    ] {
        let mut member = Member::active(id, UserId(user), Role::Member, Seq(1));
        member.state = state;
        put_member(&*store, member).await;
    }
    let users = async |after, limit| {
        let members = store.members(id, UserId(after), limit).await.unwrap();
        members.iter().map(|member| member.user.0).collect::<Vec<_>>()
    };
    assert_eq!(users(0, 100).await, [2, 5, 6, 7, 8, 11]);
    assert_eq!(users(0, 3).await, [2, 5, 6]);
    assert_eq!(users(6, 3).await, [7, 8, 11]);
    assert_eq!(users(11, 3).await, Vec::<u64>::new());
    assert_eq!(users(u64::MAX, 3).await, Vec::<u64>::new());
}

pub async fn members_in_finds_existing_members(store: Arc<dyn Store>) {
    let world = World::new(store).await;
    let (alice, carol, direct, group) = (world.alice, world.carol, world.direct, world.group);
    let work = transact(&*world.store, move |tx| {
        Box::pin(async move {
            let of_direct = tx.members_in(direct, &[carol, alice, alice]).await?;
            let of_group = tx.members_in(group, &[carol, UserId(99), alice]).await?;
            Ok((of_direct, of_group))
        })
    });
    let (of_direct, of_group) = work.await.unwrap();
    assert_eq!(of_direct.iter().map(|member| member.user).collect::<Vec<_>>(), [alice]);
    assert_eq!(of_group.len(), 2);
}

pub async fn members_with_role_returns_active_members_of_at_least_that_role(store: Arc<dyn Store>) {
    let world = World::new(store).await;
    let mut former_owner = Member::active(world.group, UserId(50), Role::Owner, Seq(1));
    former_owner.state = MemberState::Left;
    put_member(&*world.store, former_owner).await;
    let group = world.group;
    let expected = [
        (Role::Owner, vec![world.alice]),
        (Role::Admin, vec![world.alice, world.bob]),
        (Role::Member, vec![world.alice, world.bob, world.carol]),
    ];
    for (role, users) in expected {
        let work = transact(&*world.store, move |tx| {
            Box::pin(async move { Ok(tx.members_with_role(group, role).await?) })
        });
        let found: Vec<_> = work.await.unwrap().iter().map(|member| member.user).collect();
        assert_eq!(found, users, "{role:?}");
    }
}

pub async fn members_by_seniority_leaves_out_disabled_accounts(store: Arc<dyn Store>) {
    let world = World::new(store).await;
    let store = &*world.store;
    let late = create_account(store, "late").await;
    let disabled = create_account(store, "disabled").await;
    let left = create_account(store, "left").await;
    put_member(store, Member::active(world.group, late, Role::Member, Seq(9))).await;
    put_member(store, Member::active(world.group, disabled, Role::Admin, Seq(1))).await;
    let former_admin = Member {
        state: MemberState::Left,
        ..Member::active(world.group, left, Role::Admin, Seq(1))
    };
    put_member(store, former_admin).await;
    let mut row = store.account(disabled).await.unwrap().unwrap();
    row.disabled = true;
    let work = transact(store, move |tx| {
        let row = row.clone();
        Box::pin(async move { Ok(tx.update_account(&row).await?) })
    });
    work.await.unwrap();
    let group = world.group;
    let first = async |limit| {
        let work = transact(store, move |tx| {
            Box::pin(async move { Ok(tx.members_by_seniority(group, limit).await?) })
        });
        let members = work.await.unwrap();
        members.iter().map(|member| member.user).collect::<Vec<_>>()
    };
    assert_eq!(first(9).await, [world.alice, world.bob, world.carol, late]);
    assert_eq!(first(2).await, [world.alice, world.bob]);
}

pub async fn advance_read_advances_active_members(store: Arc<dyn Store>) {
    let world = World::new(store).await;
    world.say(messages(5)).await;
    let mut left = world.member(world.carol).await;
    left.state = MemberState::Left;
    put_member(&*world.store, left).await;
    let (alice, bob, carol, group) = (world.alice, world.bob, world.carol, world.group);
    let work = transact(&*world.store, move |tx| {
        Box::pin(async move {
            tx.advance_read(
                group,
                &[(alice, Seq(5)), (bob, Seq(3)), (carol, Seq(5)), (UserId(99), Seq(1))],
            )
            .await?;
            Ok(tx.advance_read(group, &[(bob, Seq(2)), (alice, Seq(1))]).await?)
        })
    });
    work.await.unwrap();
    assert_eq!(world.member(alice).await.read_seq, Seq(5));
    assert_eq!(world.member(bob).await.read_seq, Seq(3));
    assert_eq!(world.member(carol).await.read_seq, Seq::ZERO);
    assert_eq!(world.store.member(group, UserId(99)).await.unwrap(), None);
}

pub async fn group_count_counts_existing_groups_in_which_the_user_is_active(store: Arc<dyn Store>) {
    let world = World::new(store).await;
    let bob = world.bob;
    let inbox = ConversationKind::Inbox { owner: bob };
    let inbox = create(&*world.store, without_group(inbox)).await.unwrap();
    put_member(&*world.store, Member::active(inbox, bob, Role::Member, Seq(1))).await;
    for (name, state) in [
        ("left", MemberState::Left),
        ("invited", MemberState::Invited),
        ("in", MemberState::Active),
    ] {
        let id = create(&*world.store, new_group(name)).await.unwrap();
        let mut member = Member::active(id, bob, Role::Member, Seq(1));
        member.state = state;
        put_member(&*world.store, member).await;
    }
    let deleted = create(&*world.store, new_group("deleted")).await.unwrap();
    put_member(&*world.store, Member::active(deleted, bob, Role::Member, Seq(1))).await;
    let delete = transact(&*world.store, move |tx| {
        Box::pin(async move {
            let mut row = tx.lock_conversation(deleted).await?.unwrap();
            row.deleted = true;
            Ok(tx.update_conversation(&row).await?)
        })
    });
    delete.await.unwrap();
    let work = transact(&*world.store, move |tx| {
        Box::pin(async move {
            let counts = [tx.group_count(bob, u32::MAX).await?, tx.group_count(bob, 1).await?];
            Ok(counts)
        })
    });
    assert_eq!(work.await.unwrap(), [2, 1]);
}

pub async fn former_group_count_counts_readable_groups_in_which_the_user_is_not_active(store: Arc<dyn Store>) {
    let world = World::new(store).await;
    let bob = world.bob;
    // Name of the group, state of the membership, first and last readable event, and whether the
    // group is deleted.
    let groups = [
        ("left", MemberState::Left, 1, Some(5), false),
        ("banned", MemberState::Banned, 1, Some(5), false),
        ("invited again", MemberState::Invited, 1, Some(5), false),
        ("deleted", MemberState::Active, 1, None, true),
        ("only invited", MemberState::Invited, 0, None, false),
        ("withdrawn", MemberState::Left, 0, None, false),
        ("nothing readable", MemberState::Left, 5, Some(4), false),
        ("in", MemberState::Active, 1, None, false),
    ];
    for (name, state, first_seq, until_seq, deleted) in groups {
        let id = create(&*world.store, new_group(name)).await.unwrap();
        let mut member = Member::active(id, bob, Role::Member, Seq(first_seq));
        (member.state, member.until_seq) = (state, until_seq.map(Seq));
        put_member(&*world.store, member).await;
        let set_deleted = transact(&*world.store, move |tx| {
            Box::pin(async move {
                let mut row = tx.lock_conversation(id).await?.unwrap();
                row.deleted = deleted;
                Ok(tx.update_conversation(&row).await?)
            })
        });
        assert!(set_deleted.await.unwrap());
    }
    let count = async |user, max| {
        let work = transact(&*world.store, move |tx| {
            Box::pin(async move { Ok(tx.former_group_count(user, max).await?) })
        });
        work.await.unwrap()
    };
    assert_eq!(count(bob, u32::MAX).await, 4);
    assert_eq!(count(bob, 3).await, 3, "the store stops at the maximum");
    assert_eq!(count(UserId(99), u32::MAX).await, 0);
}

pub async fn snapshot_of_a_former_member_stays_as_written(store: Arc<dyn Store>) {
    let world = World::new(store).await;
    let (bob, carol, group) = (world.bob, world.carol, world.group);
    let snapshot = |name: &str| GroupSnapshot {
        profile: GroupProfile {
            join_policy: JoinPolicy::Approval,
            unlisted: true,
            ..profile(name)
        },
        member_count: 7,
        last_time: Timestamp(12345),
    };
    // Writes the snapshot, and then changes the group, which must not change the snapshot.
    let put = async |snapshot: GroupSnapshot| {
        let work = transact(&*world.store, move |tx| {
            let snapshot = snapshot.clone();
            Box::pin(async move {
                tx.lock_conversation(group).await?;
                tx.put_snapshot(group, carol, &snapshot).await?;
                let mut row = tx.lock_conversation(group).await?.unwrap();
                row.group = Some(profile("renamed"));
                row.member_count = 9;
                Ok(tx.update_conversation(&row).await?)
            })
        });
        work.await.unwrap();
    };
    assert_eq!(world.membership(carol).await.snapshot, None);
    put(snapshot("first")).await;
    assert_eq!(world.membership(carol).await.snapshot, None, "carol is still a member");
    let mut banned = world.member(carol).await;
    banned.state = MemberState::Banned;
    banned.until_seq = Some(Seq(1));
    put_member(&*world.store, banned).await;
    assert_eq!(world.membership(carol).await.snapshot, Some(snapshot("first")));
    put(snapshot("second")).await;
    assert_eq!(world.membership(carol).await.snapshot, Some(snapshot("second")));
    assert_eq!(world.membership(bob).await.snapshot, None);
    let listed = world
        .store
        .memberships(carol, device_id(1), ConversationId(0), u32::MAX)
        .await
        .unwrap();
    let listed = listed
        .into_iter()
        .find(|membership| membership.conversation.id == group);
    assert_eq!(listed.unwrap().snapshot, Some(snapshot("second")));
}

pub async fn snapshot_without_the_lock_is_an_error(store: Arc<dyn Store>) {
    let world = World::new(store).await;
    let (bob, other) = (world.bob, world.direct);
    for group in [world.group, ConversationId(4711)] {
        let work = transact(&*world.store, move |tx| {
            Box::pin(async move {
                tx.lock_conversation(other).await?;
                let snapshot = GroupSnapshot {
                    profile: profile("left"),
                    member_count: 1,
                    last_time: Timestamp(1),
                };
                Ok(tx.put_snapshot(group, bob, &snapshot).await?)
            })
        });
        let result = work.await;
        assert!(matches!(result, Err(StoreError::Defect(_))), "{result:?}");
    }
    let mut left = world.member(bob).await;
    left.state = MemberState::Left;
    left.until_seq = Some(Seq(1));
    put_member(&*world.store, left).await;
    assert_eq!(world.membership(bob).await.snapshot, None);
}

pub async fn leaving_and_rejoining_moves_the_readable_range(store: Arc<dyn Store>) {
    let world = World::new(store).await;
    let carol = world.carol;
    let readable = async || {
        let read = world
            .store
            .events_for(carol, world.group, page(PageFrom::After(Seq::ZERO)))
            .await;
        let events = read.unwrap().unwrap().events;
        events.iter().map(|event| event.seq.0).collect::<Vec<_>>()
    };
    world.say(messages(3)).await;
    let mut member = world.member(carol).await;
    member.state = MemberState::Left;
    member.until_seq = Some(Seq(3));
    put_member(&*world.store, member.clone()).await;
    world.say(messages(2)).await;
    assert_eq!(readable().await, [1, 2, 3]);
    member = Member::active(world.group, carol, Role::Member, Seq(6));
    put_member(&*world.store, member).await;
    assert_eq!(readable().await, Vec::<u64>::new());
    world.say(messages(2)).await;
    assert_eq!(readable().await, [6, 7]);
    let membership = world.membership(carol).await;
    assert_eq!((membership.unread, membership.member.read_seq), (2, Seq(5)));
}
