//! Tests of the limits on the changes of a user, and on the events that a user's requests cause in
//! the inboxes of others. Also of the maximum numbers of blocked users, incoming friend requests
//! and former groups.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use super::support::*;
use crate::clock::Clock;
use crate::commands::Commands;
use crate::engine::{EngineConfig, LocalSession};
use crate::model::*;
use crate::rate::Rate;

const DAY_MS: i64 = 24 * 3600 * 1000;

/// Clock whose time, in milliseconds, the test sets.
#[derive(Debug)]
struct FakeClock(AtomicI64);

impl Clock for FakeClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

/// Returns an engine whose time is that of the clock.
async fn engine_with_clock() -> (crate::engine::Engine, Arc<FakeClock>) {
    let clock = Arc::new(FakeClock(1_000_000_000_000.into()));
    let engine = builder().clock(clock.clone()).build().await.unwrap();
    (engine, clock)
}

fn request(to: &LocalSession) -> Command {
    Command::RequestFriend {
        user: user(to),
        note: Note::new("it is me").unwrap(),
    }
}

/// After a request was accepted and the friendship has ended, a further request is a new one.
#[tokio::test]
async fn request_after_the_end_of_a_friendship_is_announced() {
    let (engine, _clock) = engine_with_clock().await;
    let (alice, bob) = (new_user(&engine, "alice").await, new_user(&engine, "bob").await);
    for count in 1..=2 {
        alice.execute(request(&bob)).await.unwrap();
        assert_eq!(count_in_inbox(&bob, EventKind::FriendRequested).await, count);
        let user = user(&alice);
        // The second request is accepted by a request in the other direction.
        let accept = match count {
            1 => Command::AnswerFriend { user, accept: true },
            _ => request(&alice),
        };
        bob.execute(accept).await.unwrap();
        bob.execute(Command::RemoveFriend(self::user(&alice))).await.unwrap();
    }
    alice.execute(request(&bob)).await.unwrap();
    assert_eq!(count_in_inbox(&bob, EventKind::FriendRequested).await, 3);
}

fn ask_to_join(group: &ConversationRef) -> Command {
    Command::JoinGroup {
        group: group.clone(),
        note: Note::new("let me in").unwrap(),
    }
}

fn set_policy(group: &ConversationRef, policy: JoinPolicy) -> Command {
    let changes = GroupChanges {
        join_policy: Some(policy),
        ..GroupChanges::default()
    };
    let group = group.clone();
    Command::UpdateGroup { group, changes }
}

/// Returns the number of events of this kind in the inbox of the user.
async fn count_in_inbox(session: &LocalSession, kind: EventKind) -> usize {
    let conversations = match session
        .execute(Command::ListConversations(ConversationQuery::default()))
        .await
    {
        Ok(Outcome::Conversations(page)) => page.conversations,
        other => panic!("no conversations: {other:?}"),
    };
    let is_inbox = |info: &&ConversationInfo| info.view == ConversationView::Inbox;
    let inbox = conversations.iter().find(is_inbox).unwrap().id;
    let page = history(session, ConversationRef::Id(inbox)).await;
    page.events.iter().filter(|event| event.event.kind == kind).count()
}

#[tokio::test]
async fn repeated_friend_request_is_announced_once_a_day() {
    let (engine, clock) = engine_with_clock().await;
    let (alice, bob) = (new_user(&engine, "alice").await, new_user(&engine, "bob").await);
    let carol = new_user(&engine, "carol").await;
    for day in 1..=2 {
        for _ in 0..3 {
            alice.execute(request(&bob)).await.unwrap();
            alice.execute(Command::RemoveFriend(user(&bob))).await.unwrap();
        }
        assert_eq!(count_in_inbox(&bob, EventKind::FriendRequested).await, day);
        clock.0.fetch_add(DAY_MS + 1, Ordering::SeqCst);
    }
    carol.execute(request(&bob)).await.unwrap();
    alice.execute(request(&bob)).await.unwrap();
    alice.execute(request(&carol)).await.unwrap();
    assert_eq!(count_in_inbox(&bob, EventKind::FriendRequested).await, 4);
    assert_eq!(count_in_inbox(&carol, EventKind::FriendRequested).await, 1);

    // A request that is not announced can still be answered.
    alice.execute(Command::RemoveFriend(user(&bob))).await.unwrap();
    alice.execute(request(&bob)).await.unwrap();
    assert_eq!(count_in_inbox(&bob, EventKind::FriendRequested).await, 4);
    let (user, accept) = (user(&alice), true);
    bob.execute(Command::AnswerFriend { user, accept }).await.unwrap();
}

