//! [`SourceKey`]: the source by which attempts and connections are counted. [`SourceTable`]
//! enforces one rate for each source, and a higher one for each site.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use crate::model::Source;
use crate::rate::{Bucket, Rate, Table};

/// Factor by which the limits of an IPv6 /48 network exceed those of a /64 network. A provider may
/// give a /48 network to one customer, who then has 65,536 /64 networks, or share it among many
/// customers.
pub(super) const SITE_FACTOR: u32 = 8;

/// A [`Source`], reduced to what one customer of a provider usually gets: an IPv4 address, or an
/// IPv6 /64 network. The /48 network around the latter, its site, is counted too, with higher
/// limits ([`SITE_FACTOR`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum SourceKey {
    /// This process, for in-process connections.
    Local,
    /// An IPv4 address, also if it arrived as `::ffff:a.b.c.d`.
    V4(Ipv4Addr),
    /// An IPv6 /64 network: the first 64 bits of an address.
    V6([u16; 4]),
    /// An IPv6 /48 network: the first 48 bits of an address.
    V6Site([u16; 3]),
}

impl fmt::Display for SourceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let network = |groups: &[u16]| {
            let mut address = [0; 8];
            address[..groups.len()].copy_from_slice(groups);
            Ipv6Addr::from(address)
        };
        match self {
            Self::Local => f.write_str("local"),
            Self::V4(address) => write!(f, "{address}"),
            Self::V6(groups) => write!(f, "{}/64", network(groups)),
            Self::V6Site(groups) => write!(f, "{}/48", network(groups)),
        }
    }
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
            Self::V6Site(_) => false,
        }
    }

    /// Returns this source and, for an IPv6 network other than that of the loopback address, its
    /// site.
    pub(super) fn with_site(self) -> impl Iterator<Item = Self> + Clone {
        let site = match self {
            Self::V6([a, b, c, _]) if !self.is_loopback() => Some(Self::V6Site([a, b, c])),
            _ => None,
        };
        std::iter::once(self).chain(site)
    }

    /// Returns the factor by which the limits of this source exceed those of an IPv4 address or an
    /// IPv6 /64 network.
    pub(super) const fn limit_factor(self) -> u32 {
        match self {
            Self::V6Site(_) => SITE_FACTOR,
            Self::Local | Self::V4(_) | Self::V6(_) => 1,
        }
    }
}

/// Enforces one rate for each source, and [`SITE_FACTOR`] times that rate for each site. Can exempt
/// this machine. Keeps a limited number of sources and sites.
#[derive(Debug)]
pub(super) struct SourceTable {
    buckets: Table<SourceKey, Bucket>,
    rate: Rate,
    exempts_loopback: bool,
}

impl SourceTable {
    pub(super) fn new(rate: Rate, exempts_loopback: bool, capacity: usize) -> Self {
        Self {
            buckets: Table::new(capacity),
            rate,
            exempts_loopback,
        }
    }

    /// Returns `Ok` if one more event of the source is allowed now. Otherwise returns the time
    /// until the rate of the source, or if that allows the event, the rate of its site allows one.
    /// Charges nothing.
    pub(super) fn check(&self, now: Instant, source: SourceKey) -> Result<(), Duration> {
        source.with_site().try_for_each(|key| {
            let bucket = self.buckets.get(&key).copied().unwrap_or_default();
            bucket.check(now, &self.rate_of(key))
        })
    }

    /// Charges one event to the source and its site.
    pub(super) fn charge(&mut self, now: Instant, source: SourceKey) {
        for key in source.with_site() {
            let rate = self.rate_of(key);
            self.buckets.entry(now, key).charge(now, &rate);
        }
    }

    /// Refunds one event of the source and its site.
    pub(super) fn refund(&mut self, now: Instant, source: SourceKey) {
        for key in source.with_site() {
            let rate = self.rate_of(key);
            if let Some(bucket) = self.buckets.get_mut(&key) {
                bucket.refund(now, &rate);
            }
        }
    }

    fn rate_of(&self, source: SourceKey) -> Rate {
        if self.exempts_loopback && source.is_loopback() {
            Rate::UNLIMITED
        } else {
            self.rate.times(source.limit_factor())
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
    fn networks_of_one_site_share_a_greater_limit() {
        let key = |text: &str| SourceKey::from(Source::Ip(text.parse().unwrap()));
        let now = Instant::now();
        let mut table = SourceTable::new(Rate::new(2, Duration::from_secs(60)), true, 1000);
        let mut charge = |text: &str| {
            table.check(now, key(text))?;
            table.charge(now, key(text));
            Ok::<(), Duration>(())
        };
        assert!(charge("2001:db8::1").is_ok() && charge("2001:db8::2").is_ok());
        assert!(charge("2001:db8::3").is_err(), "one /64 network");
        for network in 1..SITE_FACTOR {
            for host in 1..=2 {
                assert!(charge(&format!("2001:db8:0:{network:x}::{host}")).is_ok());
            }
        }
        assert!(charge("2001:db8:0:ffff::1").is_err(), "the site, a /48 network");
        assert!(charge("2001:db8:1::1").is_ok(), "another site");
        for _ in 0..99 {
            assert!(charge("::1").is_ok(), "loopback is exempt");
        }
        table.refund(now, key("2001:db8:0:1::1"));
        assert!(
            table.check(now, key("2001:db8:0:ffff::1")).is_ok(),
            "a refund counts for the site"
        );
    }

    #[test]
    fn source_is_shown_as_an_address_or_a_network() {
        let shown = |text: &str| SourceKey::from(Source::Ip(text.parse().unwrap())).to_string();
        assert_eq!(shown("::ffff:192.0.2.1"), "192.0.2.1");
        assert_eq!(shown("2001:db8:1:2:3::4"), "2001:db8:1:2::/64");
        assert_eq!(SourceKey::V6Site([0x2001, 0xdb8, 1]).to_string(), "2001:db8:1::/48");
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
