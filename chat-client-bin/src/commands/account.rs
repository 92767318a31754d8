//! The commands `register`, `login`, `logout`, `whoami`, `passwd` and `account`.

use std::path::PathBuf;

use chat_core::client::{Client, ClientError, Receive};
use chat_core::commands::Commands;
use chat_core::model::{CloseCode, DisplayName, ProfileChanges};

use crate::args::Global;
use crate::failure::Failure;
use crate::output::{DoneLine, Output, WhoLine};
use crate::secrets;
use crate::session::{LoginMode, Session};

pub(super) async fn register(
    global: &Global,
    display_name: Option<String>,
    output: &mut Output,
) -> Result<(), Failure> {
    if global.user.is_none() {
        return Err(Failure::usage("give the name of the new account with --user NAME"));
    }
    let display_name = parse_display_name(display_name)?;
    log_in(global, LoginMode::Register(display_name), output).await
}

pub(super) async fn login(global: &Global, output: &mut Output) -> Result<(), Failure> {
    log_in(global, LoginMode::Password, output).await
}

async fn log_in(global: &Global, mode: LoginMode, output: &mut Output) -> Result<(), Failure> {
    let session = Session::connect(global, mode, Receive::Nothing, output).await?;
    let result = whoami(&session, output);
    session.finish().await;
    result
}

pub(super) fn whoami(session: &Session, output: &mut Output) -> Result<(), Failure> {
    let device = session.client.device().to_string();
    output.print(&WhoLine::new(&session.me()?, device, session.server()))
}

pub(super) async fn logout(client: &Client, output: &mut Output) -> Result<(), Failure> {
    match client.logout().await {
        // The server may close the session before its reply arrives.
        Ok(_) | Err(ClientError::Ended(CloseCode::LoggedOut) | ClientError::Interrupted) => {}
        Err(error) => return Err(error.into()),
    }
    // The client deletes its token when the server closes the session, shortly after the reply.
    let _ = tokio::time::timeout(std::time::Duration::from_secs(2), until_ended(client)).await;
    output.print(&DoneLine::new("logout", "logged out"))
}

/// Waits until the session has ended.
async fn until_ended(client: &Client) {
    if let Some(mut events) = client.events() {
        while events.next().await.is_some() {}
    }
}

pub(super) async fn passwd(global: &Global, file: Option<PathBuf>, output: &mut Output) -> Result<(), Failure> {
    let old = secrets::from_file_or_env(global.password_file.as_deref(), "CHAT_PASSWORD")?;
    let old = old.map_or_else(
        || secrets::prompt("Current password", false, secrets::PASSWORD_SOURCES),
        Ok,
    )?;
    let new = secrets::from_file_or_env(file.as_deref(), "CHAT_NEW_PASSWORD")?;
    let new = new.map_or_else(
        || secrets::prompt("New password", true, secrets::NEW_PASSWORD_SOURCES),
        Ok,
    )?;
    let session = Session::connect(global, LoginMode::Automatic, Receive::Nothing, output).await?;
    let changed = session.client.change_password(old, new).await;
    session.finish().await;
    changed?;
    output.print(&DoneLine::new(
        "passwd",
        "password changed; other devices are logged out",
    ))
}

pub(super) async fn update(
    client: &Client,
    display_name: Option<String>,
    direct: Option<impl Into<chat_core::model::DirectPolicy>>,
    output: &mut Output,
) -> Result<(), Failure> {
    let mut changes = ProfileChanges::default();
    changes.display_name = parse_display_name(display_name)?;
    changes.direct_policy = direct.map(Into::into);
    client.update_profile(changes).await?;
    output.print(&DoneLine::new("account", "account updated"))
}

fn parse_display_name(text: Option<String>) -> Result<Option<DisplayName>, Failure> {
    text.map(|text| DisplayName::parse(&text).map_err(Failure::usage))
        .transpose()
}
