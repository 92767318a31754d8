//! The servers that a command uses.

use chat_core::client::{Scheme, ServerAddress};

use crate::args::Global;
use crate::failure::Failure;
use crate::profile::{Profile, account_name};

/// Returns the servers given with `--server` or `CHAT_SERVER`, otherwise those that the account
/// used last, otherwise those of the account that was used last with this profile, otherwise the
/// local host.
///
/// # Errors
/// The given list is empty, an address is invalid or has another scheme than `--plain` or `--tls`
/// asks for, or a file of the profile cannot be read or is damaged.
pub(crate) fn choose(global: &Global, profile: &Profile, account: &str) -> Result<Vec<ServerAddress>, Failure> {
    let scheme = scheme(global);
    let parse = |text: &str| ServerAddress::parse(text, scheme.unwrap_or_default()).map_err(Failure::usage);
    if !global.server.is_empty() && global.server.iter().all(|text| text.trim().is_empty()) {
        return Err(Failure::usage("the list of servers is empty; give --server an address"));
    }
    // A list in the environment may have blanks, and a comma at its end.
    let given = global.server.iter().map(|text| text.trim());
    let given: Vec<_> = given.filter(|text| !text.is_empty()).collect();
    let servers = if given.is_empty() {
        let mut stored = profile.servers(account)?;
        // A profile belongs to one service, whichever user has used it.
        if stored.is_empty()
            && let Some(current) = profile.current()?
        {
            stored = profile.servers(&account_name(&current))?;
        }
        if stored.is_empty() {
            stored.push(parse("127.0.0.1")?);
        }
        stored
    } else {
        given.into_iter().map(parse).collect::<Result<_, _>>()?
    };
    check_scheme(scheme, &servers)?;
    Ok(servers)
}

/// Returns the scheme that `--plain` or `--tls` asks for.
fn scheme(global: &Global) -> Option<Scheme> {
    match (global.plain, global.tls) {
        (true, _) => Some(Scheme::Plain),
        (_, true) => Some(Scheme::Tls),
        _ => None,
    }
}

/// Refuses servers of another scheme than the wanted one: each port speaks one scheme, so the user
/// has to give the port of the wanted scheme.
fn check_scheme(wanted: Option<Scheme>, servers: &[ServerAddress]) -> Result<(), Failure> {
    let Some(wanted) = wanted else { return Ok(()) };
    match servers.iter().find(|server| server.scheme != wanted) {
        None => Ok(()),
        Some(other) => Err(Failure::usage(format!(
            "--{wanted} contradicts the address {other}, which was given or used last; give the {wanted}:// address \
             of the server with --server, or leave --{wanted} out"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scheme_option_contradicts_addresses_of_other_schemes() {
        let check = |wanted, servers: &[&str]| {
            let servers: Vec<_> = servers.iter().map(|text| text.parse().unwrap()).collect();
            check_scheme(wanted, &servers).map_err(|failure| failure.text)
        };
        assert!(check(None, &["plain://a:1", "tls://b:1", "sc1://c:1"]).is_ok());
        assert!(check(Some(Scheme::Tls), &["tls://a:1", "tls://b:1"]).is_ok());
        for (wanted, servers) in [
            (Scheme::Tls, &["tls://a:1", "plain://b:1"][..]),
            (Scheme::Tls, &["sc1://b:1"]),
            (Scheme::Plain, &["tls://b:1"]),
        ] {
            let text = check(Some(wanted), servers).unwrap_err();
            assert!(text.contains("b:1") && text.contains("--server"), "{text}");
        }
    }
}
