//! Text format of the account: lines of `key value`.

use std::str::FromStr;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::client::store::AccountState;
use crate::model::{Secret, UserId, UserInfo};

pub(super) fn format(account: &AccountState) -> String {
    let mut lines = vec![format!("device {}", account.device)];
    if let Some(user) = &account.user {
        lines.push(format!("user {}", user.id));
        lines.push(format!("name {}", user.name));
        lines.push(format!("display-name {}", user.display_name));
    }
    let tokens = [
        ("session-token", &account.session_token),
        ("device-token", &account.device_token),
    ];
    for (key, token) in tokens {
        if let Some(token) = token {
            lines.push(format!("{key} {}", URL_SAFE_NO_PAD.encode(token.expose())));
        }
    }
    if account.tokens_are_from_plain {
        lines.push("tokens-from plain".to_owned());
    }
    if let Some(epoch) = &account.store_epoch {
        lines.push(format!("epoch {epoch}"));
    }
    lines.push(String::new());
    lines.join("\n")
}

/// Parses the account. Ignores keys of later versions.
pub(super) fn parse(text: &str) -> Result<AccountState, String> {
    let value = |key: &str| {
        let lines = text.lines().filter_map(|line| line.split_once(' '));
        lines
            .into_iter()
            .find(|(found, _)| *found == key)
            .map(|(_, value)| value)
    };
    let device = value("device").ok_or("the line `device` is missing")?;
    let user = match (value("user"), value("name")) {
        (Some(id), Some(name)) => Some(UserInfo {
            id: UserId(parse_value("user", id)?),
            name: name.to_owned(),
            display_name: value("display-name").unwrap_or(name).to_owned(),
            direct_policy: None,
        }),
        _ => None,
    };
    Ok(AccountState {
        device: parse_value("device", device)?,
        user,
        session_token: value("session-token").map(parse_token).transpose()?,
        device_token: value("device-token").map(parse_token).transpose()?,
        tokens_are_from_plain: value("tokens-from") == Some("plain"),
        store_epoch: value("epoch").map(|epoch| parse_value("epoch", epoch)).transpose()?,
    })
}

fn parse_value<T: FromStr>(key: &str, value: &str) -> Result<T, String> {
    value.parse().map_err(|_| format!("the value of `{key}` is damaged"))
}

fn parse_token(value: &str) -> Result<Secret, String> {
    let bytes = URL_SAFE_NO_PAD
        .decode(value)
        .map_err(|_| "a token is damaged".to_owned())?;
    Ok(Secret::new(bytes))
}