#[tokio::test]
async fn repeated_request_to_join_is_announced_once_a_day() {
    let (engine, clock) = engine_with_clock().await;
    let (olga, eve) = (new_user(&engine, "olga").await, new_user(&engine, "eve").await);
    let group = ConversationRef::Id(create_group(&olga, "rust").await);
    olga.execute(set_policy(&group, JoinPolicy::Approval)).await.unwrap();
    for day in 1..=2 {
        for _ in 0..3 {
            eve.execute(ask_to_join(&group)).await.unwrap();
            eve.execute(Command::LeaveGroup(group.clone())).await.unwrap();
        }
        assert_eq!(count_in_inbox(&olga, EventKind::JoinRequested).await, day);
        clock.0.fetch_add(DAY_MS + 1, Ordering::SeqCst);
    }
    // Another group of the same owner has announcements of its own, and so has another user.
    let other = ConversationRef::Id(create_group(&olga, "go").await);
    olga.execute(set_policy(&other, JoinPolicy::Approval)).await.unwrap();
    eve.execute(ask_to_join(&other)).await.unwrap();
    let dora = new_user(&engine, "dora").await;
    dora.execute(ask_to_join(&other)).await.unwrap();
    assert_eq!(count_in_inbox(&olga, EventKind::JoinRequested).await, 4);
}

#[tokio::test]
async fn repeated_invitation_is_announced_once_a_day() {
    let (engine, clock) = engine_with_clock().await;
    let (olga, bob) = (new_user(&engine, "olga").await, new_user(&engine, "bob").await);
    let anna = new_user(&engine, "anna").await;
    let group = create_group(&olga, "rust").await;
    join(&anna, group).await;
    let group = ConversationRef::Id(group);
    let invite = || Command::InviteMember {
        group: group.clone(),
        user: user(&bob),
    };
    for day in 1..=2 {
        for _ in 0..3 {
            olga.execute(invite()).await.unwrap();
            let (group, user, ban) = (group.clone(), user(&bob), false);
            olga.execute(Command::KickMember { group, user, ban }).await.unwrap();
        }
        assert_eq!(count_in_inbox(&bob, EventKind::GroupInvited).await, day);
        clock.0.fetch_add(DAY_MS + 1, Ordering::SeqCst);
    }
    olga.execute(invite()).await.unwrap();
    bob.execute(Command::DeclineInvitation(group.clone())).await.unwrap();
    anna.execute(invite()).await.unwrap();
    assert_eq!(
        count_in_inbox(&bob, EventKind::GroupInvited).await,
        4,
        "the invitation of another member is announced"
    );
    // An invitation that is not announced can be accepted.
    bob.execute(Command::DeclineInvitation(group.clone())).await.unwrap();
    olga.execute(set_policy(&group, JoinPolicy::Invite)).await.unwrap();
    anna.execute(invite()).await.unwrap();
    assert_eq!(count_in_inbox(&bob, EventKind::GroupInvited).await, 4);
    conversation(bob.execute(ask_to_join(&group)).await);
}

/// Returns a configuration in which a user may make two changes in an hour.
fn two_changes() -> EngineConfig {
    let mut config = config();
    config.change_rate = Rate::new(2, Duration::from_secs(3600));
    config
}

