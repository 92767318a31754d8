//! Tests of messages, edits, recalls and reactions, and of their idempotency and order.

use std::sync::Arc;

use futures_util::future::join_all;

use super::support::*;
use crate::clock::Clock;
use crate::commands::Commands;
use crate::engine::operator::{DeleteAccount, OperatorName};
use crate::model::*;

fn edit(target: Seq, new: &str) -> Draft {
    with(DraftContent::Edit {
        target,
        text: text(new),
    })
}

fn recall(target: Seq) -> Draft {
    with(DraftContent::Recall { target })
}

fn with(content: DraftContent) -> Draft {
    Draft {
        client_message_id: ClientMessageId::random(),
        content,
    }
}

fn mentioning(content: &str, mentions: Vec<UserId>, mention_all: bool) -> Draft {
    with(DraftContent::Message {
        text: text(content),
        reply_to: None,
        mentions,
        mention_all,
    })
}

#[tokio::test]
async fn retry_finds_the_stored_message() {
    let engine = engine().await;
    let alice = new_user(&engine, "alice").await;
    let notes = direct(&alice);
    let once = draft("once");
    let first = alice.send(notes.clone(), once.clone()).await.unwrap();
    let again = alice.send(notes.clone(), once.clone()).await.unwrap();
    assert!(!first.duplicate && again.duplicate);
    assert_eq!(
        (first.seq, first.event_id, first.time),
        (again.seq, again.event_id, again.time)
    );
    let next = alice.send_text(notes.clone(), "next").await.unwrap();
    assert_eq!(next.seq, first.seq.next(), "a duplicate uses no sequence number");

    let other_text = draft("other").with_id(once.client_message_id);
    assert_eq!(error_code(alice.send(notes, other_text).await), ReplyCode::Conflict);
    let group = group(&alice, "elsewhere").await;
    assert_eq!(
        error_code(alice.send(ConversationRef::Id(group), once).await),
        ReplyCode::Conflict
    );
}

#[tokio::test]
async fn retry_on_another_device_finds_the_stored_message() {
    let engine = engine().await;
    let phone = new_user(&engine, "alice").await;
    let laptop = engine.session(id(&phone), DeviceId::random()).await.unwrap();
    let once = draft("once");
    let first = phone.send(direct(&phone), once.clone()).await.unwrap();
    let again = laptop.send(direct(&phone), once).await.unwrap();
    assert!(again.duplicate);
    assert_eq!(first.event_id, again.event_id);
}

#[tokio::test]
async fn retries_in_one_batch_are_stored_once() {
    let engine = engine().await;
    let alice = new_user(&engine, "alice").await;
    let once = draft("once");
    let sends = (0..50).map(|_| alice.send(direct(&alice), once.clone()));
    let results: Vec<_> = join_all(sends).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(results.iter().filter(|appended| !appended.duplicate).count(), 1);
    assert!(results.iter().all(|appended| appended.seq == Seq(1)));
    assert_eq!(history(&alice, direct(&alice)).await.events.len(), 1);
}

/// A batch may contain new drafts, retries of stored drafts, and drafts that are refused. Each
/// draft gets the answer that it would get in a separate batch.
#[tokio::test]
async fn batch_of_retries_and_new_drafts_answers_each() {
    let engine = engine().await;
    let alice = new_user(&engine, "alice").await;
    let stored: Vec<Draft> = (0..5).map(|n| draft(&format!("stored {n}"))).collect();
    for old in &stored {
        alice.send(direct(&alice), old.clone()).await.unwrap();
    }
    let recall_first = recall(Seq(1));
    let recalled = alice.send(direct(&alice), recall_first.clone()).await.unwrap();
    let nothing = recall(Seq(99));
    let drafts = [
        draft("new 0"),
        stored[4].clone(),
        recall_first,
        nothing,
        stored[0].clone(),
        draft("new 1"),
    ];
    let answers = join_all(drafts.map(|draft| alice.send(direct(&alice), draft))).await;
    let answers: Vec<_> = answers
        .into_iter()
        .map(|answer| answer.map(|appended| (appended.seq, appended.duplicate)))
        .map(|answer| answer.map_err(|error| error.code))
        .collect();
    let expected = [
        Ok((Seq(7), false)),
        Ok((Seq(5), true)),
        Ok((recalled.seq, true)),
        Err(ReplyCode::NotFound),
        Ok((Seq(1), true)),
        Ok((Seq(8), false)),
    ];
    assert_eq!(answers, expected);
}

