//! Tests of accounts that an operator creates, lists, shows, renames and disables, and whose
//! sessions and passwords the operator ends or replaces.

use super::*;

#[tokio::test]
async fn created_account_may_have_a_reserved_name_and_no_password() {
    let mut config = config();
    config.allow_registration = false;
    let engine = builder().config(config).build().await.unwrap();
    let operator = operator(&engine);
    let admin = CreateAccount {
        display_name: Some(DisplayName::parse("The Admin").unwrap()),
        password: Some(Secret::new(PASSWORD)),
        ..CreateAccount::new(name("admin"))
    };
    let admin = operator.create_account(admin).await.unwrap();
    assert_eq!((admin.name.as_str(), admin.has_password), ("admin", true));
    login_with(&engine, admin.id, PASSWORD).await.unwrap();
    assert_eq!(audit(&operator).await, [action("account.create", "user:1")]);

    let of_subject = |new: &str| CreateAccount {
        subject: Some("auth0|7".to_owned()),
        ..CreateAccount::new(name(new))
    };
    let bot = of_subject("bot");
    let bot = operator.create_account(bot).await.unwrap();
    assert_eq!((bot.has_password, bot.subject.as_deref()), (false, Some("auth0|7")));
    let refused = login_with(&engine, bot.id, PASSWORD).await;
    assert_eq!(error_code(refused), ReplyCode::BadCredentials);

    for taken in [CreateAccount::new(name("bot")), of_subject("other")] {
        assert_eq!(error_code(operator.create_account(taken).await), ReplyCode::NameTaken);
    }
    let short = CreateAccount {
        password: Some(Secret::new("short")),
        ..CreateAccount::new(name("other"))
    };
    assert_eq!(
        error_code(operator.create_account(short).await),
        ReplyCode::InvalidPassword
    );
    assert_eq!(audit(&operator).await.len(), 2, "refused actions leave no audit record");
}

#[tokio::test]
async fn accounts_are_listed_in_pages_and_shown_with_devices() {
    let engine = engine().await;
    let operator = operator(&engine);
    for user in ["dora", "alice", "bob"] {
        register(&engine, user).await;
    }
    let first = operator.list_accounts("", "", 2).await.unwrap();
    let names: Vec<&str> = first.accounts.iter().map(|account| account.name.as_str()).collect();
    assert_eq!((names, first.has_more), (vec!["alice", "bob"], true));
    let rest = operator.list_accounts("", "bob", 2).await.unwrap();
    assert_eq!((rest.accounts[0].name.as_str(), rest.has_more), ("dora", false));
    for prefix in ["al", "AL", "ａｌ"] {
        let found = operator.list_accounts(prefix, "", 9).await.unwrap();
        assert_eq!(found.accounts.len(), 1, "{prefix}");
    }

    let alice = first.accounts[0].id;
    let session = engine.session(alice, DeviceId::random()).await.unwrap();
    let shown = operator.account(name("alice")).await.unwrap();
    assert_eq!(shown.account, first.accounts[0]);
    assert_eq!(shown.devices.len(), 1);
    assert_eq!(shown.devices[0].id, session.caller().device().unwrap());
    let unknown = operator.account(UserId(99)).await.unwrap_err();
    assert_eq!(unknown.text, "user #99 does not exist");
    assert!(audit(&operator).await.is_empty(), "reading is not recorded");
}

#[tokio::test]
async fn disabled_account_loses_its_sessions_and_cannot_log_in_until_it_is_enabled() {
    let engine = engine().await;
    let operator = operator(&engine);
    let alice = new_user(&engine, "alice").await;
    assert!(operator.disable(id(&alice)).await.unwrap().disabled);
    wait_until_ended(&alice).await;
    let refused = login_with(&engine, id(&alice), PASSWORD).await;
    assert_eq!(error_code(refused), ReplyCode::AccountDisabled);
    assert!(!operator.enable(name("alice")).await.unwrap().disabled);
    login_with(&engine, id(&alice), PASSWORD).await.unwrap();
    let expected = [action("account.disable", "user:1"), action("account.enable", "user:1")];
    assert_eq!(audit(&operator).await, expected);
}

