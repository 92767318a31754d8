//! Tests of the rate at which a user may change contacts, groups, memberships and their profile.

use std::time::Duration;

use super::repeated_requests::{friend_request, join_command, set_join_policy};
use super::support::*;
use crate::engine::EngineConfig;
use crate::model::*;
use crate::rate::Rate;

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
        join_command(&group),
        Command::DeclineInvitation(group.clone()),
        Command::LeaveGroup(group.clone()),
        Command::DeleteGroup(group.clone()),
        set_join_policy(&group, JoinPolicy::Approval),
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
        // Queries and logging out are not charged.
        session.execute(list_contacts()).await.unwrap();
        session.execute(Command::Logout).await.unwrap();
    }
    // The changes are not charged to bob, whom they concern.
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
                set_join_policy(group, JoinPolicy::Approval),
                set_join_policy(group, JoinPolicy::Invite),
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

/// A command that is answered with `TryAgain` is not charged, because the client may repeat it.
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
        ("the user is a friend already", &friend, friend_request(&olga)),
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