/// A former member's retry finds the message that was stored before the member left.
#[tokio::test]
async fn retry_after_leaving_finds_the_stored_message() {
    let engine = engine().await;
    let (alice, bob) = (new_user(&engine, "alice").await, new_user(&engine, "bob").await);
    let group = group(&alice, "friends").await;
    join(&bob, group).await;
    let (reference, message_draft) = (ConversationRef::Id(group), draft("stored"));
    let first = bob.send(reference.clone(), message_draft.clone()).await.unwrap();
    bob.execute(Command::LeaveGroup(reference.clone())).await.unwrap();
    let again = bob.send(reference.clone(), message_draft.clone()).await.unwrap();
    assert_eq!(
        (again.seq, again.event_id, again.duplicate),
        (first.seq, first.event_id, true)
    );
    let other_text = draft("other").with_id(message_draft.client_message_id);
    assert_eq!(
        error_code(bob.send(reference.clone(), other_text).await),
        ReplyCode::Conflict
    );
    assert_ne!(
        error_code(bob.send(reference, draft("late")).await),
        ReplyCode::Conflict
    );
}

/// The log has the order of the calls, even if a name must be looked up or the conversation opened
/// first, and regardless of how the futures are polled.
#[tokio::test]
async fn session_keeps_the_order_of_its_sends() {
    let engine = engine().await;
    let (alice, bob) = (new_user(&engine, "alice").await, new_user(&engine, "bob").await);
    befriend(&alice, &bob).await;
    let by_name = ConversationRef::Direct(UserRef::Name(UserName::parse("bob").unwrap()));
    let refs = [by_name, direct(&bob)];
    let mut answers: Vec<_> = (0..300)
        .map(|n| {
            engine.execute(
                alice.caller(),
                Command::Send {
                    conversation: refs[n % 2].clone(),
                    draft: draft(&n.to_string()),
                },
            )
        })
        .collect();
    answers.reverse();
    for answer in join_all(answers).await {
        answer.unwrap();
    }
    let expected: Vec<String> = (0..300).map(|n| n.to_string()).collect();
    assert_eq!(texts(&history(&bob, direct(&alice)).await), expected);
}

#[tokio::test]
async fn dropped_future_does_not_cancel_a_send() {
    let engine = engine().await;
    let alice = new_user(&engine, "alice").await;
    for n in 0..20 {
        drop(engine.execute(
            alice.caller(),
            Command::Send {
                conversation: direct(&alice),
                draft: draft(&n.to_string()),
            },
        ));
    }
    alice.send_text(direct(&alice), "last").await.unwrap();
    assert_eq!(history(&alice, direct(&alice)).await.events.len(), 21);
}

#[tokio::test]
async fn concurrent_senders_share_one_gapless_order() {
    let engine = engine().await;
    let owner = new_user(&engine, "olga").await;
    let group = group(&owner, "crowd").await;
    let mut people = Vec::new();
    for n in 0..10 {
        let one = new_user(&engine, &format!("user{n}")).await;
        join(&one, group).await;
        people.push(one);
    }
    let sends = people.iter().flat_map(|one| {
        (0..20).map(move |n| async move { one.send_text(ConversationRef::Id(group), &n.to_string()).await.unwrap() })
    });
    let mut seqs: Vec<u64> = join_all(sends)
        .await
        .into_iter()
        .map(|appended| appended.seq.0)
        .collect();
    seqs.sort_unstable();
    let first = seqs[0];
    assert_eq!(seqs, (first..first + 200).collect::<Vec<_>>());
    let page = history(&owner, ConversationRef::Id(group)).await;
    let times: Vec<_> = page.events.iter().map(|event| event.event.time).collect();
    assert!(times.is_sorted_by(|a, b| a < b), "times are strictly ascending");
    for one in &people {
        let mut last = Seq::ZERO;
        for _ in 0..200 {
            let event = event(one, EventKind::Message).await;
            assert!(event.seq > last);
            last = event.seq;
        }
    }
}

