//! Tests of account exports, and of reading the audit log.

use super::*;

#[tokio::test]
async fn export_contains_account_texts_and_inbox_of_the_user_but_no_messages_of_others() {
    let engine = engine().await;
    let operator = operator(&engine);
    let (alice, bob, dora, group, direct) = group_and_direct_conversation(&engine).await;
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
async fn export_contains_the_contacts_of_all_pages() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let builder = Engine::builder(Arc::clone(&store)).config(config());
    let engine = builder.build().await.unwrap();
    let alice = register(&engine, "alice").await;
    let work = transact(&*store, move |tx| {
        Box::pin(async move {
            // More contacts than two pages of the export hold.
            for peer in 1001..=2200 {
                let contact = Contact {
                    owner: alice,
                    peer: UserId(peer),
                    state: ContactState::Friend,
                    blocked: false,
                    note: String::new(),
                    since: Timestamp(1),
                };
                tx.put_contact(&contact).await?;
            }
            Ok(())
        })
    });
    work.await.unwrap();
    let mut export = operator(&engine).export_account(alice).await.unwrap();
    let mut exported = Vec::new();
    while let Some(page) = export.next_page().await.unwrap() {
        exported.extend(page.into_iter().filter_map(|record| match record {
            ExportRecord::Contact(contact) => Some(contact.user.id.0),
            _ => None,
        }));
    }
    assert!(exported.into_iter().eq(1001..=2200));
}

#[tokio::test]
async fn audit_log_is_read_in_pages_from_the_newest_record() {
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
