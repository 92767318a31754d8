//! Tests of opening files that are damaged, or were written by a newer release or another program.

use super::*;

#[tokio::test]
async fn newer_schema_is_rejected_and_keeps_its_version() {
    let directory = tempfile::tempdir().unwrap();
    open(directory.path()).await.close().await;
    let conn = raw(directory.path());
    conn.execute(
        "INSERT INTO migration (version, name, checksum) VALUES (99, 'future', x'00')",
        [],
    )
    .unwrap();
    drop(conn);
    let error = open_error(directory.path()).await;
    assert!(matches!(error, OpenError::NewerSchema { found: 99, .. }), "{error:?}");
    let version: u32 = raw(directory.path())
        .query_row("SELECT MAX(version) FROM migration", [], |row| row.get(0))
        .unwrap();
    assert_eq!(version, 99);
}

#[tokio::test]
async fn changed_migration_is_rejected() {
    let directory = tempfile::tempdir().unwrap();
    open(directory.path()).await.close().await;
    raw(directory.path())
        .execute("UPDATE migration SET checksum = x'00'", [])
        .unwrap();
    let error = open_error(directory.path()).await;
    assert!(
        matches!(error, OpenError::ChangedMigration { version: 1, .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn file_of_another_program_is_rejected_and_unchanged() {
    let directory = tempfile::tempdir().unwrap();
    raw(directory.path())
        .execute_batch("CREATE TABLE theirs (x); INSERT INTO theirs VALUES (1)")
        .unwrap();
    let before = std::fs::read(directory.path().join(DATABASE_FILE)).unwrap();
    let error = open_error(directory.path()).await;
    assert!(matches!(error, OpenError::NotADatabase { .. }), "{error:?}");
    let after = std::fs::read(directory.path().join(DATABASE_FILE)).unwrap();
    assert!(after == before, "the file was changed");
}

#[tokio::test]
async fn damaged_header_is_reported_with_the_next_step() {
    let directory = tempfile::tempdir().unwrap();
    open(directory.path()).await.close().await;
    let path = directory.path().join(DATABASE_FILE);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[..64].fill(0x5a);
    std::fs::write(&path, bytes).unwrap();
    let error = open_error(directory.path()).await;
    assert!(matches!(error, OpenError::NotADatabase { .. }), "{error:?}");
    assert!(chain(&error).contains("restore it from a backup"), "{}", chain(&error));
}

#[tokio::test]
async fn damaged_pages_cause_an_error_and_no_wrong_answer() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    let world = World::new(Arc::clone(&store) as Arc<dyn Store>).await;
    append(&*store, world.group, world.alice, messages(100, 1000))
        .await
        .unwrap();
    store.close().await;
    drop((store, world.store));
    let path = directory.path().join(DATABASE_FILE);
    let mut bytes = std::fs::read(&path).unwrap();
    // All pages except the first, which holds the header.
    bytes[4096..].iter_mut().step_by(3).for_each(|byte| *byte ^= 0xa5);
    std::fs::write(&path, bytes).unwrap();
    match SqliteStore::open(directory.path(), Options::default()).await {
        Err(error) => assert!(matches!(error, OpenError::NotADatabase { .. }), "{error:?}"),
        Ok(store) => {
            let answer = store.events(ConversationId(2), Seq(1), Seq(100), 100).await;
            assert!(matches!(answer, Err(StoreError::Corrupt(_))), "{answer:?}");
        }
    }
}
