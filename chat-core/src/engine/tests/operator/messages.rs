//! Tests of messages that an operator recalls, or posts in the name of the system.

use super::*;

#[tokio::test]
async fn operator_recalls_a_message_of_a_user() {
    let engine = engine().await;
    let operator = operator(&engine);
    let (alice, bob, _, group, direct) = group_and_direct_conversation(&engine).await;
    operator.recall(direct, Seq(1)).await.unwrap();
    assert_eq!(texts(&history(&bob, direct.into()).await), ["", "to alice"]);
    let recall = wait_for_event(&alice, EventKind::Recall).await;
    assert_eq!(
        (recall.sender, recall.device, recall.target),
        (UserId::SYSTEM, None, Some(Seq(1)))
    );
    assert_eq!(
        last_action(&operator).await,
        action("message.recall", &format!("conversation:{direct}"))
    );
    let again = operator.recall(direct, Seq(1)).await;
    assert_eq!(error_code(again), ReplyCode::AlreadyRecalled);
    for (conversation, seq) in [(group, Seq(1)), (group, Seq(99)), (ConversationId(99), Seq(1))] {
        let refused = operator.recall(conversation, seq).await;
        assert_eq!(error_code(refused), ReplyCode::NotFound, "{conversation}, {seq}");
    }
}

#[tokio::test]
async fn system_posts_to_groups_and_users() {
    let engine = engine().await;
    let operator = operator(&engine);
    let (alice, bob, _, group, direct) = group_and_direct_conversation(&engine).await;
    let key = ClientMessageId::random();
    let posted = operator
        .post_to_group(group, text("maintenance at 5"), key)
        .await
        .unwrap();
    let again = operator
        .post_to_group(group, text("maintenance at 5"), key)
        .await
        .unwrap();
    assert_eq!(
        (again.seq, posted.duplicate, again.duplicate),
        (posted.seq, false, true)
    );
    let conflict = operator.post_to_group(group, text("something else"), key).await;
    assert_eq!(error_code(conflict), ReplyCode::Conflict);
    assert_eq!(
        texts(&history(&bob, group.into()).await).last().unwrap(),
        "maintenance at 5"
    );
    let target = format!("conversation:{group}");
    assert_eq!(audit(&operator).await, [action("message.post", &target)]);

    let key = ClientMessageId::random();
    let posted = operator.post_to_user(id(&alice), text("welcome"), key).await.unwrap();
    let received = wait_for_push(&alice, |push| match push {
        Push::Event(event) if event.conversation == posted.conversation && event.seq == posted.seq => {
            Some(event.clone())
        }
        _ => None,
    })
    .await;
    assert_eq!(message(&received).as_deref(), Some("welcome"));
    assert_eq!((received.sender, received.device), (UserId::SYSTEM, None));
    let answer = alice.send_text(posted.conversation, "thanks").await;
    assert_eq!(error_code(answer), ReplyCode::Forbidden);
    let refused = operator
        .post_to_group(direct, text("x"), ClientMessageId::random())
        .await;
    assert_eq!(error_code(refused), ReplyCode::NotFound);
}

#[tokio::test]
async fn retried_system_post_succeeds_after_the_group_or_account_was_deleted() {
    let engine = engine().await;
    let operator = operator(&engine);
    let (alice, _, _, group, _) = group_and_direct_conversation(&engine).await;
    let rust = || ConversationRef::Group(GroupName::parse("rust").unwrap());
    let (to_group, to_user) = (ClientMessageId::random(), ClientMessageId::random());
    let in_group = operator
        .post_to_group(rust(), text("maintenance"), to_group)
        .await
        .unwrap();
    let in_inbox = operator
        .post_to_user(name("alice"), text("welcome"), to_user)
        .await
        .unwrap();
    operator.delete_group(group).await.unwrap();
    let free = deletion(DeletedTexts::Keep, DeletedName::Free);
    operator.delete_account(id(&alice), free).await.unwrap();
    for again in [
        operator
            .post_to_group(group, text("maintenance"), to_group)
            .await
            .unwrap(),
        operator
            .post_to_group(rust(), text("maintenance"), to_group)
            .await
            .unwrap(),
    ] {
        assert_eq!((again.seq, again.duplicate), (in_group.seq, true));
    }
    for again in [
        operator
            .post_to_user(id(&alice), text("welcome"), to_user)
            .await
            .unwrap(),
        operator
            .post_to_user(name("alice"), text("welcome"), to_user)
            .await
            .unwrap(),
    ] {
        assert_eq!((again.seq, again.duplicate), (in_inbox.seq, true));
    }
    let other = || ClientMessageId::random();
    let refused = operator.post_to_group(group, text("maintenance"), other()).await;
    assert_eq!(error_code(refused), ReplyCode::GroupDeleted);
    for refused in [
        operator.post_to_group(rust(), text("maintenance"), other()).await,
        operator.post_to_user(id(&alice), text("welcome"), other()).await,
        operator.post_to_user(name("alice"), text("welcome"), other()).await,
        operator.post_to_user(name("alice"), text("other text"), to_user).await,
    ] {
        assert_eq!(error_code(refused), ReplyCode::NotFound);
    }
}
