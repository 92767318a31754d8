//! Tests of friend requests, answers and blocks, of the events that users receive about them, and
//! of the presence of friends.

use super::support::*;
use crate::commands::Commands;
use crate::engine::LocalSession;
use crate::model::*;

fn request(to: &LocalSession) -> Command {
    Command::RequestFriend {
        user: user(to),
        note: Note::new("it is me").unwrap(),
    }
}

fn answer(to: &LocalSession, accept: bool) -> Command {
    let user = user(to);
    Command::AnswerFriend { user, accept }
}

async fn contacts(session: &LocalSession) -> Vec<ContactInfo> {
    match session.execute(list_contacts()).await {
        Ok(Outcome::Contacts(page)) => page.contacts,
        other => panic!("no contacts: {other:?}"),
    }
}

/// Returns the state of the first contact; `None` if the user has no contacts.
async fn state(session: &LocalSession) -> Option<ContactState> {
    contacts(session).await.first().map(|contact| contact.state)
}

/// Returns the kinds of the events in the user's inbox.
async fn inbox(session: &LocalSession) -> Vec<EventKind> {
    let conversations = session.conversations().await.unwrap();
    let inbox = conversations
        .iter()
        .find(|info| info.view == ConversationView::Inbox)
        .unwrap();
    let page = history(session, ConversationRef::Id(inbox.id)).await;
    page.events.iter().map(|event| event.event.kind).collect()
}

#[tokio::test]
async fn friend_request_is_made_and_accepted() {
    let engine = engine().await;
    let (alice, bob) = (new_user(&engine, "alice").await, new_user(&engine, "bob").await);
    alice.execute(request(&bob)).await.unwrap();
    alice.execute(request(&bob)).await.unwrap();
    let asked = wait_for_event(&bob, EventKind::FriendRequested).await;
    assert!(
        matches!(body(&asked), EventBody::FriendRequested { from, note } if from == id(&alice) && note == "it is me")
    );
    assert_eq!(
        inbox(&bob).await,
        [EventKind::FriendRequested],
        "a repeated request sends no second event"
    );
    assert_eq!(
        (state(&alice).await, state(&bob).await),
        (Some(ContactState::Requested), Some(ContactState::Pending))
    );
    bob.execute(answer(&alice, true)).await.unwrap();
    bob.execute(answer(&alice, true)).await.unwrap();
    assert!(matches!(
        body(&wait_for_event(&alice, EventKind::FriendAnswered).await),
        EventBody::FriendAnswered { accepted: true, .. }
    ));
    for session in [&alice, &bob] {
        let friends = contacts(session).await;
        assert_eq!(
            (friends[0].state, friends[0].presence),
            (ContactState::Friend, Some(PresenceState::Online))
        );
    }
}

#[tokio::test]
async fn friend_request_is_declined_and_withdrawn() {
    let engine = engine().await;
    let (alice, bob) = (new_user(&engine, "alice").await, new_user(&engine, "bob").await);
    alice.execute(request(&bob)).await.unwrap();
    bob.execute(answer(&alice, false)).await.unwrap();
    assert!(matches!(
        body(&wait_for_event(&alice, EventKind::FriendAnswered).await),
        EventBody::FriendAnswered { accepted: false, .. }
    ));
    assert_eq!((state(&alice).await, state(&bob).await), (None, None));
    alice.execute(request(&bob)).await.unwrap();
    alice.execute(Command::RemoveFriend(user(&bob))).await.unwrap();
    assert_eq!((state(&alice).await, state(&bob).await), (None, None));
    assert_eq!(error_code(bob.execute(answer(&alice, true)).await), ReplyCode::NotFound);
}

#[tokio::test]
async fn simultaneous_friend_requests_make_friends() {
    let engine = engine().await;
    let (alice, bob) = (new_user(&engine, "alice").await, new_user(&engine, "bob").await);
    let (one, other) = tokio::join!(alice.execute(request(&bob)), bob.execute(request(&alice)));
    one.unwrap();
    other.unwrap();
    for session in [&alice, &bob] {
        assert_eq!(state(session).await, Some(ContactState::Friend));
        wait_for_event(session, EventKind::FriendAnswered).await;
    }
}

#[tokio::test]
async fn friend_request_of_a_blocked_user_stays_hidden() {
    let engine = engine().await;
    let (alice, bob) = (new_user(&engine, "alice").await, new_user(&engine, "bob").await);
    bob.execute(Command::Block(user(&alice))).await.unwrap();
    alice.execute(request(&bob)).await.unwrap();
    assert_eq!(state(&alice).await, Some(ContactState::Requested));
    assert!(inbox(&bob).await.is_empty());
    let listed = contacts(&bob).await;
    assert_eq!((listed[0].state, listed[0].blocked), (ContactState::None, true));
    bob.execute(Command::Unblock(user(&alice))).await.unwrap();
    assert!(contacts(&bob).await.is_empty());
    assert!(inbox(&bob).await.is_empty());
}

