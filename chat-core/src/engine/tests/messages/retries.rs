//! Tests of retries: a message is stored once, even if names, rights or members have changed since
//! the first attempt.

use super::*;

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
    let group = create_group(&alice, "elsewhere").await;
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
async fn batch_of_retries_and_new_drafts_answers_every_draft() {
    let engine = engine().await;
    let alice = new_user(&engine, "alice").await;
    let stored: Vec<Draft> = (0..5).map(|n| draft(&format!("stored {n}"))).collect();
    for old in &stored {
        alice.send(direct(&alice), old.clone()).await.unwrap();
    }
    let recall_first = recall(Seq(1));
    let recalled = alice.send(direct(&alice), recall_first.clone()).await.unwrap();
    let recall_unknown = recall(Seq(99));
    let drafts = [
        draft("new 0"),
        stored[4].clone(),
        recall_first,
        recall_unknown,
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
    let group = create_group(&alice, "friends").await;
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
        ReplyCode::Conflict,
        "a new draft is refused because bob has left"
    );
}

/// The name of a group or user may be freed, be taken by another one, or no longer be found because
/// that one was deleted. The retry of a draft that was sent to this name finds its message
/// nevertheless.
#[tokio::test]
async fn retry_by_name_finds_its_message_after_the_name_has_changed_its_meaning() {
    let engine = engine().await;
    let operator = engine.operator(OperatorName::new("carol").unwrap());
    let (alice, bob) = (new_user(&engine, "alice").await, new_user(&engine, "bob").await);
    befriend(&alice, &bob).await;
    let to_group = || ConversationRef::Group(GroupName::parse("rust").unwrap());
    let to_bob = || ConversationRef::direct(UserName::parse("bob").unwrap());
    let (in_group, in_direct) = (draft("to the group"), draft("to bob"));
    let send_both = async |when: &str| {
        let group = alice.send(to_group(), in_group.clone()).await;
        let direct = alice.send(to_bob(), in_direct.clone()).await;
        [group, direct].map(|sent| sent.unwrap_or_else(|error| panic!("{when}: {error}")))
    };
    let group_id = create_group(&alice, "rust").await;
    let first = send_both("first").await;
    let expected = first.map(|sent| Appended {
        duplicate: true,
        ..sent
    });
    assert_eq!(send_both("again").await, expected);

    let renamed = GroupChanges {
        name: Some(GroupName::parse("archive").unwrap()),
        ..GroupChanges::default()
    };
    alice.update_group(group_id, renamed).await.unwrap();
    operator
        .rename_account(id(&bob), UserName::parse("bert").unwrap())
        .await
        .unwrap();
    assert_eq!(send_both("the names are free").await, expected);

    let other = create_group(&alice, "rust").await;
    let other_bob = new_user(&engine, "bob").await;
    befriend(&alice, &other_bob).await;
    assert_eq!(send_both("the names are taken").await, expected);
    assert!(texts(&history(&alice, other.into()).await).is_empty());

    operator.delete_group(other).await.unwrap();
    let options = DeletionOptions::default();
    operator.delete_account(id(&other_bob), options).await.unwrap();
    operator.delete_group(group_id).await.unwrap();
    operator.delete_account(id(&bob), options).await.unwrap();
    assert_eq!(send_both("the names refer to no conversation").await, expected);

    // Another message with the same id is refused, and so is a retry that is sent to another
    // conversation.
    let changed = draft("changed").with_id(in_group.client_message_id);
    assert_eq!(error_code(alice.send(to_group(), changed).await), ReplyCode::NotFound);
    let elsewhere = alice.send(direct(&alice), in_group.clone()).await;
    assert_eq!(error_code(elsewhere), ReplyCode::Conflict);
}
