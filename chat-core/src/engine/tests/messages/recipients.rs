//! Tests of the direct policy, which decides who may write to a user, of messages to unknown users,
//! groups and conversations, and of the first message of a direct conversation.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::*;
use crate::engine::LocalSession;
use crate::hooks::{AppendContext, Hooks, Verdict};

#[tokio::test]
async fn everyone_policy_accepts_strangers() {
    let engine = engine().await;
    let (alice, bob) = (new_user(&engine, "alice").await, new_user(&engine, "bob").await);
    assert_eq!(
        error_code(bob.send_text(direct(&alice), "hi").await),
        ReplyCode::NotFriends
    );
    assert_eq!(
        conversation_count(&bob).await,
        0,
        "a refused message opens no conversation"
    );
    let open = Command::UpdateProfile(ProfileChanges {
        direct_policy: Some(DirectPolicy::Everyone),
        ..ProfileChanges::default()
    });
    alice.execute(open).await.unwrap();
    let sent = bob.send_text(direct(&alice), "hi").await.unwrap();
    for session in [&alice, &bob] {
        let opened = wait_for_event(session, EventKind::ConversationOpened).await;
        assert!(
            matches!(body(&opened), EventBody::ConversationOpened { conversation, .. } if conversation == sent.conversation)
        );
        assert_eq!(wait_for_event(session, EventKind::Message).await.seq, Seq(1));
    }
    assert_eq!(
        error_code(alice.send_text(direct(&bob), "hi").await),
        ReplyCode::NotFriends,
        "the policy applies in one direction only"
    );
    alice.execute(Command::Block(user(&bob))).await.unwrap();
    assert_eq!(
        error_code(bob.send_text(direct(&alice), "hi").await),
        ReplyCode::NotFriends
    );
}

#[tokio::test]
async fn replies_policy_accepts_users_to_whom_the_user_has_written() {
    let mut config = config();
    config.default_direct_policy = DirectPolicy::Replies;
    let engine = builder().config(config).build().await.unwrap();
    let alice = new_user(&engine, "alice").await;
    let (bob, carol) = (new_user(&engine, "bob").await, new_user(&engine, "carol").await);
    assert_eq!(alice.user().direct_policy, Some(DirectPolicy::Replies));
    let everyone = ProfileChanges {
        direct_policy: Some(DirectPolicy::Everyone),
        ..ProfileChanges::default()
    };
    bob.update_profile(everyone).await.unwrap();

    let early = try_to_write(&carol, &alice).await;
    assert_eq!(early, Err(ReplyCode::NotFriends), "alice has not written to carol");
    assert_eq!(try_to_write(&bob, &alice).await, Err(ReplyCode::NotFriends));
    alice.send_text(direct(&bob), "a question").await.unwrap();
    assert_eq!(try_to_write(&bob, &alice).await, Ok(()), "alice has written to bob");

    // A block takes precedence over earlier messages.
    alice.block(user(&bob)).await.unwrap();
    assert_eq!(try_to_write(&bob, &alice).await, Err(ReplyCode::NotFriends));
}

/// Sends a direct message; returns the code of a refusal.
async fn try_to_write(sender: &crate::engine::LocalSession, to: &crate::engine::LocalSession) -> Result<(), ReplyCode> {
    let sent = sender.send_text(direct(to), "a message").await;
    sent.map(drop).map_err(|error| error.code)
}

