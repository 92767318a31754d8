//! Spellings of one host. The rules for unencrypted connections, and for hosts that have proved
//! themselves by a certificate, must not depend on the spelling.

use std::net::{IpAddr, Ipv4Addr};

/// Canonical name of this machine as a host to connect to.
pub(crate) const LOOPBACK: &str = "localhost";

/// Returns the one name for all spellings of a host: [`LOOPBACK`] for a loopback or unspecified
/// address and for `localhost` and names that end in `.localhost`; another address in its shortest
/// form, not mapped into IPv6 and without a zone; another name in lower case (ASCII) without a
/// final dot. Brackets are optional. Aliases that only a name server knows stay different.
pub(crate) fn canonical_host(host: &str) -> String {
    let host = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let without_zone = host.split('%').next().unwrap_or_default();
    let address = without_zone
        .parse::<IpAddr>()
        .ok()
        .or_else(|| old_form(&host).map(IpAddr::V4));
    match address.map(|address| address.to_canonical()) {
        // Linux and macOS, for example, connect the unspecified address to this machine.
        Some(address) if address.is_loopback() || address.is_unspecified() => LOOPBACK.to_owned(),
        Some(address) => address.to_string(),
        None if host == LOOPBACK || host.ends_with(".localhost") => LOOPBACK.to_owned(),
        None => host,
    }
}

/// Parses the forms of IPv4 addresses that resolvers accept besides the usual one: fewer than four
/// numbers, of which the last fills the rest, and hexadecimal or octal numbers. `127.1` is
/// `127.0.0.1`.
fn old_form(host: &str) -> Option<Ipv4Addr> {
    let numbers: Vec<u32> = host.split('.').map(number).collect::<Option<_>>()?;
    let (last, leading) = numbers.split_last()?;
    if leading.len() > 3 || leading.iter().any(|number| *number > 255) {
        return None;
    }
    let free_bits = 32 - 8 * u32::try_from(leading.len()).ok()?;
    if u64::from(*last) >= 1 << free_bits {
        return None;
    }
    let high = leading.iter().zip([24, 16, 8]).map(|(number, shift)| number << shift);
    Some(Ipv4Addr::from_bits(high.sum::<u32>() | last))
}

fn number(text: &str) -> Option<u32> {
    // The parsers of numbers accept a sign.
    if !text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    match text.strip_prefix('0') {
        None => text.parse().ok(),
        Some("") => Some(0),
        Some(rest) => match rest.strip_prefix('x') {
            Some(hexadecimal) => u32::from_str_radix(hexadecimal, 16).ok(),
            None => u32::from_str_radix(rest, 8).ok(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_host_become_equal_and_other_names_stay_unchanged() {
        for local in [
            "localhost",
            "LocalHost.",
            "chat.localhost",
            "127.0.0.1",
            "127.9.8.7",
            "::1",
            "[::1]",
            "0:0:0:0:0:0:0:1",
            "::ffff:127.0.0.1",
            "::FFFF:7f00:1",
            "0.0.0.0",
            "::",
            "127.1",
            "0x7f.0.0.1",
            "0177.0.0.1",
            "2130706433",
        ] {
            assert_eq!(canonical_host(local), LOOPBACK, "{local}");
        }
        for (one, other) in [
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("192.0.513", "192.0.2.1"),
            ("2001:db8:0::1", "2001:DB8::1"),
            ("fe80::1%eth0", "fe80::1"),
            ("Chat.Example.", "chat.example"),
        ] {
            assert_eq!(canonical_host(one), canonical_host(other));
            assert_ne!(canonical_host(one), LOOPBACK);
        }
        for name in [
            "localhost.example",
            "127.0.0.1.example",
            "1.2.3.4.5",
            "256.1",
            "1..2",
            "127.+1",
            "0x+7f.1",
            "example",
        ] {
            assert_eq!(canonical_host(name), name);
        }
    }
}