#[tokio::test]
async fn end_sessions_revokes_tokens_and_set_password_replaces_the_password() {
    let engine = engine().await;
    let operator = operator(&engine);
    let alice = register(&engine, "alice").await;
    let device = DeviceId::random();
    let granted = engine.login(Source::Local, login(alice, device)).await.unwrap();
    operator.end_sessions(alice).await.unwrap();
    let resume = Resume::new(alice, device, granted.session_token.unwrap());
    let refused = engine.resume(Source::Local, resume).await;
    assert_eq!(error_code(refused), ReplyCode::SessionExpired);
    let granted = engine.login(Source::Local, login(alice, device)).await.unwrap();

    operator
        .set_password(alice, Secret::new("another password"))
        .await
        .unwrap();
    let resume = Resume::new(alice, device, granted.session_token.unwrap());
    let refused = engine.resume(Source::Local, resume).await;
    assert_eq!(error_code(refused), ReplyCode::SessionExpired);
    assert_eq!(
        error_code(login_with(&engine, alice, PASSWORD).await),
        ReplyCode::BadCredentials
    );
    login_with(&engine, alice, "another password").await.unwrap();
    let expected = [
        action("account.end_sessions", "user:1"),
        action("account.set_password", "user:1"),
    ];
    assert_eq!(audit(&operator).await, expected);
}

#[tokio::test]
async fn renamed_account_is_found_under_its_new_name_only() {
    let engine = engine().await;
    let operator = operator(&engine);
    let alice = new_user(&engine, "alice").await;
    let bob = new_user(&engine, "bob").await;
    befriend(&alice, &bob).await;
    // From now on, the name is in this node's cache.
    bob.send_text(ConversationRef::direct(name("alice")), "hi")
        .await
        .unwrap();
    let renamed = operator.rename_account(name("alice"), name("alicia")).await.unwrap();
    assert_eq!((renamed.id, renamed.name.as_str()), (id(&alice), "alicia"));
    assert_eq!(
        error_code(bob.send_text(ConversationRef::direct(name("alice")), "hi").await),
        ReplyCode::NotFound
    );
    bob.send_text(ConversationRef::direct(name("alicia")), "hi")
        .await
        .unwrap();
    let taken = operator.rename_account(name("alicia"), name("bob")).await;
    assert_eq!(error_code(taken), ReplyCode::NameTaken);
    register(&engine, "alice").await;
    assert_eq!(audit(&operator).await, [action("account.rename", "user:1")]);
}

#[tokio::test]
async fn sessions_ended_by_an_operator_get_the_reason_as_close_code() {
    let engine = engine().await;
    let operator = operator(&engine);
    let last_push = async |session: LocalSession| {
        let mut last = None;
        while let Some(push) = session.next_push().await {
            last = Some(push);
        }
        last
    };
    let (alice, bob) = (new_user(&engine, "alice").await, new_user(&engine, "bob").await);
    let (dora, erin) = (new_user(&engine, "dora").await, new_user(&engine, "erin").await);
    operator.disable(id(&alice)).await.unwrap();
    let delete = deletion(DeletedTexts::Keep, DeletedName::Free);
    operator.delete_account(id(&bob), delete).await.unwrap();
    operator.end_sessions(id(&dora)).await.unwrap();
    operator
        .set_password(id(&erin), Secret::new("another horse"))
        .await
        .unwrap();
    for session in [alice, bob] {
        assert_eq!(last_push(session).await, Some(Push::Closed(CloseCode::AccountDisabled)));
    }
    for session in [dora, erin] {
        assert_eq!(last_push(session).await, Some(Push::Closed(CloseCode::Revoked)));
    }
}
