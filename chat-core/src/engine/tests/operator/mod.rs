//! Tests of operators, who manage accounts, groups and messages, and of the audit log.

mod accounts;
mod acting;
mod deletion;
mod groups;
mod messages;
mod records;
mod sessions;

use std::sync::Arc;

use super::support::*;
use crate::commands::Commands;
use crate::engine::operator::{
    CreateAccount, DeletedName, DeletedSubject, DeletedTexts, DeletionOptions, ExportRecord, Operator, OperatorName,
};
use crate::engine::{CommandError, Engine, LocalSession};
use crate::model::*;
use crate::store::{AuditPage, AuditRecord, MemoryStore, Store};
use crate::testkit::store::transact;

fn operator(engine: &Engine) -> Operator {
    engine.operator(OperatorName::new("carol").unwrap()).source("test")
}

/// Returns the actions in the audit log with their targets, oldest first. Asserts that each record
/// has a time, and the name and source of [`operator`].
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

/// Returns the newest action in the audit log with its target.
async fn last_action(operator: &Operator) -> (String, String) {
    audit(operator).await.pop().unwrap()
}

/// Returns an action with its target, as [`audit`] does.
fn action(action: &str, target: &str) -> (String, String) {
    (action.to_owned(), target.to_owned())
}

/// Returns a user name, which may be a reserved one.
fn name(text: &str) -> UserName {
    UserName::parse_any(text).unwrap()
}

/// Waits until the session has ended, and drops its pushes.
async fn wait_until_ended(session: &LocalSession) {
    let wait = async { while session.next_push().await.is_some() {} };
    tokio::time::timeout(std::time::Duration::from_secs(10), wait)
        .await
        .expect("the session did not end");
}

/// Returns the options of a deletion, with the default for the subject.
fn deletion(texts: DeletedTexts, name: DeletedName) -> DeletionOptions {
    DeletionOptions {
        texts,
        name,
        ..DeletionOptions::default()
    }
}

/// Deletion that keeps the texts of the user, reserves the name and refuses the subject.
const KEEP_TEXTS: DeletionOptions = DeletionOptions {
    texts: DeletedTexts::Keep,
    name: DeletedName::Reserve,
    subject: DeletedSubject::Refuse,
};

/// Registers alice, bob and dora; alice and bob are friends. Creates a group of the three, owned by
/// alice, and a direct conversation of alice and bob. Each contains a message from alice and one
/// from bob. Returns the three sessions, the group and the direct conversation.
async fn group_and_direct_conversation(
    engine: &Engine,
) -> (LocalSession, LocalSession, LocalSession, ConversationId, ConversationId) {
    let alice = new_user(engine, "alice").await;
    let bob = new_user(engine, "bob").await;
    let dora = new_user(engine, "dora").await;
    befriend(&alice, &bob).await;
    let group = create_group(&alice, "rust").await;
    join(&bob, group).await;
    join(&dora, group).await;
    alice.send_text(group, "to the group").await.unwrap();
    bob.send_text(group, "from bob").await.unwrap();
    let sent = alice.send_text(direct(&bob), "to bob").await.unwrap();
    bob.send_text(direct(&alice), "to alice").await.unwrap();
    (alice, bob, dora, group, sent.conversation)
}

async fn login_with(engine: &Engine, user: UserId, password: &str) -> Result<LoginGrant, CommandError> {
    let login = Login {
        secret: Secret::new(password),
        ..login(user, DeviceId::random())
    };
    engine.login(Source::Local, login).await
}
