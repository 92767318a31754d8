//! Administration commands: identity keys, migrations, backups, and the store epoch.

use std::io::ErrorKind;
use std::path::Path;

use chat_core::secure::{IdentityError, ServerIdentity};
use chat_store_sqlite::{BackupError, OpenError};

use crate::args::KeygenArgs;
use crate::compose::{create_private_dir, explain_lock, open_store, renew_epoch};
use crate::config::CheckedConfig;
use crate::failure::Failure;
use crate::output::report;
use crate::signals::unless_stopped;

/// Creates an identity key, and the directory of its file if that is missing. Prints the path and
/// the fingerprint of the key. Fails if the file already exists.
pub(crate) fn keygen(config: &CheckedConfig, arguments: &KeygenArgs) -> Result<(), Failure> {
    let path = arguments.out.clone().unwrap_or_else(|| config.identity_file());
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        create_private_dir(directory).map_err(|error| {
            Failure::Unavailable(format!("cannot create the directory {}: {error}", directory.display()))
        })?;
    }
    // Generating a key takes long, so this checks for an existing file first.
    if path.symlink_metadata().is_ok() {
        return Err(key_exists(&path));
    }
    let identity = ServerIdentity::generate(usize::try_from(arguments.bits).unwrap_or(3072))?;
    identity.save(&path).map_err(|error| match error {
        IdentityError::File { source, .. } if source.kind() == ErrorKind::AlreadyExists => key_exists(&path),
        other => other.into(),
    })?;
    report(&format!(
        "key {}\nfingerprint {}",
        path.display(),
        identity.fingerprint()
    ))
}

fn key_exists(path: &Path) -> Failure {
    Failure::Failed(format!(
        "{} exists already, and a key is never overwritten, because clients pin it; name another file with --out, or move \
         the file away first",
        path.display()
    ))
}

/// Creates the store if it is missing, and migrates it to this version's schema.
pub(crate) async fn migrate(config: &CheckedConfig) -> Result<(), Failure> {
    let store = open_store(config).await?;
    store.close().await;
    report("the schema of the store is up to date")
}

/// Gives the store a new epoch, the id of its history. Clients that see another epoch delete their
/// cursors and read the whole history again.
pub(crate) async fn new_epoch(config: &CheckedConfig) -> Result<(), Failure> {
    let epoch = renew_epoch(config).await?;
    report(&format!(
        "epoch {epoch}\nclients will read the whole history again at their next login; start the servers now"
    ))
}

/// Copies the embedded store to the new file `target`. A server may use the store meanwhile. Fails
/// if the store is a database server, or if `target` exists.
pub(crate) async fn backup(config: &CheckedConfig, target: &Path) -> Result<(), Failure> {
    let Some(directory) = config.store_dir() else {
        return Err(Failure::Failed(
            "the store is a database server: back it up with the tool of the database, such as mariadb-dump --single-transaction; \
             after a restore, run chat-server new-epoch before the servers start"
                .to_owned(),
        ));
    };
    // After a signal, the runtime waits until the unfinished copy is removed.
    let copy = async { Ok(chat_store_sqlite::backup(directory, target).await?) };
    unless_stopped(copy).await?;
    report(&format!("backed up to {}", target.display()))
}

/// Replaces the embedded store by the backup `file`. Fails if the store is a database server, or
/// while a server uses the store.
pub(crate) async fn restore(config: &CheckedConfig, file: &Path) -> Result<(), Failure> {
    let Some(directory) = config.store_dir() else {
        return Err(Failure::Failed(
            "the store is a database server: stop all nodes, restore it with the tool of the database, and run chat-server \
             new-epoch before the servers start"
                .to_owned(),
        ));
    };
    // After a signal, the runtime waits until the unfinished copy is removed.
    let work = async {
        chat_store_sqlite::restore(directory, file)
            .await
            .map_err(|error| explain_restore(error, file))
    };
    let restored = unless_stopped(work).await?;
    let mut text = format!("restored {}\nepoch {}", file.display(), restored.epoch);
    if let Some(former) = restored.former {
        text.push_str(&format!(
            "\nthe former store is {}; delete it when it is no longer needed",
            former.display()
        ));
    }
    let identity = config.identity_file();
    if !identity.exists() {
        text.push_str(&format!(
            "\nthe identity key {} is missing: restore its copy before the server starts, or clients will refuse the server",
            identity.display()
        ));
    }
    report(&text)
}

fn explain_restore(error: BackupError, file: &Path) -> Failure {
    match error {
        BackupError::Open(OpenError::Missing { path }) if path == file => {
            Failure::Unavailable(format!("there is no backup {}; check the path", path.display()))
        }
        BackupError::Open(OpenError::Empty { path }) if path == file => {
            Failure::Failed(format!("{} is empty and holds no backup", path.display()))
        }
        BackupError::Open(OpenError::NotADatabase { path, .. }) if path == file => Failure::Failed(format!(
            "{} is damaged, or no backup of this program; use another backup",
            path.display()
        )),
        BackupError::Open(error) => explain_lock(error),
        other => other.into(),
    }
}
