//! Conversion of the requests before login (hello, register, login, resume) and of their answers,
//! and of passwords and tokens.

use bytes::Bytes;

use super::accounts::{to_user_info, user_info};
use super::conversations::{conversation_info, to_conversation_info};
use super::parts;
use crate::codec::error::{InvalidRequest, Malformed};
use crate::codec::packet::{Hello, LoggedIn, Welcome};
use crate::codec::proto;
use crate::model::{
    DisplayName, Login, Registration, ReplyCode, Resume, Secret, Timestamp, UserInfo, UserName, UserRef, is_label,
};

/// Maximum length of the name of a client program or a device, in bytes.
const MAX_LABEL_BYTES: usize = 64;
/// Allowed lengths of a new password, in bytes.
const PASSWORD_BYTES: std::ops::RangeInclusive<usize> = 8..=1024;
/// Maximum length of the secret of a login, in bytes. Tokens of applications may be longer than
/// passwords.
const MAX_SECRET_BYTES: usize = 3 * 1024;
/// Maximum length of a token that the server issues, in bytes.
const MAX_TOKEN_BYTES: usize = 128;

pub(in crate::codec) fn to_hello(hello: proto::Hello) -> Result<Hello, InvalidRequest> {
    Ok(Hello {
        min_version: hello.min_version,
        max_version: hello.max_version,
        client: to_label(hello.client, "client")?,
    })
}

pub(in crate::codec) fn hello(hello: &Hello) -> proto::Hello {
    proto::Hello {
        min_version: hello.min_version,
        max_version: hello.max_version,
        client: hello.client.clone(),
    }
}

pub(in crate::codec) fn to_registration(register: proto::Register) -> Result<Registration, InvalidRequest> {
    let password = to_new_password(register.password)?;
    Ok(Registration {
        name: UserName::parse(&register.name)?,
        password,
        display_name: match register.display_name.as_str() {
            "" => None,
            name => Some(DisplayName::parse(name)?),
        },
    })
}

pub(in crate::codec) fn register(registration: &Registration) -> proto::Register {
    proto::Register {
        name: registration.name.as_str().to_owned(),
        password: password(&registration.password),
        display_name: registration
            .display_name
            .as_ref()
            .map_or_else(String::new, |name| name.as_str().to_owned()),
    }
}

pub(in crate::codec) fn to_login(login: proto::Login) -> Result<Login, InvalidRequest> {
    use proto::login::Account;
    let secret = to_password(login.password)?;
    let device_token = match login.device_token {
        token if token.is_empty() => None,
        token => Some(to_token(&token, "device_token")?),
    };
    Ok(Login {
        account: match login.account {
            Some(Account::Name(name)) => Some(UserRef::Name(UserName::parse_any(&name)?)),
            Some(Account::User(id)) => Some(UserRef::Id(parts::to_user_id(id)?)),
            None => None,
        },
        secret,
        device: parts::to_device(&login.device)?,
        device_name: to_label(login.device_name, "device_name")?,
        device_token,
    })
}

pub(in crate::codec) fn login(login: &Login) -> proto::Login {
    use proto::login::Account;
    proto::Login {
        account: login.account.as_ref().map(|account| match account {
            UserRef::Id(id) => Account::User(id.0),
            UserRef::Name(name) => Account::Name(name.as_str().to_owned()),
        }),
        password: password(&login.secret),
        device: parts::id(login.device.0),
        device_name: login.device_name.clone(),
        device_token: token(login.device_token.as_ref()),
    }
}

pub(in crate::codec) fn to_resume(resume: proto::Resume) -> Result<Resume, InvalidRequest> {
    Ok(Resume {
        user: parts::to_user_id(resume.user)?,
        device: parts::to_device(&resume.device)?,
        session_token: to_token(&resume.session_token, "session_token")?,
    })
}

pub(in crate::codec) fn resume(resume: &Resume) -> proto::Resume {
    proto::Resume {
        user: resume.user.0,
        device: parts::id(resume.device.0),
        session_token: token(Some(&resume.session_token)),
    }
}

/// Decodes the password of a registration, or the new password of a change.
pub(in crate::codec) fn to_new_password(password: String) -> Result<Secret, InvalidRequest> {
    let secret = Secret::new(password);
    if PASSWORD_BYTES.contains(&secret.expose().len()) {
        return Ok(secret);
    }
    Err(InvalidRequest {
        code: ReplyCode::InvalidPassword,
        text: format!(
            "a password must have {} to {} bytes of UTF-8",
            PASSWORD_BYTES.start(),
            PASSWORD_BYTES.end()
        ),
    })
}

