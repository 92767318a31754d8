//! The commands `register`, `login`, `logout`, `whoami`, `passwd` and `account`.

use std::path::PathBuf;
use std::time::Duration;

use chat_core::client::{ClientError, Receive};
use chat_core::commands::Commands;
use chat_core::model::{CloseCode, DisplayName, ProfileChanges, ReplyCode};

use crate::args::Global;
use crate::command_client::CommandClient;
use crate::failure::{Failure, FailureKind};
use crate::login::LoginMode;
use crate::output::{DoneLine, Output, WhoLine};
use crate::secrets;
use crate::session::Session;

/// Maximum time to wait for the answer to a logout, including repeated attempts.
const LOGOUT_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) async fn register(
    global: &Global,
    display_name: Option<String>,
    output: &mut Output,
) -> Result<(), Failure> {
    if global.user.is_none() {
        return Err(Failure::usage("give the name of the new account with --user NAME"));
    }
    let display_name = parse_display_name(display_name)?;
    let registered = log_in(global, LoginMode::Register(display_name), output).await;
    registered.map_err(|failure| {
        let mut failure = failure.with_unknown_outcome();
        if failure.kind == FailureKind::OutcomeUnknown {
            failure
                .text
                .push_str("; try `chat-client login`, and `register` again if that is refused");
        }
        failure
    })
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
    output.print(&WhoLine::new(&session.me()?, device, &session.server()))
}

/// Logs out, and deletes the session token from the profile. Succeeds if the session has ended
/// before. Without an answer of the server the token is kept, because it may still be valid.
pub(super) async fn logout(global: &Global, output: &mut Output) -> Result<(), Failure> {
    let session = Session::start(global, LoginMode::Stored, Receive::Nothing, output).await?;
    let result = end_session(&session).await;
    session.finish().await;
    result?;
    output.print(&DoneLine::new("logout", "logged out"))
}

async fn end_session(session: &Session) -> Result<(), Failure> {
    if !session.may_have_session_token() {
        return Ok(());
    }
    match session.within(async { Ok(session.client.ready().await) }).await? {
        Ok(()) => session.ready().await?,
        Err(error) if means_no_session(&error) && !session.may_have_session_token() => return Ok(()),
        Err(_) => return session.ready().await, // fails too, and names the next step
    }
    let answered = tokio::select! {
        biased;
        answered = tokio::time::timeout(LOGOUT_TIMEOUT, session.client.logout()) => {
            answered.unwrap_or(Err(ClientError::Timeout))
        }
        // The process that has the account open may end before its agent passes the answer on.
        () = session.agent_logged_out() => Ok(()),
    };
    match answered {
        Ok(()) => Ok(()),
        Err(error) if means_no_session(&error) => Ok(()),
        Err(error @ (ClientError::Timeout | ClientError::Interrupted | ClientError::Unreachable(_))) => {
            let text = format!("{error}; this device may still be logged in, run `chat-client logout` again");
            Err(Failure::new(FailureKind::OutcomeUnknown, text))
        }
        Err(error) => Err(error.into()),
    }
}

/// Returns `true` if the error means that this device has no session.
fn means_no_session(error: &ClientError) -> bool {
    match error {
        ClientError::NoCredentials | ClientError::Ended(CloseCode::LoggedOut | CloseCode::Revoked) => true,
        ClientError::Refused(failure) => matches!(
            failure.code(),
            Some(ReplyCode::SessionExpired | ReplyCode::BadCredentials)
        ),
        _ => false,
    }
}

pub(super) async fn passwd(
    global: &Global,
    new_password_file: Option<PathBuf>,
    output: &mut Output,
) -> Result<(), Failure> {
    let old = secrets::from_file_or_env(global.password_file.as_deref(), "CHAT_PASSWORD")?;
    let old = match old {
        Some(old) => old,
        None => secrets::prompt("Current password", false, secrets::PASSWORD_SOURCES).await?,
    };
    let new = secrets::from_file_or_env(new_password_file.as_deref(), "CHAT_NEW_PASSWORD")?;
    let new = match new {
        Some(new) => new,
        None => secrets::prompt("New password", true, secrets::NEW_PASSWORD_SOURCES).await?,
    };
    let session = Session::connect(global, LoginMode::Automatic, Receive::Nothing, output).await?;
    let change = async { Ok(session.client.change_password(old, new).await?) };
    let changed = session.within(change).await;
    session.finish().await;
    changed.map_err(Failure::with_unknown_outcome)?;
    output.print(&DoneLine::new(
        "passwd",
        "password changed; other devices are logged out",
    ))
}

pub(super) async fn update(
    client: &CommandClient,
    display_name: Option<String>,
    direct: Option<impl Into<chat_core::model::DirectPolicy>>,
    output: &mut Output,
) -> Result<(), Failure> {
    if display_name.is_none() && direct.is_none() {
        return Err(Failure::usage("nothing to change; give --display-name or --direct"));
    }
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
