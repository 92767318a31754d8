//! Tests of operators, who manage accounts, groups and messages, and of the audit log.

use std::sync::Arc;

use super::support::*;
use crate::commands::Commands;
use crate::engine::operator::{
    CreateAccount, DeleteAccount, DeletedName, DeletedSubject, DeletedTexts, ExportRecord, Operator, OperatorName,
};
use crate::engine::{CommandError, Engine, LocalSession};
use crate::model::*;
use crate::store::{AuditPage, AuditRecord, MemoryStore, Store};

fn operator(engine: &Engine) -> Operator {
    engine.operator(OperatorName::new("carol").unwrap()).source("test")
}

/// Returns the actions in the audit log with their targets, oldest first.
async fn audit(operator: &Operator) -> Vec<(String, String)> {
    let records = operator
        .audit_log(AuditPage::After(crate::store::AuditId(0)), 500)
        .await
        .unwrap();
    assert!(records.iter().all(|AuditRecord { record, .. }| {
        record.operator == "carol" && record.source == "test" && record.time > Timestamp(0)
    }));
    records
        .into_iter()
        .map(|AuditRecord { record, .. }| (record.action, record.target))
        .collect()
}

async fn last_action(operator: &Operator) -> (String, String) {
    audit(operator).await.pop().unwrap()
}

fn action(action: &str, target: &str) -> (String, String) {
    (action.to_owned(), target.to_owned())
}

fn name(text: &str) -> UserName {
    UserName::parse_any(text).unwrap()
}

async fn login_with(engine: &Engine, user: UserId, password: &str) -> Result<LoginGrant, CommandError> {
    let login = Login {
        secret: Secret::new(password),
        ..login(user, DeviceId::random())
    };
    engine.login(Source::Local, login).await
}

async fn ended(session: &LocalSession) {
    let wait = async { while session.next_push().await.is_some() {} };
    tokio::time::timeout(std::time::Duration::from_secs(10), wait)
        .await
        .expect("the session did not end");
}

fn deletion(texts: DeletedTexts, name: DeletedName) -> DeleteAccount {
    DeleteAccount {
        texts,
        name,
        ..DeleteAccount::default()
    }
}

const KEEP: DeleteAccount = DeleteAccount {
    texts: DeletedTexts::Keep,
    name: DeletedName::Reserve,
    subject: DeletedSubject::Refuse,
};

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
    assert_eq!(audit(&operator).await.len(), 2, "refused actions leave no record");
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
    assert_eq!((names, first.more), (vec!["alice", "bob"], true));
    let rest = operator.list_accounts("", "bob", 2).await.unwrap();
    assert_eq!((rest.accounts[0].name.as_str(), rest.more), ("dora", false));
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
    assert_eq!(unknown.text, "user 99 does not exist");
    assert!(audit(&operator).await.is_empty(), "reading is not recorded");
}

#[tokio::test]
async fn disabled_account_loses_its_sessions_until_it_is_enabled() {
    let engine = engine().await;
    let operator = operator(&engine);
    let alice = new_user(&engine, "alice").await;
    assert!(operator.disable(id(&alice)).await.unwrap().disabled);
    ended(&alice).await;
    let refused = login_with(&engine, id(&alice), PASSWORD).await;
    assert_eq!(error_code(refused), ReplyCode::AccountDisabled);
    assert!(!operator.enable(name("alice")).await.unwrap().disabled);
    login_with(&engine, id(&alice), PASSWORD).await.unwrap();
    let expected = [action("account.disable", "user:1"), action("account.enable", "user:1")];
    assert_eq!(audit(&operator).await, expected);
}