#[tokio::test]
async fn edit_replaces_the_text_and_recall_erases_it() {
    let engine = engine().await;
    let (alice, bob) = (new_user(&engine, "alice").await, new_user(&engine, "bob").await);
    befriend(&alice, &bob).await;
    let sent = alice.send_text(direct(&bob), "first").await.unwrap();
    alice.send(direct(&bob), edit(sent.seq, "second")).await.unwrap();
    alice.send(direct(&bob), edit(sent.seq, "third")).await.unwrap();
    let page = history(&bob, direct(&alice)).await;
    assert_eq!(page.events[0].edited_text.as_deref(), Some("third"));

    assert_eq!(
        error_code(bob.send(direct(&alice), edit(sent.seq, "mine now")).await),
        ReplyCode::Forbidden
    );
    assert_eq!(
        error_code(bob.send(direct(&alice), recall(sent.seq)).await),
        ReplyCode::Forbidden
    );
    alice.send(direct(&bob), recall(sent.seq)).await.unwrap();
    let page = history(&bob, direct(&alice)).await;
    assert_eq!(page.events[0].event.recalled_seq, Some(Seq(4)));
    assert_eq!(page.events[0].edited_text, None);
    let stored = format!("{:?}", page.events);
    for erased in ["first", "second", "third"] {
        assert!(!stored.contains(erased), "the store still has {erased}");
    }
    for late in [edit(sent.seq, "x"), recall(sent.seq)] {
        assert_eq!(
            error_code(alice.send(direct(&bob), late).await),
            ReplyCode::AlreadyRecalled
        );
    }
    let emoji = Emoji::new("👍").unwrap();
    let react = with(DraftContent::React {
        target: sent.seq,
        emoji,
        remove: false,
    });
    assert_eq!(
        error_code(bob.send(direct(&alice), react).await),
        ReplyCode::AlreadyRecalled
    );
}

#[tokio::test]
async fn message_edit_and_recall_succeed_in_one_batch() {
    let engine = engine().await;
    let alice = new_user(&engine, "alice").await;
    alice.send_text(direct(&alice), "opens it").await.unwrap();
    let drafts = [
        draft("secret"),
        edit(Seq(2), "secret too"),
        recall(Seq(2)),
        edit(Seq(2), "late"),
    ];
    let results = join_all(drafts.map(|draft| alice.send(direct(&alice), draft))).await;
    assert!(results[..3].iter().all(Result::is_ok), "{results:?}");
    assert_eq!(error_code(results[3].clone()), ReplyCode::AlreadyRecalled);
    let page = history(&alice, direct(&alice)).await;
    assert!(!format!("{page:?}").contains("secret"));
    assert_eq!(page.events.len(), 4);
}

#[derive(Debug)]
struct Jump(std::sync::atomic::AtomicI64);

impl Clock for Jump {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(std::sync::atomic::Ordering::SeqCst))
    }
}