/// Changes are charged whether they take effect, change nothing or are refused.
#[tokio::test]
async fn every_change_is_charged_to_its_user() {
    let engine = builder().config(two_changes()).build().await.unwrap();
    let bob = new_user(&engine, "bob").await;
    let owner = new_user(&engine, "olga").await;
    let group = ConversationRef::Id(create_group(&owner, "rust").await);
    let (member, role) = (user(&bob), Role::Admin);
    let mute = Command::MuteMember {
        group: group.clone(),
        user: member.clone(),
        duration_ms: 1,
    };
    let about_member = |group: ConversationRef, user: UserRef| {
        [
            Command::AnswerJoin {
                group: group.clone(),
                user: user.clone(),
                accept: true,
            },
            Command::KickMember {
                group: group.clone(),
                user: user.clone(),
                ban: false,
            },
            Command::UnbanMember {
                group: group.clone(),
                user: user.clone(),
            },
            Command::SetRole {
                group: group.clone(),
                user: user.clone(),
                role,
            },
            Command::TransferOwnership { group, user },
        ]
    };
    let changes = [
        Command::AnswerFriend {
            user: member.clone(),
            accept: true,
        },
        Command::RemoveFriend(member.clone()),
        Command::Block(member.clone()),
        Command::Unblock(member.clone()),
        ask_to_join(&group),
        Command::DeclineInvitation(group.clone()),
        Command::LeaveGroup(group.clone()),
        Command::DeleteGroup(group.clone()),
        set_policy(&group, JoinPolicy::Approval),
        mute,
        Command::UpdateProfile(ProfileChanges::default()),
    ];
    let changes = changes.into_iter().chain(about_member(group.clone(), member));
    for (n, change) in changes.enumerate() {
        let session = new_user(&engine, &format!("user{n}x")).await;
        for _ in 0..2 {
            if let Err(error) = session.execute(change.clone()).await {
                assert_ne!(error.code, ReplyCode::LimitExceeded, "{change:?}");
            }
        }
        // These commands are executed beyond the rate too, as long as they change nothing, so
        // another command shows that the rate is used up.
        let is_repeatable = matches!(
            change,
            Command::Block(_)
                | Command::Unblock(_)
                | Command::UpdateProfile(_)
                | Command::SetRole { .. }
                | Command::UpdateGroup { .. }
        );
        let new = match is_repeatable {
            true => Command::RemoveFriend(user(&bob)),
            false => change.clone(),
        };
        let refused = session.execute(new).await.unwrap_err();
        assert_eq!(refused.code, ReplyCode::LimitExceeded, "{change:?}");
        assert!(refused.retry_after.is_some(), "{change:?}");
        let other = session.execute(Command::LeaveGroup(group.clone())).await;
        assert_eq!(
            error_code(other),
            ReplyCode::LimitExceeded,
            "{change:?}: one rate for all"
        );
        session.execute(list_contacts()).await.unwrap();
        session.execute(Command::Logout).await.unwrap();
    }
    bob.execute(Command::Block(user(&owner))).await.unwrap();
}

/// The answers to these commands may have been lost, so their repetitions succeed.
#[tokio::test]
async fn repeated_change_that_took_effect_succeeds_beyond_the_rate() {
    let mut config = config();
    config.change_rate = Rate::new(6, Duration::from_secs(3600));
    let engine = builder().config(config).build().await.unwrap();
    let set_role = |group: &ConversationRef, user: &UserRef, role| Command::SetRole {
        group: group.clone(),
        user: user.clone(),
        role,
    };
    let rename = |name: &str| {
        Command::UpdateProfile(ProfileChanges {
            display_name: Some(DisplayName::parse(name).unwrap()),
            ..ProfileChanges::default()
        })
    };
    let cases = |group: &ConversationRef, bob: UserRef| {
        [
            (Command::Block(bob.clone()), Command::Unblock(bob.clone())),
            (Command::Unblock(bob.clone()), Command::Block(bob.clone())),
            (set_role(group, &bob, Role::Admin), set_role(group, &bob, Role::Member)),
            (
                set_policy(group, JoinPolicy::Approval),
                set_policy(group, JoinPolicy::Invite),
            ),
            (rename("Olga"), rename("Olga the second")),
        ]
    };
    for n in 0..5 {
        let olga = new_user(&engine, &format!("olga{n}")).await;
        let id = create_group(&olga, &format!("group {n}")).await;
        let bob = new_user(&engine, &format!("bob{n}")).await;
        join(&bob, id).await;
        let (change, other) = cases(&ConversationRef::Id(id), user(&bob))[n].clone();
        for _ in 0..8 {
            olga.execute(change.clone()).await.unwrap();
        }
        let refused = olga.execute(other.clone()).await;
        assert_eq!(error_code(refused), ReplyCode::LimitExceeded, "{other:?}");
    }
}

