//! Tests of what the deletion of an account does with its subject, its name and the records of
//! announced requests.

use std::sync::Arc;

use async_trait::async_trait;

use super::support::*;
use crate::auth::{AuthError, AuthVerdict, Authenticator, ExternalLogin, Profile, Subject};
use crate::engine::operator::{CreateAccount, DeletedSubject, DeletionOptions, Operator, OperatorName};
use crate::engine::{CommandError, Engine};
use crate::model::*;
use crate::store::{AuditPage, MemoryStore, RequestNotice};
use crate::testkit::store::transact;

/// Authenticator that accepts every login, with the secret as the subject.
#[derive(Debug)]
struct SecretIsSubject;

#[async_trait]
impl Authenticator for SecretIsSubject {
    async fn authenticate(&self, _: Source, login: &Login) -> Result<AuthVerdict, AuthError> {
        let token = std::str::from_utf8(login.secret.expose()).unwrap();
        let mut login = ExternalLogin::new(subject(token));
        login.profile.name_hint = Some("alice".to_owned());
        Ok(AuthVerdict::External(login))
    }
}

fn subject(text: &str) -> Subject {
    Subject::new(text).unwrap()
}

/// Returns an engine whose logins create accounts, and an operator of it.
async fn engine_with_operator() -> (Engine, Operator) {
    let engine = builder()
        .authenticator(Arc::new(SecretIsSubject))
        .build()
        .await
        .unwrap();
    let operator = engine.operator(OperatorName::new("carol").unwrap());
    (engine, operator)
}

/// Logs in with the subject `auth0|1`.
async fn log_in(engine: &Engine) -> Result<LoginGrant, CommandError> {
    let login = Login::with_token(Secret::new("auth0|1"), DeviceId::random());
    engine.login(Source::Local, login).await
}

/// Deleting an account also deletes the records that say which requests were announced in its
/// inbox.
#[tokio::test]
async fn deletion_forgets_the_announced_requests() {
    let store = Arc::new(MemoryStore::new());
    let engine = Engine::builder(store.clone()).config(config()).build().await.unwrap();
    let operator = engine.operator(OperatorName::new("carol").unwrap());
    let (alice, bob) = (new_user(&engine, "alice").await, new_user(&engine, "bob").await);
    let request = Command::RequestFriend {
        user: user(&bob),
        note: Note::default(),
    };
    alice.execute(request).await.unwrap();
    let (owner, sender) = (id(&bob), id(&alice));
    // A request counts as announced if the store refuses to record it, because it has a record of
    // the same request. If it has none, this adds one.
    let is_announced = async || {
        let record = transact(&*store, move |tx| {
            Box::pin(async move {
                let kind = ConversationKind::Inbox { owner };
                let inbox = tx.conversation_of_kind(&kind).await?.unwrap();
                tx.lock_conversation(inbox).await?;
                let notice = RequestNotice {
                    inbox,
                    kind: EventKind::FriendRequested,
                    sender,
                    group: None,
                };
                Ok(!tx.record_request_notice(notice, Timestamp(1), Timestamp(0)).await?)
            })
        });
        record.await.unwrap()
    };
    assert!(is_announced().await);
    operator
        .delete_account(owner, DeletionOptions::default())
        .await
        .unwrap();
    assert!(!is_announced().await);
}

/// Options of a deletion that frees the subject.
const FREE_SUBJECT: DeletionOptions = DeletionOptions {
    texts: crate::engine::operator::DeletedTexts::Keep,
    name: crate::engine::operator::DeletedName::Reserve,
    subject: DeletedSubject::Free,
};

#[tokio::test]
async fn subject_of_a_deleted_account_gets_no_other_account_until_it_is_freed() {
    let (engine, operator) = engine_with_operator().await;
    let first = log_in(&engine).await.unwrap().user.id;
    // A repeated deletion with the same options keeps the subject reserved.
    for _ in 0..2 {
        operator
            .delete_account(first, DeletionOptions::default())
            .await
            .unwrap();
        let refused = log_in(&engine).await.unwrap_err();
        assert_eq!(refused.code, ReplyCode::AccountDisabled);
        assert!(refused.text.contains("deleted"), "{}", refused.text);
        let refused = engine.provision(subject("auth0|1"), Profile::default()).await;
        assert_eq!(error_code(refused), ReplyCode::AccountDisabled);
    }
    let shown = operator.account(first).await.unwrap().account;
    assert_eq!((shown.subject, shown.subject_reserved), (None, true));
    let bound = CreateAccount {
        subject: Some("auth0|1".to_owned()),
        ..CreateAccount::new(UserName::parse("other").unwrap())
    };
    assert_eq!(
        error_code(operator.create_account(bound.clone()).await),
        ReplyCode::NameTaken
    );

    operator.free_subject(subject("auth0|1")).await.unwrap();
    let last = operator.audit_log(AuditPage::Newest, 1).await.unwrap();
    assert_eq!(last[0].record.action, "account.free_subject");
    assert!(!operator.account(first).await.unwrap().account.subject_reserved);
    let again = operator.free_subject(subject("auth0|1")).await;
    assert_eq!(error_code(again), ReplyCode::NotFound);
    let second = log_in(&engine).await.unwrap().user.id;
    assert_ne!(first, second);
}

#[tokio::test]
async fn deletion_frees_the_subject_at_once_or_when_it_is_repeated() {
    let (engine, operator) = engine_with_operator().await;
    let first = log_in(&engine).await.unwrap().user.id;
    operator
        .delete_account(first, DeletionOptions::default())
        .await
        .unwrap();
    assert!(log_in(&engine).await.is_err());
    operator.delete_account(first, FREE_SUBJECT).await.unwrap();
    let second = log_in(&engine).await.unwrap().user.id;
    operator.delete_account(second, FREE_SUBJECT).await.unwrap();
    let third = log_in(&engine).await.unwrap().user.id;
    assert!(first < second && second < third);
}

#[tokio::test]
async fn subject_gets_a_name_although_many_deleted_accounts_reserve_theirs() {
    let (engine, operator) = engine_with_operator().await;
    let mut names = std::collections::HashSet::new();
    for round in 0..10 {
        let profile = Profile {
            name_hint: Some("alice".to_owned()),
            ..Profile::default()
        };
        let user = engine.provision(subject("auth0|1"), profile).await;
        let user = user.unwrap_or_else(|error| panic!("round {round}: {error}"));
        assert!(names.insert(user.name), "round {round}");
        operator.delete_account(user.id, FREE_SUBJECT).await.unwrap();
    }
}
