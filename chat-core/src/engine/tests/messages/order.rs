//! Tests of the order of messages.

use super::*;

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
    let group = create_group(&owner, "crowd").await;
    let mut senders = Vec::new();
    for n in 0..10 {
        let sender = new_user(&engine, &format!("user{n}")).await;
        join(&sender, group).await;
        senders.push(sender);
    }
    let sends = senders.iter().flat_map(|sender| {
        (0..20).map(move |n| async move {
            sender
                .send_text(ConversationRef::Id(group), &n.to_string())
                .await
                .unwrap()
        })
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
    for sender in &senders {
        let mut last = Seq::ZERO;
        for _ in 0..200 {
            let event = wait_for_event(sender, EventKind::Message).await;
            assert!(event.seq > last);
            last = event.seq;
        }
    }
}
