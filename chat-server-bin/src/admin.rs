//! Administration commands: identity keys, backups, the store epoch and accounts.

use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;
use std::time::Duration;

use chat_core::async_trait;
use chat_core::auth::{Password, PasswordHasherPool, PasswordPoolOptions};
use chat_core::model::{CloseCode, DisplayName, Registration, Secret, SessionEpoch, Source, UserId, UserName};
use chat_core::router::announce_ended_logins;
use chat_core::secure::ServerIdentity;
use chat_core::store::{Operation, Store, StoreError, StoreExt as _, Transaction};

use crate::args::{KeygenArgs, PasswordArgs, UserCommand};
use crate::compose::{build_engine, make_private, open_bus, open_store, renew_epoch};
use crate::config::{Checked, StoreUrl};
use crate::failure::{Failure, chain};

/// Creates the identity key if the file does not exist yet, and prints its fingerprint.
pub(crate) fn keygen(config: &Checked, arguments: &KeygenArgs) -> Result<(), Failure> {
    let path = arguments.out.clone().unwrap_or_else(|| config.identity_file());
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        make_private(directory)
            .map_err(|error| Failure::Unavailable(format!("cannot create {}: {error}", directory.display())))?;
    }
    let identity = ServerIdentity::generate(usize::try_from(arguments.bits).unwrap_or(3072))?;
    identity.save(&path)?;
    print(&format!(
        "key {}\nfingerprint {}",
        path.display(),
        identity.fingerprint()
    ))
}

/// Migrates the store to this version's schema.
pub(crate) async fn migrate(config: &Checked) -> Result<(), Failure> {
    let store = open_store(config).await?;
    store.close().await;
    print("the store has this version's schema")
}

/// Gives the store a new epoch, so that clients read the whole history again.
pub(crate) async fn new_epoch(config: &Checked) -> Result<(), Failure> {
    let epoch = renew_epoch(config).await?;
    print(&format!(
        "epoch {epoch}\nclients will read the whole history again at their next login; start the servers now"
    ))
}

/// Copies the embedded store to `target`. A server may be running on it.
pub(crate) async fn backup(config: &Checked, target: &std::path::Path) -> Result<(), Failure> {
    let Some(directory) = config.store_dir() else {
        return Err(Failure::Failed(
            "the store is a database server: back it up with its own tool, such as mariadb-dump --single-transaction; \
             after a restore, run chat-server new-epoch before the servers start"
                .to_owned(),
        ));
    };
    chat_store_sqlite::backup(directory, target).await?;
    print(&format!("backed up to {}", target.display()))
}

/// Runs `user …`: manages accounts.
pub(crate) async fn user(config: &Checked, command: UserCommand) -> Result<(), Failure> {
    // The prompt comes first: the store stays unlocked while the operator types.
    let secret = match &command {
        UserCommand::Add { password, .. } | UserCommand::Passwd { password, .. } => Some(read_password(password)?),
        _ => None,
    };
    let store = open_store(config).await?;
    let result = run_on_store(config, Arc::clone(&store), command, secret).await;
    store.close().await;
    print(&result?)
}

async fn run_on_store(
    config: &Checked,
    store: Arc<dyn Store>,
    command: UserCommand,
    secret: Option<Secret>,
) -> Result<String, Failure> {
    let secret = secret.unwrap_or_else(|| Secret::new(""));
    match command {
        UserCommand::Add { name, display_name, .. } => {
            let display_name = display_name
                .map(|text| DisplayName::parse(&text))
                .transpose()
                .map_err(refused)?;
            // Operators may use names that registration reserves.
            let name = UserName::parse_any(&name).map_err(refused)?;
            let mut settings = config.settings.clone();
            settings.accounts.registration = true;
            let engine = build_engine(
                &Checked {
                    settings,
                    ..config.clone()
                },
                store,
            )
            .await?;
            let mut registration = Registration::new(name, secret);
            registration.display_name = display_name;
            let registered = engine.register(Source::Local, registration).await;
            engine.shutdown().await;
            let user = registered.map_err(refused)?;
            Ok(format!("created user {} with id {}", user.name, user.id))
        }
        UserCommand::Passwd { name, .. } => {
            let password = Password::new(secret).map_err(refused)?;
            let pool = PasswordHasherPool::new(PasswordPoolOptions::default()).map_err(refused)?;
            let hash = pool.hash(password).await.map_err(refused)?;
            let change = Change::Password(hash.as_str().to_owned());
            let ended = end_logins(config, &*store, &name, change).await?;
            Ok(format!(
                "changed the password of user {name} and ended all sessions{ended}"
            ))
        }
        UserCommand::Disable { name } => {
            let ended = end_logins(config, &*store, &name, Change::Disabled(true)).await?;
            Ok(format!("disabled user {name} and ended all sessions{ended}"))
        }
        UserCommand::Enable { name } => {
            change(&*store, &name, Change::Disabled(false)).await?;
            Ok(format!("enabled user {name}"))
        }
    }
}

