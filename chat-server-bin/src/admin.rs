//! Administration commands: identity keys, migrations, backups and the store epoch.

use chat_core::secure::ServerIdentity;

use crate::args::KeygenArgs;
use crate::compose::{make_private, open_store, renew_epoch};
use crate::config::Checked;
use crate::failure::Failure;
use crate::output::report;

/// Creates the identity key if the file does not exist yet, and prints its fingerprint.
pub(crate) fn keygen(config: &Checked, arguments: &KeygenArgs) -> Result<(), Failure> {
    let path = arguments.out.clone().unwrap_or_else(|| config.identity_file());
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        make_private(directory).map_err(|error| {
            Failure::Unavailable(format!("cannot create the directory {}: {error}", directory.display()))
        })?;
    }
    let identity = ServerIdentity::generate(usize::try_from(arguments.bits).unwrap_or(3072))?;
    identity.save(&path)?;
    report(&format!(
        "key {}\nfingerprint {}",
        path.display(),
        identity.fingerprint()
    ))
}

/// Migrates the store to this version's schema.
pub(crate) async fn migrate(config: &Checked) -> Result<(), Failure> {
    let store = open_store(config).await?;
    store.close().await;
    report("the schema of the store is up to date")
}

/// Gives the store a new epoch, so that clients read the whole history again.
pub(crate) async fn new_epoch(config: &Checked) -> Result<(), Failure> {
    let epoch = renew_epoch(config).await?;
    report(&format!(
        "epoch {epoch}\nclients will read the whole history again at their next login; start the servers now"
    ))
}

/// Copies the embedded store to `target`. A running server may be using it.
pub(crate) async fn backup(config: &Checked, target: &std::path::Path) -> Result<(), Failure> {
    let Some(directory) = config.store_dir() else {
        return Err(Failure::Failed(
            "the store is a database server: back it up with its own tool, such as mariadb-dump --single-transaction; \
             after a restore, run chat-server new-epoch before the servers start"
                .to_owned(),
        ));
    };
    chat_store_sqlite::backup(directory, target).await?;
    report(&format!("backed up to {}", target.display()))
}