/// Decodes the secret of a login, or the old password of a change.
pub(in crate::codec) fn to_password(password: String) -> Result<Secret, InvalidRequest> {
    let secret = Secret::new(password);
    if (1..=MAX_SECRET_BYTES).contains(&secret.expose().len()) {
        return Ok(secret);
    }
    Err(InvalidRequest {
        code: ReplyCode::InvalidPassword,
        text: format!("the password is missing or longer than {MAX_SECRET_BYTES} bytes"),
    })
}

/// Encodes a password as protobuf text. Bytes that are not UTF-8 cannot be transmitted: they are
/// replaced, and the server gets another password.
pub(in crate::codec) fn password(secret: &Secret) -> String {
    String::from_utf8_lossy(secret.expose()).into_owned()
}

fn to_token(bytes: &[u8], field: &'static str) -> Result<Secret, InvalidRequest> {
    if (1..=MAX_TOKEN_BYTES).contains(&bytes.len()) {
        Ok(Secret::new(bytes))
    } else {
        Err(InvalidRequest::argument(format!(
            "{field} must have 1 to {MAX_TOKEN_BYTES} bytes"
        )))
    }
}

/// Decodes a token that the server has issued.
pub(super) fn to_new_token(bytes: &[u8], field: &'static str) -> Result<Secret, Malformed> {
    to_token(bytes, field).map_err(|_| Malformed::Field(field))
}

/// Encodes a token; no bytes stand for `None`.
pub(super) fn token(secret: Option<&Secret>) -> Bytes {
    secret.map_or_else(Bytes::new, |secret| Bytes::copy_from_slice(secret.expose()))
}

fn to_label(label: String, field: &'static str) -> Result<String, InvalidRequest> {
    if label.len() > MAX_LABEL_BYTES {
        return Err(InvalidRequest::argument(format!(
            "{field} is longer than {MAX_LABEL_BYTES} bytes"
        )));
    }
    if !is_label(&label) {
        return Err(InvalidRequest::argument(format!(
            "{field} has a control or formatting character that is not allowed; remove it"
        )));
    }
    Ok(label)
}

pub(in crate::codec) fn welcome(welcome: &Welcome) -> proto::Welcome {
    proto::Welcome {
        version: welcome.version,
        server: welcome.server.clone(),
        server_time_ms: welcome.server_time.0,
        max_packet_bytes: welcome.max_packet_bytes,
        max_text_bytes: welcome.max_text_bytes,
        heartbeat_ms: welcome.heartbeat_ms,
        store_epoch: parts::id(welcome.store_epoch.0),
    }
}

pub(in crate::codec) fn to_welcome(welcome: proto::Welcome) -> Result<Welcome, Malformed> {
    Ok(Welcome {
        version: welcome.version,
        server: welcome.server,
        server_time: Timestamp(welcome.server_time_ms),
        max_packet_bytes: welcome.max_packet_bytes,
        max_text_bytes: welcome.max_text_bytes,
        heartbeat_ms: welcome.heartbeat_ms,
        store_epoch: parts::to_store_epoch(&welcome.store_epoch)?,
    })
}

pub(in crate::codec) fn registered(user: &UserInfo) -> proto::Registered {
    proto::Registered {
        user: user.id.0,
        name: user.name.clone(),
    }
}

pub(in crate::codec) fn to_registered(registered: proto::Registered) -> Result<UserInfo, Malformed> {
    to_user_info(proto::UserInfo {
        id: registered.user,
        name: registered.name,
        ..Default::default()
    })
}

pub(in crate::codec) fn logged_in(logged_in: &LoggedIn) -> proto::LoggedIn {
    proto::LoggedIn {
        user: Some(user_info(&logged_in.user)),
        session_token: token(logged_in.session_token.as_ref()),
        device_token: token(logged_in.device_token.as_ref()),
        store_epoch: parts::id(logged_in.store_epoch.0),
        conversations: logged_in.conversations.iter().map(conversation_info).collect(),
        server_time_ms: logged_in.server_time.0,
        more: logged_in.has_more,
    }
}

pub(in crate::codec) fn to_logged_in(logged_in: proto::LoggedIn) -> Result<LoggedIn, Malformed> {
    let to_optional_token = |bytes: Bytes| (!bytes.is_empty()).then(|| Secret::new(&bytes[..]));
    Ok(LoggedIn {
        user: to_user_info(parts::required(logged_in.user, "user")?)?,
        session_token: to_optional_token(logged_in.session_token),
        device_token: to_optional_token(logged_in.device_token),
        store_epoch: parts::to_store_epoch(&logged_in.store_epoch)?,
        conversations: parts::decode_list(logged_in.conversations, to_conversation_info)?,
        server_time: Timestamp(logged_in.server_time_ms),
        has_more: logged_in.more,
    })
}