fn refused(error: impl std::error::Error) -> Failure {
    Failure::Failed(chain(&error))
}

/// Change to an account.
#[derive(Clone, Debug)]
enum Change {
    Password(String),
    Disabled(bool),
}

#[derive(Clone, Debug)]
struct ChangeAccount {
    name: String,
    change: Change,
}

/// Reason why an account was not changed.
enum ChangeError {
    Unknown,
    Store(StoreError),
}

impl From<StoreError> for ChangeError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

#[async_trait]
impl Operation for ChangeAccount {
    type Output = UserId;
    type Rejection = ChangeError;

    async fn apply(&mut self, tx: &mut dyn Transaction) -> Result<UserId, ChangeError> {
        let Some(mut account) = tx.account_by_name(&self.name).await? else {
            return Err(ChangeError::Unknown);
        };
        // Lock order: devices before the account.
        for mut device in tx.devices_of(account.id).await? {
            device.session_token = None;
            device.device_token = None;
            device.session_epoch = SessionEpoch(device.session_epoch.0 + 1);
            tx.put_device(&device).await?;
        }
        match &self.change {
            Change::Password(hash) => account.password_hash = Some(hash.clone()),
            Change::Disabled(disabled) => account.disabled = *disabled,
        }
        tx.update_account(&account).await?;
        Ok(account.id)
    }

    fn store_error(refusal: ChangeError) -> Result<StoreError, ChangeError> {
        match refusal {
            ChangeError::Store(error) => Ok(error),
            other => Err(other),
        }
    }
}

/// Changes an account in a way that ends its sessions, and tells the running nodes. Returns a
/// remark for the operator: empty, or how long open connections may remain.
async fn end_logins(
    config: &Checked,
    store: &dyn Store,
    name: &str,
    change_to: Change,
) -> Result<&'static str, Failure> {
    let user = change(store, name, change_to).await?;
    if !matches!(config.store, StoreUrl::Mysql(_)) {
        return Ok(""); // the store is locked, so no server is running on it
    }
    match announce(config, store, user).await {
        Ok(true) => Ok(""),
        Ok(false) => Ok("; bus.url is not set, so running nodes close open connections within a few minutes"),
        Err(error) => {
            tracing::warn!(error, "cannot notify the running nodes");
            Ok("; the bus is unreachable, so running nodes close open connections within a few minutes")
        }
    }
}

/// Announces the ended logins to the nodes, three times because a bus may lose a message. Returns
/// `false` if no bus is configured.
async fn announce(config: &Checked, store: &dyn Store, user: UserId) -> Result<bool, String> {
    let Some(redis) = open_bus(config).map_err(|failure| failure.to_string())? else {
        return Ok(false);
    };
    let epoch = store.epoch().await.map_err(|error| chain(&error))?;
    let bus = redis.bus();
    for _ in 0..3 {
        announce_ended_logins(&bus, epoch, user, CloseCode::Revoked)
            .await
            .map_err(|error| chain(&error))?;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(true)
}

async fn change(store: &dyn Store, name: &str, change: Change) -> Result<UserId, Failure> {
    let name = UserName::parse_any(name).map_err(refused)?.as_str().to_owned();
    match store
        .run(ChangeAccount {
            name: name.clone(),
            change,
        })
        .await
    {
        Ok(user) => Ok(user),
        Err(ChangeError::Unknown) => Err(Failure::Failed(format!("user {name} does not exist"))),
        Err(ChangeError::Store(error)) => Err(Failure::Unavailable(chain(&error))),
    }
}

/// Reads the password from the given file, else from `CHAT_PASSWORD`, else from a prompt.
fn read_password(arguments: &PasswordArgs) -> Result<Secret, Failure> {
    if let Some(path) = &arguments.password_file {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Failure::Failed(format!("cannot read {}: {error}", path.display())))?;
        return Ok(Secret::new(text.lines().next().unwrap_or_default()));
    }
    if let Ok(password) = std::env::var("CHAT_PASSWORD") {
        return Ok(Secret::new(password));
    }
    if !std::io::stdin().is_terminal() {
        let text = "no password given: set CHAT_PASSWORD or use --password-file FILE";
        return Err(Failure::Failed(text.to_owned()));
    }
    let ask = |prompt| rpassword::prompt_password(prompt).map(Secret::new);
    let failed = |error: std::io::Error| Failure::Failed(format!("cannot read the password: {error}"));
    let password = ask("New password: ").map_err(failed)?;
    if ask("Again: ").map_err(failed)? != password {
        return Err(Failure::Failed(
            "the two passwords differ; nothing was changed".to_owned(),
        ));
    }
    Ok(password)
}

fn print(text: &str) -> Result<(), Failure> {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{text}").map_err(|error| Failure::Failed(format!("cannot write to standard output: {error}")))
}
