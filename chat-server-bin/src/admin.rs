//! What an operator does with a server that is not running: keys, backups, accounts.

use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;
use std::time::Duration;

use chat_core::async_trait;
use chat_core::auth::{Password, PasswordHasherPool, PasswordPoolOptions};
use chat_core::engine::Service as _;
use chat_core::model::{CloseCode, DisplayName, Registration, Secret, SessionEpoch, Source, UserId, UserName};
use chat_core::router::announce_ended_logins;
use chat_core::secure::ServerIdentity;
use chat_core::store::{Operation, Store, StoreError, StoreExt as _, Transaction};

use crate::args::{KeygenArgs, PasswordArgs, UserCommand};
use crate::compose::{build_engine, make_private, open_bus, open_store, renew_epoch};
use crate::config::{Checked, StoreUrl};
use crate::failure::{Failure, chain};

/// Makes an identity key where there is none, and prints its fingerprint.
pub(crate) fn keygen(config: &Checked, arguments: &KeygenArgs) -> Result<(), Failure> {
    let path = arguments.out.clone().unwrap_or_else(|| config.identity_file());
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        make_private(directory)
            .map_err(|error| Failure::Unavailable(format!("cannot make {}: {error}", directory.display())))?;
    }
    let identity = ServerIdentity::generate(usize::try_from(arguments.bits).unwrap_or(3072))?;
    identity.save(&path)?;
    say(&format!(
        "key {}\nfingerprint {}",
        path.display(),
        identity.fingerprint()
    ))
}

/// Brings the store to this version's layout.
pub(crate) async fn migrate(config: &Checked) -> Result<(), Failure> {
    let store = open_store(config).await?;
    store.close().await;
    say("the store is up to date")
}

/// Gives the store's history another name.
pub(crate) async fn new_epoch(config: &Checked) -> Result<(), Failure> {
    let epoch = renew_epoch(config).await?;
    say(&format!(
        "epoch {epoch}\nclients read everything again when they next log in; start the servers"
    ))
}

/// Copies the store, beside a running server.
pub(crate) async fn backup(config: &Checked, target: &std::path::Path) -> Result<(), Failure> {
    let Some(directory) = config.store_dir() else {
        return Err(Failure::Failed(
            "this server's store is a database server; copy it with its own tool: mariadb-dump --single-transaction; after \
             a copy was restored, run chat-server new-epoch before the servers start"
                .to_owned(),
        ));
    };
    chat_store_sqlite::backup(directory, target).await?;
    say(&format!("backed up to {}", target.display()))
}

/// Manages accounts.
pub(crate) async fn user(config: &Checked, command: UserCommand) -> Result<(), Failure> {
    // Asked for before the store is locked.
    let secret = match &command {
        UserCommand::Add { password, .. } | UserCommand::Passwd { password, .. } => Some(read_password(password)?),
        _ => None,
    };
    let store = open_store(config).await?;
    let result = on_store(config, Arc::clone(&store), command, secret).await;
    store.close().await;
    say(&result?)
}

async fn on_store(
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
            // Operators may take the names that are kept from strangers.
            let name = UserName::parse_any(&name).map_err(refused)?;
            let mut open = config.settings.clone();
            open.accounts.registration = true;
            let engine = build_engine(
                &Checked {
                    settings: open,
                    ..config.clone()
                },
                store,
            )
            .await?;
            let made = engine
                .register(
                    Source::Local,
                    Registration {
                        name,
                        password: secret,
                        display_name,
                    },
                )
                .await;
            engine.shutdown().await;
            let made = made.map_err(refused)?;
            Ok(format!("user {} has the id {}", made.name, made.id))
        }
        UserCommand::Passwd { name, .. } => {
            let password = Password::new(secret).map_err(refused)?;
            let pool = PasswordHasherPool::new(PasswordPoolOptions::default()).map_err(refused)?;
            let hash = pool.hash(password).await.map_err(refused)?;
            let change = Change::Password(hash.as_str().to_owned());
            let ended = end_logins(config, &*store, &name, change).await?;
            Ok(format!(
                "user {name} has a new password, and is logged out everywhere{ended}"
            ))
        }
        UserCommand::Disable { name } => {
            let ended = end_logins(config, &*store, &name, Change::Disabled(true)).await?;
            Ok(format!("user {name} is disabled, and logged out everywhere{ended}"))
        }
        UserCommand::Enable { name } => {
            change(&*store, &name, Change::Disabled(false)).await?;
            Ok(format!("user {name} may log in again"))
        }
    }
}

fn refused(error: impl std::error::Error) -> Failure {
    Failure::Failed(chain(&error))
}

/// What is changed of an account.
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

/// Why an account was not changed.
enum Unchanged {
    Unknown,
    Store(StoreError),
}

impl From<StoreError> for Unchanged {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

#[async_trait]
impl Operation for ChangeAccount {
    type Output = UserId;
    type Rejection = Unchanged;

    async fn apply(&mut self, tx: &mut dyn Transaction) -> Result<UserId, Unchanged> {
        let Some(mut account) = tx.account_by_name(&self.name).await? else {
            return Err(Unchanged::Unknown);
        };
        // Devices first: that is the order of locks.
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

    fn store_error(refusal: Unchanged) -> Result<StoreError, Unchanged> {
        match refusal {
            Unchanged::Store(error) => Ok(error),
            other => Err(other),
        }
    }
}

/// Changes an account so that its logins end, and tells the nodes that run. Yields what the operator has to know.
async fn end_logins(
    config: &Checked,
    store: &dyn Store,
    name: &str,
    change_to: Change,
) -> Result<&'static str, Failure> {
    let user = change(store, name, change_to).await?;
    if !matches!(config.store, StoreUrl::Mysql(_)) {
        return Ok(""); // no server runs on this store now
    }
    match ring(config, store, user).await {
        Ok(true) => Ok(""),
        Ok(false) => Ok("; no bus.url, so running nodes end the connections that are open within some minutes"),
        Err(error) => {
            tracing::warn!(error, "cannot tell the running nodes");
            Ok("; the bus cannot be reached, so running nodes end the connections that are open within some minutes")
        }
    }
}

/// Rings the nodes; `false` if there is no bus. More than once, since a bus may lose one.
async fn ring(config: &Checked, store: &dyn Store, user: UserId) -> Result<bool, String> {
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
        Err(Unchanged::Unknown) => Err(Failure::Failed(format!("there is no user {name}"))),
        Err(Unchanged::Store(error)) => Err(Failure::Unavailable(chain(&error))),
    }
}

/// From a file, `CHAT_PASSWORD`, or a prompt.
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
        let text = "no password: set CHAT_PASSWORD, or give --password-file";
        return Err(Failure::Failed(text.to_owned()));
    }
    let ask = |prompt| rpassword::prompt_password(prompt).map(Secret::new);
    let failed = |error: std::io::Error| Failure::Failed(format!("cannot read the password: {error}"));
    let password = ask("New password: ").map_err(failed)?;
    if ask("Again: ").map_err(failed)? != password {
        return Err(Failure::Failed(
            "the two passwords are not the same; nothing was changed".to_owned(),
        ));
    }
    Ok(password)
}

fn say(text: &str) -> Result<(), Failure> {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{text}").map_err(|error| Failure::Failed(format!("cannot write to standard output: {error}")))
}
