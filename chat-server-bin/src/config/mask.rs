//! Masking of secrets in URLs that are shown. Only the parts of a URL that are certainly no secret
//! are shown; of a URL that is not understood, at most the scheme is shown.

/// Text in place of a secret.
const MASK: &str = "***";
/// Schemes of URLs with a server, which may contain a password.
const SERVER_SCHEMES: [&str; 4] = ["mysql", "mariadb", "redis", "rediss"];

/// Returns `url` with `***` in place of the password, of the values of parameters other than `true`
/// and `false`, and of everything else that may be a secret.
pub(crate) fn masked(url: &str) -> String {
    if url.is_empty() || is_sqlite(url) {
        return url.to_owned();
    }
    let Some((scheme, rest)) = url.split_once(':') else {
        return MASK.to_owned();
    };
    if !SERVER_SCHEMES.contains(&scheme) {
        return MASK.to_owned();
    }
    let masked = rest
        .strip_prefix("//")
        .and_then(|rest| masked_server(rest, scheme.starts_with("redis")));
    match masked {
        Some(shown) => format!("{scheme}://{shown}"),
        None => format!("{scheme}:{MASK}"),
    }
}

/// Returns `text`, an invalid value of a setting, with its secrets masked if it may be a URL.
pub(crate) fn masked_value(text: &str) -> String {
    if text.contains('@') || text.contains("://") {
        masked(text)
    } else {
        text.to_owned()
    }
}

/// Returns whether `url` is a `sqlite:` URL of which all is shown. One with `//` and `@` or `?` may
/// be the URL of a database server with the wrong scheme, and contain a password.
fn is_sqlite(url: &str) -> bool {
    url.strip_prefix("sqlite:")
        .is_some_and(|path| !path.starts_with("//") || !path.contains(['@', '?']))
}

/// Masks `[USER[:PASSWORD]@]HOST[:PORT][/DATABASE][?PARAMETERS]`. Returns `None` if the text has
/// another form: the password may then be anywhere in it. If `is_redis` is set, also masks a user
/// without a password: Redis is often used without users, so the text before `@` may be a password.
fn masked_server(text: &str, is_redis: bool) -> Option<String> {
    let (before, parameters) = match text.split_once('?') {
        Some((before, parameters)) => (before, Some(parameters)),
        None => (text, None),
    };
    let (authority, database) = match before.split_once('/') {
        Some((authority, database)) => (authority, Some(database)),
        None => (before, None),
    };
    let (user, address) = match authority.split_once('@') {
        Some((user, address)) => (Some(user), address),
        None => (None, authority),
    };
    if text.matches('@').count() > usize::from(user.is_some()) {
        return None;
    }
    let mut shown = String::new();
    if let Some(user) = user {
        match is_redis && !user.contains(':') {
            true => shown.push_str(MASK),
            false => shown.push_str(&masked_user(user)?),
        }
        shown.push('@');
    }
    if !is_address(address) {
        return None;
    }
    shown.push_str(address);
    if let Some(database) = database {
        if !is_name(database) {
            return None;
        }
        shown.push('/');
        shown.push_str(database);
    }
    if let Some(parameters) = parameters {
        shown.push('?');
        shown.push_str(&masked_parameters(parameters)?);
    }
    Some(shown)
}

fn masked_user(user: &str) -> Option<String> {
    match user.split_once(':') {
        Some((name, _)) => is_name(name).then(|| format!("{name}:{MASK}")),
        None => is_name(user).then(|| user.to_owned()),
    }
}

/// Masks the values of parameters; only the values `true` and `false` are shown. Returns `None` if
/// the text is no list of parameters.
fn masked_parameters(parameters: &str) -> Option<String> {
    let masked = parameters.split('&').map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let value = if matches!(value, "true" | "false") { value } else { MASK };
        is_name(name).then(|| format!("{name}={value}"))
    });
    let masked: Option<Vec<_>> = masked.collect();
    masked.map(|parameters| parameters.join("&"))
}

/// Returns whether `text` is a host, with or without a port.
fn is_address(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => (text, "0"),
    };
    let is_ipv6 = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .is_some_and(|host| host.parse::<std::net::Ipv6Addr>().is_ok());
    (is_ipv6 || is_name(host)) && port.parse::<u16>().is_ok()
}

/// Returns whether `text` has only characters of names of hosts, users, databases and parameters.
fn is_name(text: &str) -> bool {
    text.chars()
        .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '%'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masked_shows_everything_but_secrets() {
        for (url, shown) in [
            ("", ""),
            ("sqlite:", "sqlite:"),
            ("sqlite:/var/lib/chat@home", "sqlite:/var/lib/chat@home"),
            ("sqlite:///var/lib/chat", "sqlite:///var/lib/chat"),
            (
                "mysql://chat:hunter2@db.example/chat",
                "mysql://chat:***@db.example/chat",
            ),
            ("mysql://chat@db:3306/chat", "mysql://chat@db:3306/chat"),
            ("mariadb://c:hunter2@[::1]:3306/chat", "mariadb://c:***@[::1]:3306/chat"),
            ("redis://:hunter2@127.0.0.1:6379/0", "redis://:***@127.0.0.1:6379/0"),
            ("rediss://[::1]/", "rediss://[::1]/"),
            ("redis://hunter2@127.0.0.1/0", "redis://***@127.0.0.1/0"),
            (
                "mysql://c:h@db/chat?require_ssl=true&password=hunter2",
                "mysql://c:***@db/chat?require_ssl=true&password=***",
            ),
        ] {
            assert_eq!(masked(url), shown, "{url}");
        }
    }

    #[test]
    fn masked_hides_secrets_of_urls_that_it_does_not_understand() {
        for url in [
            "mysql://chat:Se/hunter2@127.0.0.1:3306/chat",
            "mysql://chat:S@e/hunter2@127.0.0.1:3306/chat",
            "mysql://chat:a@hunter2@db/chat",
            "mysql://chat:a?hunter2@db/chat",
            "mysql://chat:a#hunter2@db/chat",
            "mysql://chat:hunter2/db",
            "mysql://chat hunter2@db/chat",
            "mysql:chat:hunter2@db/chat",
            "mysql:/chat:hunter2@db/chat",
            "chat:hunter2@db/chat",
            "hunter2",
            "postgres://chat:hunter2@db/chat",
            "MYSQL://chat:hunter2@db/chat",
            "redis+unix:///run/redis.sock?pass=hunter2",
            "mysql://chat:12?a=hunter2@db/chat",
            "mysql://chat:a@hunter2/c?x=1@db/chat",
            "redis://db/0?hunter2",
            "redis://db/0?a=b=hunter2",
            "redis://db/0#hunter2",
            "sqlite://chat:hunter2@db/chat",
            " mysql://chat:hunter2@db/chat",
        ] {
            let shown = masked(url);
            assert!(!shown.contains("hunter2") && shown.contains(MASK), "{url}: {shown}");
        }
    }
}
