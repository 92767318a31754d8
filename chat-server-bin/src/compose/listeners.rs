//! Addresses of the listeners, and what is wrong with them.

use std::net::{IpAddr, SocketAddr};

use chat_core::server::BindError;
use socket2::{Domain, Socket, Type};

use crate::config::{CheckedConfig, ListenUrl, Problem};
use crate::failure::{Failure, chain};

/// Returns the addresses of the configured listeners. If a URL contains a host name, asks the
/// resolver, and blocks until it answers.
///
/// # Errors
/// All names that cannot be resolved, and all pairs of listeners whose addresses [`overlap`].
pub(super) fn addresses(config: &CheckedConfig) -> Result<Vec<SocketAddr>, Failure> {
    let wildcard = ipv6_wildcard();
    let mut problems = Vec::new();
    let mut resolved: Vec<(&ListenUrl, SocketAddr)> = Vec::new();
    for url in &config.listen {
        match url.resolve() {
            Ok(address) => {
                let others = resolved.iter().filter(|(_, other)| overlap(address, *other, wildcard));
                problems.extend(others.map(|(other, _)| conflict(other, url)));
                resolved.push((url, address));
            }
            Err(error) => problems.push(Problem::without_origin(format!(
                "server.listen: cannot resolve {url}: {error}"
            ))),
        }
    }
    if problems.is_empty() {
        Ok(resolved.into_iter().map(|(_, address)| address).collect())
    } else {
        Err(Failure::Config(problems))
    }
}

fn conflict(one: &ListenUrl, other: &ListenUrl) -> Problem {
    Problem::without_origin(format!(
        "server.listen: {one} and {other} want the same address and port, which only one of them can have; give each \
         listener a port of its own"
    ))
}

/// Addresses that `[::]` includes on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wildcard {
    /// All IPv6 addresses.
    Ipv6,
    /// All IPv6 and all IPv4 addresses.
    Both,
}

/// Asks the operating system which addresses `[::]` includes. If it has no answer, assumes
/// [`Wildcard::Ipv6`], with which fewer listeners overlap.
fn ipv6_wildcard() -> Wildcard {
    let socket = Socket::new(Domain::IPV6, Type::STREAM, None);
    match socket.and_then(|socket| socket.only_v6()) {
        Ok(false) => Wildcard::Both,
        _ => Wildcard::Ipv6,
    }
}

/// Returns whether a connection to some address could belong to either listener. Each listener on
/// port 0 gets a port of its own.
fn overlap(one: SocketAddr, other: SocketAddr, wildcard: Wildcard) -> bool {
    let includes = |ip: IpAddr, other: IpAddr| match ip {
        IpAddr::V4(ip) => ip.is_unspecified() && other.is_ipv4(),
        IpAddr::V6(ip) => ip.is_unspecified() && (other.is_ipv6() || wildcard == Wildcard::Both),
    };
    let (ip, other_ip) = (one.ip().to_canonical(), other.ip().to_canonical());
    one.port() != 0
        && one.port() == other.port()
        && (ip == other_ip || includes(ip, other_ip) || includes(other_ip, ip))
}

/// Returns the failure for a listener that cannot be bound, with advice for common causes.
pub(super) fn cannot_bind(error: &BindError) -> Failure {
    let hint = match error {
        BindError::Address { source, .. } if source.kind() == std::io::ErrorKind::AddrInUse => {
            "; another program listens on this address: stop that program, or choose another address with --listen"
        }
        BindError::Address { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
            "; ports below 1024 need a privilege: choose a higher port with --listen"
        }
        _ => "",
    };
    Failure::Unavailable(format!("{}{hint}", chain(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcard_addresses_overlap_with_the_addresses_that_they_include() {
        let overlap = |one: &str, other: &str, wildcard| {
            let (one, other) = (one.parse().unwrap(), other.parse().unwrap());
            let result = overlap(one, other, wildcard);
            assert_eq!(overlap(other, one, wildcard), result);
            result
        };
        for wildcard in [Wildcard::Ipv6, Wildcard::Both] {
            assert!(overlap("127.0.0.1:7400", "127.0.0.1:7400", wildcard));
            assert!(overlap("0.0.0.0:7400", "127.0.0.1:7400", wildcard));
            assert!(overlap("[::]:7400", "[::1]:7400", wildcard));
            assert!(overlap("[::ffff:127.0.0.1]:7400", "127.0.0.1:7400", wildcard));
            assert!(!overlap("0.0.0.0:7400", "[::1]:7400", wildcard));
            assert!(!overlap("127.0.0.1:7400", "127.0.0.1:7401", wildcard));
            assert!(!overlap("127.0.0.1:7400", "127.0.0.2:7400", wildcard));
            assert!(!overlap("127.0.0.1:0", "0.0.0.0:0", wildcard));
        }
        assert!(overlap("[::]:7400", "0.0.0.0:7400", Wildcard::Both));
        assert!(!overlap("[::]:7400", "127.0.0.1:7400", Wildcard::Ipv6));
    }
}
