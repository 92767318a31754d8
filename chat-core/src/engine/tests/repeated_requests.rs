//! Tests of requests that a user repeats: the inbox of the other user announces them at most once
//! in 24 hours.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use super::support::*;
use crate::clock::Clock;
use crate::engine::LocalSession;
use crate::model::*;

const DAY_MS: i64 = 24 * 3600 * 1000;

/// Clock whose time, in milliseconds, the test sets.
#[derive(Debug)]
struct FakeClock(AtomicI64);

impl Clock for FakeClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

/// Returns an engine, and the clock from which it takes the time.
async fn engine_with_clock() -> (crate::engine::Engine, Arc<FakeClock>) {
    let clock = Arc::new(FakeClock(1_000_000_000_000.into()));
    let engine = builder().clock(clock.clone()).build().await.unwrap();
    (engine, clock)
}

pub(super) fn friend_request(to: &LocalSession) -> Command {
    Command::RequestFriend {
        user: user(to),
        note: Note::new("it is me").unwrap(),
    }
}

/// After a request was accepted and the friendship has ended, a further request is announced at
/// once: it is no repetition.
#[tokio::test]
async fn request_after_the_end_of_a_friendship_is_announced() {
    let (engine, _clock) = engine_with_clock().await;
    let (alice, bob) = (new_user(&engine, "alice").await, new_user(&engine, "bob").await);
    for count in 1..=2 {
        alice.execute(friend_request(&bob)).await.unwrap();
        assert_eq!(count_in_inbox(&bob, EventKind::FriendRequested).await, count);
        let user = user(&alice);
        // The second request is accepted by a request in the other direction.
        let accept = match count {
            1 => Command::AnswerFriend { user, accept: true },
            _ => friend_request(&alice),
        };
        bob.execute(accept).await.unwrap();
        bob.execute(Command::RemoveFriend(self::user(&alice))).await.unwrap();
    }
    alice.execute(friend_request(&bob)).await.unwrap();
    assert_eq!(count_in_inbox(&bob, EventKind::FriendRequested).await, 3);
}

pub(super) fn join_command(group: &ConversationRef) -> Command {
    Command::JoinGroup {
        group: group.clone(),
        note: Note::new("let me in").unwrap(),
    }
}

pub(super) fn set_join_policy(group: &ConversationRef, policy: JoinPolicy) -> Command {
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
            alice.execute(friend_request(&bob)).await.unwrap();
            alice.execute(Command::RemoveFriend(user(&bob))).await.unwrap();
        }
        assert_eq!(count_in_inbox(&bob, EventKind::FriendRequested).await, day);
        clock.0.fetch_add(DAY_MS + 1, Ordering::SeqCst);
    }
    carol.execute(friend_request(&bob)).await.unwrap();
    alice.execute(friend_request(&bob)).await.unwrap();
    alice.execute(friend_request(&carol)).await.unwrap();
    assert_eq!(count_in_inbox(&bob, EventKind::FriendRequested).await, 4);
    assert_eq!(count_in_inbox(&carol, EventKind::FriendRequested).await, 1);

    // A request that is not announced can still be answered.
    alice.execute(Command::RemoveFriend(user(&bob))).await.unwrap();
    alice.execute(friend_request(&bob)).await.unwrap();
    assert_eq!(count_in_inbox(&bob, EventKind::FriendRequested).await, 4);
    let (user, accept) = (user(&alice), true);
    bob.execute(Command::AnswerFriend { user, accept }).await.unwrap();
}

#[tokio::test]
async fn repeated_request_to_join_is_announced_once_a_day() {
    let (engine, clock) = engine_with_clock().await;
    let (olga, eve) = (new_user(&engine, "olga").await, new_user(&engine, "eve").await);
    let group = ConversationRef::Id(create_group(&olga, "rust").await);
    olga.execute(set_join_policy(&group, JoinPolicy::Approval))
        .await
        .unwrap();
    for day in 1..=2 {
        for _ in 0..3 {
            eve.execute(join_command(&group)).await.unwrap();
            eve.execute(Command::LeaveGroup(group.clone())).await.unwrap();
        }
        assert_eq!(count_in_inbox(&olga, EventKind::JoinRequested).await, day);
        clock.0.fetch_add(DAY_MS + 1, Ordering::SeqCst);
    }
    // Another group of the same owner has announcements of its own, and so has another user.
    let other = ConversationRef::Id(create_group(&olga, "go").await);
    olga.execute(set_join_policy(&other, JoinPolicy::Approval))
        .await
        .unwrap();
    eve.execute(join_command(&other)).await.unwrap();
    let dora = new_user(&engine, "dora").await;
    dora.execute(join_command(&other)).await.unwrap();
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
    olga.execute(set_join_policy(&group, JoinPolicy::Invite)).await.unwrap();
    anna.execute(invite()).await.unwrap();
    assert_eq!(count_in_inbox(&bob, EventKind::GroupInvited).await, 4);
    conversation(bob.execute(join_command(&group)).await);
}
