//! Tests of accounts that an operator deletes.

use super::*;

#[tokio::test]
async fn deletion_keeps_the_conversations_of_others() {
    let engine = engine().await;
    let operator = operator(&engine);
    let (alice, bob, dora, group, direct) = group_and_direct_conversation(&engine).await;
    alice.set_role(group, user(&dora), Role::Admin).await.unwrap();
    operator.delete_account(name("alice"), KEEP_TEXTS).await.unwrap();
    wait_until_ended(&alice).await;
    assert_eq!(last_action(&operator).await, action("account.delete", "user:1"));

    let read = history(&bob, group.into()).await;
    assert_eq!(texts(&read), ["to the group", "from bob"]);
    assert_eq!(texts(&history(&bob, direct.into()).await), ["to bob", "to alice"]);
    let info = info(&bob, direct.into()).await;
    let ConversationView::Direct(peer) = info.view else {
        panic!("{info:?}")
    };
    assert_eq!((peer.id, peer.name.as_str()), (id(&alice), "deleted user"));
    assert!(bob.contacts().await.unwrap().is_empty());
    let refused = bob.send_text(direct, "are you there?").await;
    assert_eq!(error_code(refused), ReplyCode::NotFriends);
    let refused = bob.request_friend(user(&alice), Note::default()).await;
    assert_eq!(error_code(refused), ReplyCode::NotFound);

    // The admin becomes the owner of the group.
    let shown = operator.group(group).await.unwrap();
    assert!(!shown.group.orphaned);
    let members: Vec<(UserId, Role)> = shown
        .members
        .iter()
        .map(|member| (member.user.id, member.role))
        .collect();
    assert_eq!(members, [(id(&bob), Role::Member), (id(&dora), Role::Owner)]);
    dora.update_group(group, GroupChanges::default()).await.unwrap();
}

#[tokio::test]
async fn deletion_removes_personal_data_and_can_be_repeated() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let engine = Engine::builder(Arc::clone(&store))
        .config(config())
        .build()
        .await
        .unwrap();
    let operator = operator(&engine);
    let (alice, bob, dora, _, _) = group_and_direct_conversation(&engine).await;
    dora.request_friend(user(&alice), Note::new("my secret note").unwrap())
        .await
        .unwrap();
    let id = id(&alice);
    for _ in 0..2 {
        operator.delete_account(id, KEEP_TEXTS).await.unwrap();
        let account = store.account(id).await.unwrap().unwrap();
        assert!(account.disabled && account.deleted.is_some());
        assert_eq!((account.display_name.as_str(), account.password_hash), ("", None));
        assert!(store.devices(id).await.unwrap().is_empty());
        assert!(store.contacts(id, UserId(0), 100).await.unwrap().is_empty());
        assert!(store.related_users(id, UserId(0), 9).await.unwrap().is_empty());
        let inbox = ConversationKind::Inbox { owner: id };
        let inbox = store.conversation_of_kind(&inbox).await.unwrap().unwrap();
        let events = store.events(inbox, Seq(1), Seq(99), 99).await.unwrap();
        assert!(!events.is_empty());
        for event in &events {
            if let EventBody::FriendRequested { note, .. } = body(event) {
                assert_eq!(note, "");
            }
        }
    }
    assert!(
        store
            .related_users(self::id(&bob), UserId(0), 9)
            .await
            .unwrap()
            .is_empty()
    );
    for refused in [
        operator.enable(id).await,
        operator.rename_account(id, name("alicia")).await,
        operator.end_sessions(id).await,
    ] {
        assert_eq!(refused.unwrap_err().text, "the account of user #1 is deleted");
    }
    assert_eq!(
        error_code(login_with(&engine, id, PASSWORD).await),
        ReplyCode::BadCredentials
    );
}

#[tokio::test]
async fn messages_with_erased_texts_stay_in_the_log_as_recalled() {
    let engine = engine().await;
    let operator = operator(&engine);
    let (alice, bob, _, group, direct) = group_and_direct_conversation(&engine).await;
    let sent = alice.send_text(group, "a first draft").await.unwrap();
    alice.edit(group, sent.seq, text("a second draft")).await.unwrap();
    let erase = deletion(DeletedTexts::Erase, DeletedName::Reserve);
    operator.delete_account(id(&alice), erase).await.unwrap();
    assert_eq!(texts(&history(&bob, group.into()).await), ["", "from bob", ""]);
    assert_eq!(texts(&history(&bob, direct.into()).await), ["", "to alice"]);
    let page = history(&bob, group.into()).await;
    for event in page.events.iter().map(|entry| &entry.event) {
        let is_message_of_alice = event.kind == EventKind::Message && event.sender == id(&alice);
        assert_eq!(event.recalled_seq.is_some(), is_message_of_alice, "{event:?}");
        if let EventBody::Edit { text, .. } = body(event) {
            assert_eq!(text, "");
        }
    }
    // Clients that keep a copy of the text learn of the recall by an event.
    let recall = wait_for_event(&bob, EventKind::Recall).await;
    assert_eq!((recall.sender, recall.device), (id(&alice), None));
}

#[tokio::test]
async fn deletion_frees_or_reserves_the_name() {
    let engine = engine().await;
    let operator = operator(&engine);
    for (user, deleted_name) in [("alice", DeletedName::Reserve), ("bob", DeletedName::Free)] {
        let id = register(&engine, user).await;
        operator
            .delete_account(id, deletion(DeletedTexts::Keep, deleted_name))
            .await
            .unwrap();
    }
    let taken = engine.register(Source::Local, registration("alice")).await;
    assert_eq!(error_code(taken), ReplyCode::NameTaken);
    register(&engine, "bob").await;
    let session = new_user(&engine, "dora").await;
    assert!(session.search_users("alice", 9).await.unwrap().is_empty());
}
