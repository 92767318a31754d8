//! Tests of the modes of files and directories, and of texts that were erased.

use super::*;

#[tokio::test]
async fn erased_text_is_removed_from_all_files() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    let world = World::new(Arc::clone(&store) as Arc<dyn Store>).await;
    let secret = "a secret to erase";
    append(
        &*store,
        world.group,
        world.alice,
        vec![NewEvent::message(secret), NewEvent::message("kept")],
    )
    .await
    .unwrap();
    let group = world.group;
    let erase = transact(&*store, move |tx| {
        Box::pin(async move {
            tx.lock_conversation(group).await?;
            Ok(tx
                .erase(group, Seq(1), Seq(1), b"tombstone".as_slice().into(), Vec::new().into())
                .await?)
        })
    });
    erase.await.unwrap();
    store.close().await;
    drop((store, world.store));
    let mut kept = false;
    for entry in std::fs::read_dir(directory.path()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        let contains = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
        assert!(!contains(secret));
        kept |= contains("kept");
    }
    assert!(kept);
}

/// Returns the modes of the files, by name.
#[cfg(unix)]
fn modes(directory: &Path) -> Vec<(String, u32)> {
    use std::os::unix::fs::PermissionsExt as _;
    let mut modes: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
            (entry.file_name().into_string().unwrap(), mode)
        })
        .collect();
    modes.sort();
    modes
}

#[cfg(unix)]
fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[cfg(unix)]
#[tokio::test]
async fn files_are_private_in_a_shared_directory() {
    let directory = tempfile::tempdir().unwrap();
    set_mode(directory.path(), 0o755);
    let store = open(directory.path()).await;
    World::new(Arc::clone(&store) as Arc<dyn Store>).await;
    let private =
        ["chat.db", "chat.db-opening", "chat.db-shm", "chat.db-wal", "lock"].map(|name| (name.to_owned(), 0o600));
    assert_eq!(modes(directory.path()), private);
    let target = tempfile::tempdir().unwrap();
    set_mode(target.path(), 0o755);
    store.backup_to(target.path().join("copy.db")).await.unwrap();
    assert_eq!(modes(target.path()), [("copy.db".to_owned(), 0o600)]);
    drop(store);

    // An earlier release created files with these modes, and a killed process left a write-ahead
    // log.
    for (name, _) in modes(directory.path()) {
        set_mode(&directory.path().join(name), 0o644);
    }
    let log = directory.path().join("chat.db-wal");
    std::fs::write(&log, "").unwrap();
    set_mode(&log, 0o664);
    let store = open(directory.path()).await;
    assert!(store.account_by_name("alice").await.unwrap().is_some());
    assert_eq!(modes(directory.path()), private);
}

#[cfg(unix)]
#[tokio::test]
async fn created_directory_is_private() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    set_mode(directory.path(), 0o755);
    let made = directory.path().join("new").join("data");
    drop(open(&made).await);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&made), 0o700);
    assert_eq!(mode(directory.path()), 0o755, "an existing directory keeps its mode");
}

/// The owner of the directory may have made the link, and root may open the store.
#[cfg(unix)]
#[tokio::test]
async fn linked_file_beside_the_database_does_not_change_the_mode_of_another_file() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    let directory = tempfile::tempdir().unwrap();
    open(directory.path()).await.close().await;
    let target = directory.path().join("target");
    std::fs::write(&target, "").unwrap();
    std::fs::set_permissions(&target, std::fs::Permissions::from_mode(0o644)).unwrap();
    let link = directory.path().join("chat.db-opening");
    std::fs::remove_file(&link).unwrap();
    symlink(&target, &link).unwrap();
    open(directory.path()).await.close().await;
    let mode = std::fs::metadata(&target).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o644);

    // Nor does a hard link in the place of such a file.
    std::fs::remove_file(directory.path().join("chat.db-journal")).unwrap_or_default();
    std::fs::hard_link(&target, directory.path().join("chat.db-journal")).unwrap();
    open(directory.path()).await.close().await;
    let mode = std::fs::metadata(&target).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o644);
}
