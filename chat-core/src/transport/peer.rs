//! Where a peer connects from.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

/// The far end of a transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PeerAddr {
    /// A socket address.
    Ip(SocketAddr),
    /// An in-process pipe, numbered per listener.
    Memory(u64),
}

impl PeerAddr {
    /// The address, with IPv4 inside IPv6 written as IPv4; `None` for a pipe.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Ip(address) => Some(address.ip().to_canonical()),
            Self::Memory(_) => None,
        }
    }

    /// What limits per source count by: the address of an IPv4 peer, the /64 network of an IPv6 peer. Pipes share one source.
    #[must_use]
    pub fn source(&self) -> IpAddr {
        match self.ip() {
            Some(IpAddr::V6(address)) => {
                let network = u128::from(address) & (u128::MAX << 64);
                IpAddr::V6(Ipv6Addr::from(network))
            }
            Some(address) => address,
            None => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        }
    }

    /// Whether the peer is on this machine.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.ip().is_none_or(|address| address.is_loopback())
    }
}

impl fmt::Display for PeerAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => write!(f, "{address}"),
            Self::Memory(number) => write!(f, "memory:{number}"),
        }
    }
}

impl From<SocketAddr> for PeerAddr {
    fn from(address: SocketAddr) -> Self {
        Self::Ip(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn source_is_the_address_or_the_v6_network() {
        for (address, source) in [
            ("192.0.2.7:1", "192.0.2.7"),
            ("[::ffff:192.0.2.7]:1", "192.0.2.7"),
            ("[2001:db8:1:2:3:4:5:6]:1", "2001:db8:1:2::"),
        ] {
            let peer = PeerAddr::Ip(address.parse().unwrap());
            assert_eq!(peer.source(), source.parse::<IpAddr>().unwrap());
        }
        assert!(PeerAddr::Memory(3).is_local());
        assert!(PeerAddr::Ip("[::ffff:127.0.0.1]:9".parse().unwrap()).is_local());
        assert_eq!(PeerAddr::Memory(3).to_string(), "memory:3");
    }
}
