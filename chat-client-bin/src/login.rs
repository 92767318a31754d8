//! The credentials that a command logs in with.

use chat_core::client::Credentials;
use chat_core::model::{DisplayName, Registration, Secret, UserName, UserRef};

use crate::args::Global;
use crate::failure::Failure;
use crate::secrets;

/// Choice of the credentials that a command logs in with.
#[derive(Debug)]
pub(crate) enum LoginMode {
    /// The stored session if there is one, otherwise the password, for which the user is asked only
    /// at a terminal. A given password is also used if the server refuses the stored session.
    Automatic,
    /// The stored session only.
    Stored,
    /// The password, even if a session is stored.
    Password,
    /// Registration of a new account.
    Register(Option<DisplayName>),
}

/// Returns the credentials for `mode`. Prompts for a password that is needed and not given.
pub(crate) async fn credentials(
    global: &Global,
    mode: LoginMode,
    user: &UserRef,
    has_session: bool,
) -> Result<Credentials, Failure> {
    let given = secrets::from_file_or_env(global.password_file.as_deref(), "CHAT_PASSWORD")?;
    match mode {
        LoginMode::Register(display_name) => {
            let password = password(given, true).await?;
            Ok(Credentials::Register(registration(user, password, display_name)?))
        }
        LoginMode::Password => Ok(Credentials::Password {
            account: user.clone(),
            secret: password(given, false).await?,
            fresh: true,
        }),
        LoginMode::Stored => Ok(Credentials::Stored),
        LoginMode::Automatic if has_session && given.is_none() => Ok(Credentials::Stored),
        // The client ends with `NoCredentials`, and `explain` in session.rs names the ways to log
        // in.
        LoginMode::Automatic if given.is_none() && !secrets::can_prompt() => Ok(Credentials::Stored),
        LoginMode::Automatic => Ok(Credentials::Password {
            account: user.clone(),
            secret: password(given, false).await?,
            fresh: false,
        }),
    }
}

/// Returns the given password, or else prompts for one. If `twice` is set, it is a new password,
/// which the user has to type a second time.
async fn password(given: Option<Secret>, twice: bool) -> Result<Secret, Failure> {
    match given {
        Some(given) => Ok(given),
        None => secrets::prompt("Password", twice, secrets::PASSWORD_SOURCES).await,
    }
}

fn registration(user: &UserRef, password: Secret, display_name: Option<DisplayName>) -> Result<Registration, Failure> {
    let name = match user {
        UserRef::Name(name) => name,
        UserRef::Id(id) => {
            return Err(Failure::usage(format!(
                "{id} is an id; give the name of the new account with --user NAME"
            )));
        }
    };
    let name = UserName::parse(name.as_str()).map_err(Failure::usage)?;
    let mut registration = Registration::new(name, password);
    registration.display_name = display_name;
    Ok(registration)
}

/// Returns the name of this device in the user's list of devices.
pub(crate) fn device_name() -> String {
    let host = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
    let host: String = host.trim().chars().filter(|c| c.is_ascii_graphic()).take(40).collect();
    match host.as_str() {
        "" => "chat-client".to_owned(),
        host => format!("chat-client on {host}"),
    }
}