/// Returns the number of the user's conversations except the inbox.
async fn conversation_count(session: &crate::engine::LocalSession) -> usize {
    match session
        .execute(Command::ListConversations(ConversationQuery::default()))
        .await
    {
        Ok(Outcome::Conversations(page)) => page
            .conversations
            .iter()
            .filter(|info| info.view != ConversationView::Inbox)
            .count(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn send_to_an_unknown_recipient_is_refused() {
    let engine = engine().await;
    let alice = new_user(&engine, "alice").await;
    let unknown = [
        ConversationRef::Id(ConversationId(99)),
        ConversationRef::Direct(UserRef::Id(UserId(99))),
        ConversationRef::Direct(UserRef::Name(UserName::parse("noone").unwrap())),
        ConversationRef::Group(GroupName::parse("nothing").unwrap()),
    ];
    for conversation in unknown {
        assert_eq!(
            error_code(alice.send_text(conversation, "x").await),
            ReplyCode::NotFound
        );
    }
}

/// Returns contents that cannot begin a conversation with `peer`, each with the code of its
/// refusal.
fn contents_that_begin_nothing(peer: UserId) -> Vec<(DraftContent, ReplyCode)> {
    let (target, emoji) = (Seq(9), Emoji::new("\u{1f44d}").unwrap());
    let message = |reply_to, mentions: Vec<UserId>, mention_all| DraftContent::Message {
        text: text("hello"),
        reply_to,
        mentions,
        mention_all,
    };
    let edit = DraftContent::Edit {
        target,
        text: text("edited"),
    };
    let remove = false;
    vec![
        (edit, ReplyCode::NotFound),
        (DraftContent::Recall { target }, ReplyCode::NotFound),
        (DraftContent::React { target, emoji, remove }, ReplyCode::NotFound),
        (message(Some(target), Vec::new(), false), ReplyCode::NotFound),
        (message(None, Vec::new(), true), ReplyCode::Forbidden),
        (message(None, vec![UserId(999_999)], false), ReplyCode::InvalidArgument),
        // The default of `max_mentions` is 50.
        (
            message(None, (0..51).map(|n| UserId(peer.0 + n)).collect(), false),
            ReplyCode::LimitExceeded,
        ),
    ]
}

/// Hooks that count the drafts that they are asked about, and allow them.
#[derive(Debug, Default)]
struct CountDrafts(AtomicUsize);

#[async_trait::async_trait]
impl Hooks for CountDrafts {
    async fn before_append(&self, _: &AppendContext, draft: Draft) -> Verdict<Draft> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Verdict::Allow(draft)
    }
}

/// A direct conversation begins with its first message.
#[tokio::test]
async fn draft_that_cannot_be_a_first_message_opens_no_conversation() {
    let hooks = Arc::new(CountDrafts::default());
    for builder in [builder(), builder().hooks(hooks.clone())] {
        let engine = builder.build().await.unwrap();
        let (alice, bob) = (new_user(&engine, "alice").await, new_user(&engine, "bob").await);
        befriend(&alice, &bob).await;
        let before = bob.conversations().await.unwrap();
        let contents = contents_that_begin_nothing(id(&bob));
        for (content, code) in &contents {
            let refused = alice.send(direct(&bob), new_draft(content.clone())).await;
            assert_eq!(error_code(refused), *code, "{content:?}");
        }
        assert_eq!(bob.conversations().await.unwrap(), before);
        assert_eq!(conversation_count(&alice).await, 0);
        // In an existing conversation, the same drafts are refused in the same way.
        let first = DraftContent::Message {
            text: text("hello"),
            reply_to: None,
            mentions: vec![id(&alice), id(&bob)],
            mention_all: false,
        };
        bob.send(direct(&alice), new_draft(first)).await.unwrap();
        for (content, code) in contents {
            let refused = alice.send(direct(&bob), new_draft(content.clone())).await;
            assert_eq!(error_code(refused), code, "{content:?}");
        }
    }
    // The hooks were asked about the first message and the drafts to the conversation that it
    // opened, but not about drafts that could not open it.
    assert_eq!(hooks.0.load(Ordering::Relaxed), 8);
}

/// Reads the pushes of a session until it got `count` messages. Panics if the session is told to
/// read a log, as when it has missed pushes.
async fn read_messages(session: LocalSession, count: usize) {
    let mut messages = 0;
    while messages < count {
        let next = tokio::time::timeout(Duration::from_secs(10), session.next_push()).await;
        match next.expect("a message is missing").expect("the session ended") {
            Push::Event(event) if event.kind == EventKind::Message => messages += 1,
            Push::Behind { .. } => panic!("the session was told to read a log"),
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn simultaneous_first_messages_are_pushed_to_every_session_of_the_recipient() {
    // All pushes together fit into an outbox, so that a reader whose task runs late misses none.
    const SENDERS: usize = 40;
    const MESSAGES: usize = 3;
    let mut config = config();
    config.default_direct_policy = DirectPolicy::Everyone;
    let engine = builder().config(config).build().await.unwrap();
    let mut senders = Vec::new();
    for number in 0..SENDERS {
        senders.push(new_user(&engine, &format!("sender{number}")).await);
    }
    let alice = new_user(&engine, "alice").await;
    let other_device = engine.session(id(&alice), DeviceId::random()).await.unwrap();
    let to = direct(&alice);
    let readers = [alice, other_device].map(|session| tokio::spawn(read_messages(session, SENDERS * MESSAGES)));
    let sends = senders.iter().map(|sender| async {
        for _ in 0..MESSAGES {
            sender.send_text(to.clone(), "hello").await.unwrap();
        }
    });
    join_all(sends).await;
    for reader in readers {
        reader.await.unwrap();
    }
}
