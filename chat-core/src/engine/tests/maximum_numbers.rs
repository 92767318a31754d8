//! Tests of the maximum numbers of blocked users, incoming friend requests and former groups.

use super::repeated_requests::{join_command, set_join_policy};
use super::support::*;
use crate::commands::Commands;
use crate::engine::LocalSession;
use crate::model::*;

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

/// A friend request that accepts a request of the other user is not refused, even if that user has
/// the maximum number of incoming requests.
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
/// one, by asking to join one, by an invitation or by creating one. The user can return to one of
/// the left groups, and then enter another one.
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
        bob.execute(join_command(group)).await.unwrap();
        bob.execute(Command::LeaveGroup(group.clone())).await.unwrap();
    }
    let refused = async |command| error_code(bob.execute(command).await) == ReplyCode::LimitExceeded;
    assert!(refused(join_command(&groups[2])).await);
    assert!(refused(create_group_command("four")).await);
    olga.execute(set_join_policy(&groups[2], JoinPolicy::Approval))
        .await
        .unwrap();
    assert!(refused(join_command(&groups[2])).await, "a request to join");
    let (group, member) = (groups[2].clone(), user(&bob));
    let invite = Command::InviteMember { group, user: member };
    olga.execute(invite).await.unwrap();
    assert!(refused(join_command(&groups[2])).await, "an invitation");
    conversation(bob.execute(join_command(&groups[0])).await);
    conversation(bob.execute(join_command(&groups[2])).await);
}