/// A command is not charged if it was not executed, or if nobody knows whether it was.
#[tokio::test]
async fn change_that_is_to_be_tried_again_is_not_charged() {
    let mut config = two_changes();
    config.breaker_threshold = 100;
    let (engine, store, alice) = engine_on_faulty_store(config).await;
    let bob = new_user(&engine, "bob").await;
    for _ in 0..3 {
        store.fail_before_commit();
        let failed = alice.execute(Command::RemoveFriend(user(&bob))).await;
        assert_eq!(error_code(failed), ReplyCode::TryAgain);
    }
    alice.execute(Command::Block(user(&bob))).await.unwrap();
    alice.execute(Command::Unblock(user(&bob))).await.unwrap();
    let refused = alice.execute(Command::Block(user(&bob))).await;
    assert_eq!(error_code(refused), ReplyCode::LimitExceeded);
}

/// A thief who uses up the rate of changes in a stolen session cannot prevent its revocation.
#[tokio::test]
async fn device_can_be_revoked_beyond_the_rate_of_changes() {
    let engine = builder().config(two_changes()).build().await.unwrap();
    let (alice, bob) = (new_user(&engine, "alice").await, new_user(&engine, "bob").await);
    let thief = engine.session(id(&alice), DeviceId::random()).await.unwrap();
    for _ in 0..9 {
        let _ = thief.execute(Command::LeaveGroup(direct(&bob))).await;
    }
    let refused = alice.execute(Command::RemoveFriend(user(&bob))).await;
    assert_eq!(error_code(refused), ReplyCode::LimitExceeded);
    let stolen = thief.caller().device().unwrap();
    alice.execute(Command::RevokeDevice(stolen)).await.unwrap();
}

/// Creations of groups, invitations and friend requests are each charged to a rate. The charge is
/// refunded if the command fails or changes nothing, but the number of attempts is limited too.
#[tokio::test]
async fn attempts_that_are_refunded_are_limited() {
    let engine = builder().config(two_changes()).build().await.unwrap();
    let (olga, bob) = (new_user(&engine, "olga").await, new_user(&engine, "bob").await);
    let group = create_group(&olga, "rust").await;
    let invite = Command::InviteMember {
        group: ConversationRef::Id(group),
        user: user(&bob),
    };
    let friend = new_user(&engine, "friend").await;
    befriend(&olga, &friend).await;
    for (case, session, command) in [
        (
            "the name is taken",
            &new_user(&engine, "bert").await,
            create_group_command("rust"),
        ),
        ("the right is missing", &new_user(&engine, "mallory").await, invite),
        ("the user is a friend already", &friend, request(&olga)),
    ] {
        let mut codes = Vec::new();
        for _ in 0..3 {
            codes.push(session.execute(command.clone()).await.map_err(|error| error.code).err());
        }
        assert_eq!(codes.last(), Some(&Some(ReplyCode::LimitExceeded)), "{case}: {codes:?}");
        assert_ne!(
            codes.first(),
            Some(&Some(ReplyCode::LimitExceeded)),
            "{case}: {codes:?}"
        );
    }
}

/// A retry finds the group even if the user may make no further attempt.
#[tokio::test]
async fn retry_beyond_the_rate_of_attempts_finds_the_group() {
    let engine = builder().config(two_changes()).build().await.unwrap();
    let olga = new_user(&engine, "olga").await;
    let create = create_group_command("rust");
    for _ in 0..5 {
        conversation(olga.execute(create.clone()).await);
    }
    let refused = olga.execute(create_group_command("go")).await;
    assert_eq!(error_code(refused), ReplyCode::LimitExceeded);
}

