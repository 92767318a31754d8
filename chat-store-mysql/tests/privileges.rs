//! Tests of a store whose database user may only read and write rows.

#![allow(clippy::unwrap_used)] // these are tests

use std::error::Error;
use std::sync::Arc;

use chat_core::engine::Engine;
use chat_core::engine::operator::{CreateAccount, OperatorName};
use chat_core::model::{ConversationRef, DeviceId, UserName};
use chat_core::prelude::Commands;
use chat_harness::services::MariaDb;
use chat_store_mysql::{MysqlStore, OpenError, Options};

/// Starts a server with an empty database, and returns the URLs of a user who may do everything in
/// it and of a user who may read and write rows.
fn server() -> (MariaDb, String, String) {
    let server = MariaDb::start(&[]).unwrap();
    let setup = "CREATE DATABASE chat; CREATE USER admin; CREATE USER app; GRANT ALL ON chat.* TO admin; \
                 GRANT SELECT, INSERT, UPDATE, DELETE ON chat.* TO app";
    server.sql(setup).unwrap();
    let url = |user: &str| format!("mysql://{user}@{}/chat", server.address());
    let (admin, app) = (url("admin"), url("app"));
    (server, admin, app)
}

async fn open(url: &str) -> Result<MysqlStore, OpenError> {
    MysqlStore::open(url, Options::default()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn store_runs_with_row_privileges_after_another_user_migrated_it() {
    let (server, admin, app) = server();
    let refused = open(&app).await.unwrap_err();
    assert!(
        matches!(refused, OpenError::MissingPrivileges { found: 0, .. }),
        "{refused:?}"
    );
    drop(open(&admin).await.unwrap());

    operate(&app).await.unwrap();
    // `renew_epoch` refuses while a node was alive within the last 10 s, as the engine was.
    server
        .sql("UPDATE chat.node SET heartbeat = heartbeat - 11000")
        .unwrap();
    MysqlStore::renew_epoch(&app, Options::default()).await.unwrap();
}

/// Creates an account, sends a message, and deletes the account.
async fn operate(url: &str) -> Result<(), Box<dyn Error>> {
    let engine = Engine::builder(Arc::new(open(url).await?)).build().await?;
    let operator = engine.operator(OperatorName::new("carol").unwrap());
    let account = CreateAccount::new(UserName::parse("alice").unwrap());
    let result = async {
        let alice = operator.create_account(account).await?.id;
        let session = engine.session(alice, DeviceId::random()).await?;
        let sent = session.send_text(ConversationRef::direct(alice), "hello").await?;
        assert_eq!(sent.seq.0, 1);
        drop(session);
        operator.delete_account(alice, Default::default()).await
    };
    let result = result.await;
    engine.shutdown().await;
    Ok(result?)
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_migration_is_reported_with_the_missing_privilege() {
    let (server, admin, app) = server();
    drop(open(&admin).await.unwrap());
    let newest = "SELECT MAX(version) FROM chat.migration";
    let newest: u32 = server.sql(newest).unwrap().trim().parse().unwrap();
    // The statements of a migration may run again.
    let forget = format!("DELETE FROM chat.migration WHERE version = {newest}");
    server.sql(&forget).unwrap();
    let refused = open(&app).await.unwrap_err();
    assert!(
        matches!(refused, OpenError::MissingPrivileges { found, .. } if found + 1 == newest),
        "{refused:?}"
    );
    drop(open(&admin).await.unwrap());
    drop(open(&app).await.unwrap());
}

/// Opening a store whose schema is up to date needs the privilege SELECT only.
#[tokio::test(flavor = "multi_thread")]
async fn store_opens_without_writing() {
    let (server, admin, _) = server();
    drop(open(&admin).await.unwrap());
    let written = || server.sql("SHOW MASTER STATUS").unwrap();
    server
        .sql("CREATE USER reader; GRANT SELECT ON chat.* TO reader")
        .unwrap();
    let before = written();
    let reader = format!("mysql://reader@{}/chat", server.address());
    drop(open(&reader).await.unwrap());
    drop(open(&admin).await.unwrap());
    assert_eq!(written(), before, "the binary log has no further write");
}

/// None of the privileges that the documentation names can be left out.
#[tokio::test(flavor = "multi_thread")]
async fn operations_need_each_of_the_documented_privileges() {
    let (server, admin, _) = server();
    drop(open(&admin).await.unwrap());
    let documented = ["SELECT", "INSERT", "UPDATE", "DELETE"];
    for (number, missing) in documented.into_iter().enumerate() {
        let granted = documented.into_iter().filter(|privilege| *privilege != missing);
        let granted = granted.collect::<Vec<_>>().join(", ");
        let user = format!("without{number}");
        server
            .sql(&format!("CREATE USER {user}; GRANT {granted} ON chat.* TO {user}"))
            .unwrap();
        let url = format!("mysql://{user}@{}/chat", server.address());
        assert!(operate(&url).await.is_err(), "without {missing}");
    }
}