/// While a user has the maximum number of unanswered friend requests from others, the requests of
/// a stranger and of a blocked user are refused alike.
#[tokio::test]
async fn limit_of_incoming_requests_does_not_reveal_a_block() {
    let mut config = config();
    config.max_incoming_requests = 1;
    let mut seen = Vec::new();
    for is_blocked in [false, true] {
        let engine = builder().config(config.clone()).build().await.unwrap();
        let (alice, bob) = (new_user(&engine, "alice").await, new_user(&engine, "bob").await);
        let carol = new_user(&engine, "carol").await;
        if is_blocked {
            bob.execute(Command::Block(user(&alice))).await.unwrap();
        }
        carol.execute(request(&bob)).await.unwrap();
        let while_full = alice.execute(request(&bob)).await;
        let state_while_full = state(&alice).await;
        bob.execute(answer(&carol, false)).await.unwrap();
        let afterwards = alice.execute(request(&bob)).await;
        seen.push((while_full, state_while_full, afterwards, state(&alice).await));
    }
    assert_eq!(seen[0].0.as_ref().unwrap_err().code, ReplyCode::LimitExceeded);
    assert_eq!(seen[0], seen[1]);
}

#[tokio::test]
async fn blocking_ends_a_friendship() {
    let engine = engine().await;
    let (alice, bob) = (new_user(&engine, "alice").await, new_user(&engine, "bob").await);
    befriend(&alice, &bob).await;
    bob.execute(Command::Block(user(&alice))).await.unwrap();
    wait_for_event(&alice, EventKind::FriendRemoved).await;
    assert_eq!(state(&alice).await, None);
    assert_eq!(
        error_code(alice.send_text(direct(&bob), "x").await),
        ReplyCode::NotFriends
    );
    assert_eq!(
        error_code(bob.send_text(direct(&alice), "x").await),
        ReplyCode::NotFriends
    );
}

#[tokio::test]
async fn friend_requests_are_limited_per_day() {
    let engine = engine().await;
    let alice = new_user(&engine, "alice").await;
    let mut others = Vec::new();
    for n in 0..31 {
        others.push(register(&engine, &format!("user{n}")).await);
    }
    let ask = |user: UserId| {
        alice.execute(Command::RequestFriend {
            user: UserRef::Id(user),
            note: Note::default(),
        })
    };
    // The default limit is 30 requests a day. A repeated request does not count.
    for user in &others[..30] {
        ask(*user).await.unwrap();
        ask(*user).await.unwrap();
    }
    let refused = ask(others[30]).await.unwrap_err();
    assert_eq!(refused.code, ReplyCode::LimitExceeded);
    // A withdrawn request still counts against the limit.
    alice
        .execute(Command::RemoveFriend(UserRef::Id(others[0])))
        .await
        .unwrap();
    assert_eq!(error_code(ask(others[30]).await), ReplyCode::LimitExceeded);
}

#[tokio::test]
async fn user_sees_the_presence_of_a_friend() {
    let engine = engine().await;
    let (alice, bob) = (new_user(&engine, "alice").await, new_user(&engine, "bob").await);
    befriend(&alice, &bob).await;
    let bob_is = |wanted| {
        wait_for_push(&alice, move |push| match push {
            Push::Presence { state, .. } if *state == wanted => Some(()),
            _ => None,
        })
    };
    bob.execute(Command::SetPresence(PresenceState::Idle)).await.unwrap();
    bob_is(PresenceState::Idle).await;
    bob.execute(Command::SetPresence(PresenceState::Online)).await.unwrap();
    bob_is(PresenceState::Online).await;
    let (user, device) = (id(&bob), bob.caller().device().unwrap());
    drop(bob);
    bob_is(PresenceState::Offline).await;
    let _bob = engine.session(user, device).await.unwrap();
    bob_is(PresenceState::Online).await;
}

#[tokio::test]
async fn friend_request_to_oneself_or_an_unknown_user_is_refused() {
    let engine = engine().await;
    let alice = new_user(&engine, "alice").await;
    assert_eq!(
        error_code(alice.execute(request(&alice)).await),
        ReplyCode::InvalidArgument
    );
    let to_unknown = Command::RequestFriend {
        user: UserRef::Id(UserId(99)),
        note: Note::default(),
    };
    assert_eq!(error_code(alice.execute(to_unknown).await), ReplyCode::NotFound);
}