#[tokio::test]
async fn new_password_and_ended_sessions_revoke_tokens() {
    let engine = engine().await;
    let operator = operator(&engine);
    let alice = register(&engine, "alice").await;
    let device = DeviceId::random();
    let granted = engine.login(Source::Local, login(alice, device)).await.unwrap();
    operator.end_sessions(alice).await.unwrap();
    let resume = Resume::new(alice, device, granted.session_token.unwrap());
    let refused = engine.resume(Source::Local, resume).await;
    assert_eq!(error_code(refused), ReplyCode::SessionExpired);
    login_with(&engine, alice, PASSWORD).await.unwrap();

    operator
        .set_password(alice, Secret::new("another password"))
        .await
        .unwrap();
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

/// Registers alice, bob and dora; alice and bob are friends. Creates a group of the three, owned by
/// alice, and a direct conversation of alice and bob, with a message from alice in each. Returns
/// the three sessions, the group and the direct conversation.
async fn create_group_of_friends(
    engine: &Engine,
) -> (LocalSession, LocalSession, LocalSession, ConversationId, ConversationId) {
    let alice = new_user(engine, "alice").await;
    let bob = new_user(engine, "bob").await;
    let dora = new_user(engine, "dora").await;
    befriend(&alice, &bob).await;
    let group = group(&alice, "rust").await;
    join(&bob, group).await;
    join(&dora, group).await;
    alice.send_text(group, "to the group").await.unwrap();
    bob.send_text(group, "from bob").await.unwrap();
    let sent = alice.send_text(direct(&bob), "to bob").await.unwrap();
    bob.send_text(direct(&alice), "to alice").await.unwrap();
    (alice, bob, dora, group, sent.conversation)
}

#[tokio::test]
async fn deletion_keeps_the_conversations_of_others() {
    let engine = engine().await;
    let operator = operator(&engine);
    let (alice, bob, dora, group, direct) = create_group_of_friends(&engine).await;
    alice.set_role(group, user(&dora), Role::Admin).await.unwrap();
    operator.delete_account(name("alice"), KEEP).await.unwrap();
    ended(&alice).await;
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
    let (alice, bob, dora, _, _) = create_group_of_friends(&engine).await;
    dora.request_friend(user(&alice), Note::new("my secret note").unwrap())
        .await
        .unwrap();
    let id = id(&alice);
    for _ in 0..2 {
        operator.delete_account(id, KEEP).await.unwrap();
        let account = store.account(id).await.unwrap().unwrap();
        assert!(account.disabled && account.deleted.is_some());
        assert_eq!((account.display_name.as_str(), account.password_hash), ("", None));
        assert!(store.devices(id).await.unwrap().is_empty());
        assert!(store.contacts(id).await.unwrap().is_empty());
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
        assert_eq!(refused.unwrap_err().text, "the account of user 1 is deleted");
    }
    assert_eq!(
        error_code(login_with(&engine, id, PASSWORD).await),
        ReplyCode::BadCredentials
    );
}

#[tokio::test]
async fn erased_texts_are_tombstones_for_others() {
    let engine = engine().await;
    let operator = operator(&engine);
    let (alice, bob, _, group, direct) = create_group_of_friends(&engine).await;
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
    let recall = event(&bob, EventKind::Recall).await;
    assert_eq!((recall.sender, recall.device), (id(&alice), None));
}

#[tokio::test]
async fn deletion_frees_or_reserves_the_name() {
    let engine = engine().await;
    let operator = operator(&engine);
    for (user, kept) in [("alice", DeletedName::Reserve), ("bob", DeletedName::Free)] {
        let id = register(&engine, user).await;
        operator
            .delete_account(id, deletion(DeletedTexts::Keep, kept))
            .await
            .unwrap();
    }
    let taken = engine.register(Source::Local, registration("alice")).await;
    assert_eq!(error_code(taken), ReplyCode::NameTaken);
    register(&engine, "bob").await;
    let session = new_user(&engine, "dora").await;
    assert!(session.search_users("alice", 9).await.unwrap().is_empty());
}

#[tokio::test]
async fn group_without_other_members_closes_with_its_owner() {
    let engine = engine().await;
    let operator = operator(&engine);
    let alice = new_user(&engine, "alice").await;
    let group = group(&alice, "rust").await;
    operator.delete_account(id(&alice), KEEP).await.unwrap();
    let shown = operator.group(group).await.unwrap().group;
    assert!(shown.closed && !shown.orphaned);
}

#[tokio::test]
async fn orphaned_group_is_listed_and_can_be_transferred() {
    let engine = engine().await;
    let operator = operator(&engine);
    let alice = new_user(&engine, "alice").await;
    let bob = new_user(&engine, "bob").await;
    let rust = group(&alice, "rust").await;
    join(&bob, rust).await;
    let go = group(&bob, "go").await;
    operator.disable(id(&bob)).await.unwrap();
    operator.delete_account(id(&alice), KEEP).await.unwrap();
    let all = operator.list_groups(ConversationId(0), 9, false).await.unwrap();
    assert_eq!((all.groups.len(), all.next), (2, None));
    // No user can administer either group: one group has no owner, and the owner of the other is
    // disabled.
    let orphaned = operator.list_groups(ConversationId(0), 9, true).await.unwrap();
    let ids: Vec<_> = orphaned.groups.iter().map(|group| group.group.id).collect();
    assert_eq!(ids, [rust, go]);
    assert!(operator.group(go).await.unwrap().group.orphaned);

    let refused = operator.transfer_group(rust, id(&bob)).await;
    assert_eq!(error_code(refused), ReplyCode::AccountDisabled);
    operator.enable(id(&bob)).await.unwrap();
    let refused = operator.transfer_group(rust, id(&alice)).await;
    assert_eq!(error_code(refused), ReplyCode::NotFound);
    operator.transfer_group(rust, id(&bob)).await.unwrap();
    assert_eq!(
        last_action(&operator).await,
        action("group.transfer", &format!("conversation:{rust}"))
    );
    let bob = engine.session(id(&bob), DeviceId::random()).await.unwrap();
    bob.delete_group(rust).await.unwrap();
    assert!(!operator.group(go).await.unwrap().group.orphaned);
}

#[tokio::test]
async fn transferred_group_keeps_its_former_owner_as_an_admin() {
    let engine = engine().await;
    let operator = operator(&engine);
    let (alice, bob, _, group, _) = create_group_of_friends(&engine).await;
    operator
        .transfer_group(GroupName::parse("rust").unwrap(), name("bob"))
        .await
        .unwrap();
    let roles: Vec<Role> = operator
        .group(group)
        .await
        .unwrap()
        .members
        .iter()
        .map(|member| member.role)
        .collect();
    assert_eq!(roles, [Role::Admin, Role::Owner, Role::Member]);
    assert_eq!(error_code(alice.delete_group(group).await), ReplyCode::Forbidden);
    let transferred = event(&alice, EventKind::OwnershipTransferred).await;
    assert_eq!((transferred.sender, transferred.device), (UserId::SYSTEM, None));
    bob.delete_group(group).await.unwrap();
}

#[tokio::test]
async fn closed_group_takes_no_messages() {
    let engine = engine().await;
    let operator = operator(&engine);
    let (alice, _, _, group, direct) = create_group_of_friends(&engine).await;
    operator.close_group(group).await.unwrap();
    let target = format!("conversation:{group}");
    assert_eq!(last_action(&operator).await, action("group.close", &target));
    let refused = alice.send_text(group, "hello?").await;
    assert_eq!(error_code(refused), ReplyCode::GroupDeleted);
    assert_eq!(error_code(operator.close_group(group).await), ReplyCode::GroupDeleted);
    assert_eq!(error_code(operator.close_group(direct).await), ReplyCode::NotFound);

    // Texts in a closed group can still be erased, without a recall event.
    let before = history(&alice, group.into()).await;
    let message = before
        .events
        .iter()
        .find(|entry| entry.event.kind == EventKind::Message);
    operator.recall(group, message.unwrap().event.seq).await.unwrap();
    let after = history(&alice, group.into()).await;
    assert_eq!(after.last_seq, before.last_seq);
    assert_eq!(texts(&after), ["", "from bob"]);
}

#[tokio::test]
async fn operator_recalls_any_message_at_any_age() {
    let engine = engine().await;
    let operator = operator(&engine);
    let (alice, bob, _, group, direct) = create_group_of_friends(&engine).await;
    operator.recall(direct, Seq(1)).await.unwrap();
    assert_eq!(texts(&history(&bob, direct.into()).await), ["", "to alice"]);
    let recall = event(&alice, EventKind::Recall).await;
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
    for nothing in [(group, Seq(1)), (group, Seq(99)), (ConversationId(99), Seq(1))] {
        let refused = operator.recall(nothing.0, nothing.1).await;
        assert_eq!(error_code(refused), ReplyCode::NotFound, "{nothing:?}");
    }
}

#[tokio::test]
async fn system_posts_to_groups_and_users() {
    let engine = engine().await;
    let operator = operator(&engine);
    let (alice, bob, _, group, direct) = create_group_of_friends(&engine).await;
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
    let received = push(&alice, |push| match push {
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
async fn retried_system_post_succeeds_after_other_changes() {
    let engine = engine().await;
    let operator = operator(&engine);
    let (alice, _, _, group, _) = create_group_of_friends(&engine).await;
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
    operator.close_group(group).await.unwrap();
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

#[tokio::test]
async fn export_contains_texts_of_the_user_and_the_inbox_only() {
    let engine = engine().await;
    let operator = operator(&engine);
    let (alice, bob, dora, group, direct) = create_group_of_friends(&engine).await;
    let changes = GroupChanges {
        description: Some(Description::new("all about rust").unwrap()),
        ..GroupChanges::default()
    };
    alice.update_group(group, changes).await.unwrap();
    dora.request_friend(user(&alice), Note::new("we met").unwrap())
        .await
        .unwrap();
    let mut export = operator.export_account(name("alice")).await.unwrap();
    let mut records = Vec::new();
    while let Some(page) = export.next_page().await.unwrap() {
        records.extend(page);
    }
    assert!(matches!(&records[0], ExportRecord::Profile(profile) if profile.id == id(&alice)));
    let devices = records
        .iter()
        .filter(|record| matches!(record, ExportRecord::Device(_)));
    assert_eq!(devices.count(), 1);
    let contacts: Vec<UserId> = records
        .iter()
        .filter_map(|record| match record {
            ExportRecord::Contact(contact) => Some(contact.user.id),
            _ => None,
        })
        .collect();
    assert_eq!(contacts, [id(&bob), id(&dora)]);
    let memberships = records.iter().filter_map(|record| match record {
        ExportRecord::Membership(membership) => Some((membership.group.clone(), membership.peer)),
        _ => None,
    });
    let memberships: Vec<_> = memberships.collect();
    assert_eq!(
        memberships.len(),
        3,
        "inbox, group and direct conversation: {memberships:?}"
    );
    assert!(memberships.contains(&(Some("rust".to_owned()), None)));
    assert!(memberships.contains(&(None, Some(id(&bob)))));
    let written: Vec<(ConversationId, String)> = records
        .iter()
        .filter_map(|record| match record {
            ExportRecord::Event(event) => Some((event.conversation, event.text.clone())),
            _ => None,
        })
        .collect();
    let expected = [
        (group, "rust"),
        (group, "to the group"),
        (group, "rust\nall about rust"),
        (direct, "to bob"),
    ];
    assert_eq!(
        written,
        expected.map(|(conversation, text)| (conversation, text.to_owned()))
    );
    let inbox: Vec<(&str, Option<UserId>, &str)> = records
        .iter()
        .filter_map(|record| match record {
            ExportRecord::Inbox(entry) => Some((entry.kind, entry.user, entry.text.as_str())),
            _ => None,
        })
        .collect();
    assert!(
        inbox.contains(&("friend_requested", Some(id(&dora)), "we met")),
        "{inbox:?}"
    );
    assert!(
        inbox.contains(&("conversation_opened", Some(id(&bob)), "")),
        "{inbox:?}"
    );
    assert_eq!(audit(&operator).await, [action("account.export", "user:1")]);
}

#[tokio::test]
async fn audit_log_is_read_in_pages_from_both_ends() {
    let engine = engine().await;
    let operator = operator(&engine);
    let alice = register(&engine, "alice").await;
    for _ in 0..2 {
        operator.disable(alice).await.unwrap();
        operator.enable(alice).await.unwrap();
    }
    let newest = operator.audit_log(AuditPage::Newest, 2).await.unwrap();
    let actions: Vec<&str> = newest.iter().map(|record| record.record.action.as_str()).collect();
    assert_eq!(actions, ["account.enable", "account.disable"]);
    let older = operator.audit_log(AuditPage::Before(newest[1].id), 9).await.unwrap();
    assert_eq!(older.len(), 2);
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
