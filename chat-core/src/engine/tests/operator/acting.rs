//! Tests of commands that an operator executes for a user, and of their audit records.

use super::super::support::*;
use crate::commands::Commands;
use crate::engine::Engine;
use crate::engine::operator::{Operator, OperatorActingAs, OperatorName};
use crate::model::*;
use crate::store::{AuditId, AuditPage, NewAuditRecord};

fn operator(engine: &Engine) -> Operator {
    engine
        .operator(OperatorName::new("carol").unwrap())
        .source("support desk")
}

/// Returns the records of the audit log, oldest first.
async fn records(operator: &Operator) -> Vec<NewAuditRecord> {
    let page = AuditPage::After(AuditId(0));
    let records = operator.audit_log(page, 500).await.unwrap();
    records.into_iter().map(|record| record.record).collect()
}

/// Returns the actions in the audit log, oldest first.
async fn recorded_actions(operator: &Operator) -> Vec<String> {
    records(operator)
        .await
        .into_iter()
        .map(|record| record.action)
        .collect()
}

#[tokio::test]
async fn operator_who_acts_for_a_user_is_recorded() {
    let engine = engine().await;
    let (alice, bob) = (new_user(&engine, "alice").await, new_user(&engine, "bob").await);
    let group = create_group(&alice, "crowd").await;
    join(&bob, group).await;
    let operator = operator(&engine);
    let acting: OperatorActingAs = operator.acting_as(id(&alice));

    let sent = acting.send_text(group, "very private").await.unwrap();
    acting.react(group, sent.seq, Emoji::new("👍").unwrap()).await.unwrap();
    acting.kick_member(group, id(&bob), false).await.unwrap();

    let events = history(&alice, ConversationRef::Id(group)).await.events;
    let received = events.iter().find(|received| received.event.seq == sent.seq).unwrap();
    assert_eq!((received.event.sender, received.event.device), (id(&alice), None));

    let records = records(&operator).await;
    assert!(records.iter().all(|record| {
        (record.operator.as_str(), record.source.as_str()) == ("carol", "support desk")
            && record.target == format!("user:{}", id(&alice))
            && !record.detail.contains("private")
    }));
    let actions: Vec<_> = records
        .into_iter()
        .map(|record| (record.action, record.detail))
        .collect();
    let expected = [
        ("acting.send", format!("conversation:{group}")),
        ("acting.react", format!("conversation:{group}, message {}", sent.seq)),
        ("acting.kick_member", format!("conversation:{group}, user:{}", id(&bob))),
    ];
    assert_eq!(actions, expected.map(|(action, detail)| (action.to_owned(), detail)));
}

#[tokio::test]
async fn reads_of_private_data_are_recorded_and_other_reads_are_not() {
    let engine = engine().await;
    let alice = new_user(&engine, "alice").await;
    let operator = operator(&engine);
    let acting = operator.acting_as(id(&alice));
    acting.search_users("ali", 10).await.unwrap();
    acting.users([user(&alice)]).await.unwrap();
    acting.search_groups("crowd", 10).await.unwrap();
    acting.devices().await.unwrap();
    assert_eq!(recorded_actions(&operator).await, [""; 0]);

    acting.history(direct(&alice), everything()).await.unwrap_err();
    acting.send_text(direct(&alice), "to myself").await.unwrap();
    acting.history(direct(&alice), everything()).await.unwrap();
    acting.conversations().await.unwrap();
    acting.contacts().await.unwrap();
    let expected = [
        "acting.read_history",
        "acting.send",
        "acting.read_history",
        "acting.list_conversations",
        "acting.list_contacts",
    ];
    assert_eq!(recorded_actions(&operator).await, expected);
}

#[tokio::test]
async fn operator_who_acts_for_a_user_has_the_rights_of_that_user() {
    let engine = engine().await;
    let (alice, bob) = (new_user(&engine, "alice").await, new_user(&engine, "bob").await);
    let group = create_group(&alice, "crowd").await;
    let operator = operator(&engine);
    let acting = operator.acting_as(id(&bob));
    let outside = acting.send_text(group, "from outside").await;
    assert_eq!(error_code(outside), ReplyCode::NotFound);
    assert_eq!(
        error_code(acting.history(group, everything()).await),
        ReplyCode::NotFound
    );
    acting.join_group(group, Note::default()).await.unwrap();
    assert_eq!(error_code(acting.delete_group(group).await), ReplyCode::Forbidden);
    assert_eq!(error_code(acting.logout().await), ReplyCode::InvalidArgument);
    let attempted = [
        "acting.send",
        "acting.read_history",
        "acting.join_group",
        "acting.delete_group",
        "acting.logout",
    ];
    assert_eq!(
        recorded_actions(&operator).await,
        attempted,
        "refused commands are recorded too"
    );

    operator.disable(id(&bob)).await.unwrap();
    let unusable = ReplyCode::AccountDisabled;
    assert_eq!(error_code(acting.send_text(group, "again").await), unusable);
    assert_eq!(error_code(acting.leave_group(group).await), unusable);
    assert_eq!(error_code(acting.history(group, everything()).await), unusable);
    assert_eq!(error_code(acting.conversations().await), unusable);
    let unknown_user = operator.acting_as(UserId(4711));
    assert_eq!(error_code(unknown_user.send_text(group, "?").await), unusable);
}

#[tokio::test]
async fn command_whose_audit_record_is_not_stored_does_not_run() {
    let (engine, store, alice) = engine_on_faulty_store(config()).await;
    let operator = operator(&engine);
    let acting = operator.acting_as(id(&alice));
    store.fail_before_commit();
    let refused = acting.send_text(direct(&alice), "unrecorded").await;
    assert_eq!(error_code(refused), ReplyCode::TryAgain);
    assert_eq!(recorded_actions(&operator).await, [""; 0]);
    assert_eq!(history(&alice, direct(&alice)).await.events.len(), 1);

    acting.send_text(direct(&alice), "recorded").await.unwrap();
    assert_eq!(recorded_actions(&operator).await, ["acting.send"]);
    assert_eq!(history(&alice, direct(&alice)).await.events.len(), 2);
}

#[tokio::test]
async fn operator_who_acts_for_a_user_has_the_message_rate_of_that_user() {
    let mut config = config();
    config.message_rate_per_user = crate::rate::Rate::new(1, std::time::Duration::from_secs(3600)).with_burst(2);
    let engine = builder().config(config).build().await.unwrap();
    let alice = register(&engine, "alice").await;
    let acting = operator(&engine).acting_as(alice);
    let notes = ConversationRef::direct(alice);
    let mut refused = false;
    for number in 0..10 {
        refused |= matches!(
            acting.send_text(notes.clone(), &number.to_string()).await,
            Err(error) if error.code == ReplyCode::Busy
        );
    }
    assert!(refused);
}