#[tokio::test]
async fn edit_and_recall_are_refused_after_the_window() {
    let clock = Arc::new(Jump(1_000_000_000_000.into()));
    let engine = builder().clock(clock.clone()).build().await.unwrap();
    let alice = new_user(&engine, "alice").await;
    let sent = alice.send_text(direct(&alice), "old").await.unwrap();
    let day = 24 * 3600 * 1000;
    clock.0.fetch_add(day, std::sync::atomic::Ordering::SeqCst);
    alice.send(direct(&alice), edit(sent.seq, "in time")).await.unwrap();
    clock.0.fetch_add(2, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(
        error_code(alice.send(direct(&alice), edit(sent.seq, "x")).await),
        ReplyCode::TooLate
    );
    assert_eq!(
        error_code(alice.send(direct(&alice), recall(sent.seq)).await),
        ReplyCode::TooLate
    );
    // A clock that steps back does not change the time of the log.
    clock.0.fetch_sub(day, std::sync::atomic::Ordering::SeqCst);
    let later = alice.send_text(direct(&alice), "x").await.unwrap();
    assert!(later.time > sent.time);
}

#[tokio::test]
async fn replies_and_mentions_are_checked() {
    let engine = engine().await;
    let (olga, bob) = (new_user(&engine, "olga").await, new_user(&engine, "bob").await);
    let eve = new_user(&engine, "eve").await;
    let group = group(&olga, "crowd").await;
    let here = ConversationRef::Id(group);
    let before = olga.send_text(here.clone(), "before bob").await.unwrap();
    join(&bob, group).await;
    let reply = |seq| {
        with(DraftContent::Message {
            text: text("re"),
            reply_to: Some(seq),
            mentions: Vec::new(),
            mention_all: false,
        })
    };
    assert_eq!(
        error_code(bob.send(here.clone(), reply(before.seq)).await),
        ReplyCode::NotFound,
        "the reader may not read the target"
    );
    assert_eq!(
        error_code(bob.send(here.clone(), reply(Seq(99))).await),
        ReplyCode::NotFound
    );
    assert_eq!(
        error_code(olga.send(here.clone(), reply(Seq(1))).await),
        ReplyCode::NotFound,
        "the target is not a message"
    );
    olga.send(here.clone(), reply(before.seq)).await.unwrap();

    let stranger = mentioning("hey", vec![id(&eve)], false);
    assert_eq!(
        error_code(bob.send(here.clone(), stranger).await),
        ReplyCode::InvalidArgument
    );
    let many = mentioning("hey", (0..51).map(UserId).collect(), false);
    assert_eq!(error_code(bob.send(here.clone(), many).await), ReplyCode::LimitExceeded);
    bob.send(here.clone(), mentioning("hey", vec![id(&olga)], false))
        .await
        .unwrap();
    olga.send(here.clone(), mentioning("all", Vec::new(), true))
        .await
        .unwrap();
    olga.send(here.clone(), mentioning("both", vec![id(&bob)], true))
        .await
        .unwrap();
    let head = info(&bob, here).await;
    assert_eq!((head.unread, head.mentions), (2, 2));
}

#[tokio::test]
async fn unread_counts_follow_reading_and_writing() {
    let engine = engine().await;
    let (alice, bob) = (new_user(&engine, "alice").await, new_user(&engine, "bob").await);
    befriend(&alice, &bob).await;
    for n in 0..5 {
        alice.send_text(direct(&bob), &n.to_string()).await.unwrap();
    }
    alice.send(direct(&bob), edit(Seq(1), "x")).await.unwrap();
    assert_eq!(info(&bob, direct(&alice)).await.unread, 5, "edits do not count");
    assert_eq!(info(&alice, direct(&bob)).await.unread, 0, "own messages do not count");
    bob.send_text(direct(&alice), "answer").await.unwrap();
    assert_eq!(
        info(&bob, direct(&alice)).await.unread,
        0,
        "a reply marks the conversation as read"
    );
}

#[tokio::test]
async fn everyone_policy_accepts_strangers() {
    let engine = engine().await;
    let (alice, bob) = (new_user(&engine, "alice").await, new_user(&engine, "bob").await);
    assert_eq!(
        error_code(bob.send_text(direct(&alice), "hi").await),
        ReplyCode::NotFriends
    );
    assert!(history_len(&bob).await == 0, "a refused message opens no conversation");
    let open = Command::UpdateProfile(ProfileChanges {
        direct_policy: Some(DirectPolicy::Everyone),
        ..ProfileChanges::default()
    });
    alice.execute(open).await.unwrap();
    let sent = bob.send_text(direct(&alice), "hi").await.unwrap();
    for session in [&alice, &bob] {
        let opened = event(session, EventKind::ConversationOpened).await;
        assert!(
            matches!(body(&opened), EventBody::ConversationOpened { conversation, .. } if conversation == sent.conversation)
        );
        assert_eq!(event(session, EventKind::Message).await.seq, Seq(1));
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
async fn policy_replies_accepts_whom_the_user_has_written_to() {
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

async fn history_len(session: &crate::engine::LocalSession) -> usize {
    match session.execute(Command::ListConversations).await {
        Ok(Outcome::Conversations(all)) => all.iter().filter(|info| info.view != ConversationView::Inbox).count(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn send_to_an_unknown_user_is_refused() {
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

#[tokio::test]
async fn history_pages_forward_and_backward() {
    let engine = engine().await;
    let alice = new_user(&engine, "alice").await;
    for n in 1..=10 {
        alice.send_text(direct(&alice), &n.to_string()).await.unwrap();
    }
    let page = |from| Command::ReadHistory {
        conversation: direct(&alice),
        page: Page {
            from,
            max_events: 3,
            max_bytes: u32::MAX,
        },
    };
    for (from, expected, more) in [
        (PageFrom::After(Seq(0)), vec!["1", "2", "3"], true),
        (PageFrom::After(Seq(8)), vec!["9", "10"], false),
        (PageFrom::Before(Seq(4)), vec!["1", "2", "3"], false),
        (PageFrom::Newest, vec!["8", "9", "10"], true),
        (PageFrom::After(Seq(u64::MAX)), vec![], false),
    ] {
        let Ok(Outcome::History(read)) = alice.execute(page(from)).await else {
            panic!("no page");
        };
        assert_eq!(
            (texts(&read), read.more),
            (expected.iter().map(ToString::to_string).collect(), more),
            "{from:?}"
        );
        assert_eq!((read.first_seq, read.last_seq), (Seq(1), Seq(10)));
    }
}

/// Ways in which a name stops to refer to a conversation.
#[tokio::test]
async fn retry_by_name_finds_its_message_after_the_name_was_reused() {
    let engine = engine().await;
    let operator = engine.operator(OperatorName::new("carol").unwrap());
    let (alice, bob) = (new_user(&engine, "alice").await, new_user(&engine, "bob").await);
    befriend(&alice, &bob).await;
    let to_group = || ConversationRef::Group(GroupName::parse("rust").unwrap());
    let to_bob = || ConversationRef::direct(UserName::parse("bob").unwrap());
    let (in_group, in_direct) = (draft("to the group"), draft("to bob"));
    let retries = async |when: &str| {
        let group = alice.send(to_group(), in_group.clone()).await;
        let direct = alice.send(to_bob(), in_direct.clone()).await;
        [group, direct].map(|sent| sent.unwrap_or_else(|error| panic!("{when}: {error}")))
    };
    let group_id = group(&alice, "rust").await;
    let first = retries("first").await;
    let expected = first.map(|sent| Appended {
        duplicate: true,
        ..sent
    });
    assert_eq!(retries("again").await, expected);

    let renamed = GroupChanges {
        name: Some(GroupName::parse("archive").unwrap()),
        ..GroupChanges::default()
    };
    alice.update_group(group_id, renamed).await.unwrap();
    operator
        .rename_account(id(&bob), UserName::parse("bert").unwrap())
        .await
        .unwrap();
    assert_eq!(retries("the names are free").await, expected);

    let other = group(&alice, "rust").await;
    let other_bob = new_user(&engine, "bob").await;
    befriend(&alice, &other_bob).await;
    assert_eq!(retries("the names are taken").await, expected);
    assert!(texts(&history(&alice, other.into()).await).is_empty());

    operator.close_group(other).await.unwrap();
    let delete = DeleteAccount::default();
    operator.delete_account(id(&other_bob), delete).await.unwrap();
    operator.close_group(group_id).await.unwrap();
    operator.delete_account(id(&bob), delete).await.unwrap();
    assert_eq!(retries("the names refer to no conversation").await, expected);

    // Another message is refused, and so is a retry that is sent to another conversation by its id.
    let changed = draft("changed").with_id(in_group.client_message_id);
    assert_eq!(error_code(alice.send(to_group(), changed).await), ReplyCode::NotFound);
    let elsewhere = alice.send(direct(&alice), in_group.clone()).await;
    assert_eq!(error_code(elsewhere), ReplyCode::Conflict);
}