#[tokio::test]
async fn number_of_blocked_users_is_limited() {
    let mut config = config();
    config.max_blocked_users = 2;
    let engine = builder().config(config).build().await.unwrap();
    let alice = new_user(&engine, "alice").await;
    let others = [
        new_user(&engine, "bob").await,
        new_user(&engine, "carol").await,
        new_user(&engine, "dora").await,
    ];
    let [bob, carol, dora] = others.each_ref().map(user);
    alice.execute(Command::Block(bob.clone())).await.unwrap();
    alice.execute(Command::Block(carol)).await.unwrap();
    let refused = alice.execute(Command::Block(dora.clone())).await;
    assert_eq!(error_code(refused), ReplyCode::LimitExceeded);
    alice.execute(Command::Block(bob.clone())).await.unwrap();
    alice.execute(Command::Unblock(bob)).await.unwrap();
    alice.execute(Command::Block(dora)).await.unwrap();
}

/// A friend request that accepts an open request of the other user does not count towards the limit
/// on open requests.
#[tokio::test]
async fn number_of_incoming_friend_requests_is_limited() {
    let mut config = config();
    config.max_incoming_requests = 2;
    let engine = builder().config(config).build().await.unwrap();
    let bob = new_user(&engine, "bob").await;
    let others = [
        new_user(&engine, "alice").await,
        new_user(&engine, "carol").await,
        new_user(&engine, "dora").await,
    ];
    let [alice, carol, dora] = &others;
    let ask = |from: &LocalSession| {
        from.execute(Command::RequestFriend {
            user: user(&bob),
            note: Note::default(),
        })
    };
    let answer = |to: &LocalSession, accept| {
        let user = user(to);
        bob.execute(Command::AnswerFriend { user, accept })
    };
    ask(alice).await.unwrap();
    ask(carol).await.unwrap();
    assert_eq!(error_code(ask(dora).await), ReplyCode::LimitExceeded);
    assert!(dora.contacts().await.unwrap().is_empty());
    assert_eq!(bob.contacts().await.unwrap().len(), 2);
    ask(alice).await.unwrap();

    answer(alice, false).await.unwrap();
    ask(dora).await.unwrap();
    assert_eq!(error_code(ask(alice).await), ReplyCode::LimitExceeded);
    answer(dora, true).await.unwrap();
    ask(alice).await.unwrap();
    let erin = new_user(&engine, "erin").await;
    assert_eq!(error_code(ask(&erin).await), ReplyCode::LimitExceeded);
    bob.execute(Command::RequestFriend {
        user: user(&erin),
        note: Note::default(),
    })
    .await
    .unwrap();
    ask(&erin).await.unwrap();
    let friends = bob.contacts().await.unwrap();
    let friends = friends.iter().filter(|contact| contact.state == ContactState::Friend);
    assert_eq!(friends.count(), 2, "dora and erin");
}

/// A user who has left the maximum number of groups cannot enter further groups, whether by joining
/// one, by an invitation or by creating one, but can return to a group.
#[tokio::test]
async fn number_of_former_groups_is_limited() {
    let mut config = config();
    config.max_former_groups_per_user = 2;
    let engine = builder().config(config).build().await.unwrap();
    let (olga, bob) = (new_user(&engine, "olga").await, new_user(&engine, "bob").await);
    let mut groups = Vec::new();
    for name in ["one", "two", "three"] {
        groups.push(ConversationRef::Id(create_group(&olga, name).await));
    }
    for group in &groups[..2] {
        bob.execute(ask_to_join(group)).await.unwrap();
        bob.execute(Command::LeaveGroup(group.clone())).await.unwrap();
    }
    let refused = async |command| error_code(bob.execute(command).await) == ReplyCode::LimitExceeded;
    assert!(refused(ask_to_join(&groups[2])).await);
    assert!(refused(create_group_command("four")).await);
    olga.execute(set_policy(&groups[2], JoinPolicy::Approval))
        .await
        .unwrap();
    assert!(refused(ask_to_join(&groups[2])).await, "a request to join");
    let (group, member) = (groups[2].clone(), user(&bob));
    let invite = Command::InviteMember { group, user: member };
    olga.execute(invite).await.unwrap();
    assert!(refused(ask_to_join(&groups[2])).await, "an invitation");
    conversation(bob.execute(ask_to_join(&groups[0])).await);
    conversation(bob.execute(ask_to_join(&groups[2])).await);
}
