//! [`SourceKey`]: the source by which attempts and connections are counted.

use std::net::{IpAddr, Ipv4Addr};

use crate::model::Source;

/// A [`Source`], reduced to what one customer of a provider usually gets: an IPv4 address, or an
/// IPv6 network of 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum SourceKey {
    /// This process, for in-process connections.
    Local,
    /// An IPv4 address, also if it arrived as `::ffff:a.b.c.d`.
    V4(Ipv4Addr),
    /// The first 64 bits of an IPv6 address.
    V6([u16; 4]),
}

impl SourceKey {
    /// Returns whether the source is this machine. Its programs could disturb the server in other
    /// ways, so limits per source may exempt it.
    pub(super) fn is_loopback(&self) -> bool {
        match self {
            Self::Local => true,
            Self::V4(address) => address.is_loopback(),
            // Of the network 0::/64, only the address `::1` reaches a server.
            Self::V6(network) => *network == [0; 4],
        }
    }
}

impl From<Source> for SourceKey {
    fn from(source: Source) -> Self {
        match source {
            Source::Local => Self::Local,
            Source::Ip(address) => match address.to_canonical() {
                IpAddr::V4(address) => Self::V4(address),
                IpAddr::V6(address) => {
                    let [a, b, c, d, ..] = address.segments();
                    Self::V6([a, b, c, d])
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_customer_are_one_source() {
        let key = |text: &str| SourceKey::from(Source::Ip(text.parse().unwrap()));
        for (one, other, same) in [
            ("192.0.2.7", "::ffff:192.0.2.7", true),
            ("192.0.2.7", "192.0.2.8", false),
            ("127.0.0.1", "::1", false),
            ("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
        ] {
            assert_eq!(key(one) == key(other), same, "{one} {other}");
        }
        assert_ne!(SourceKey::from(Source::Local), key("127.0.0.1"));
    }

    #[test]
    fn loopback_addresses_are_recognised() {
        let key = |text: &str| SourceKey::from(Source::Ip(text.parse().unwrap()));
        assert!(SourceKey::from(Source::Local).is_loopback());
        for (text, loopback) in [
            ("127.0.0.1", true),
            ("127.9.9.9", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("192.0.2.7", false),
            ("2001:db8::1", false),
            ("fe80::1", false),
        ] {
            assert_eq!(key(text).is_loopback(), loopback, "{text}");
        }
    }
}
