//! Address of a peer: [`PeerAddr`].

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

/// Address of the peer of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PeerAddr {
    /// A network address.
    Ip(SocketAddr),
    /// A pipe within this process, with its number at its listener.
    Memory(u64),
    /// A peer on this machine without a network address, as at the other end of a Unix socket.
    Local,
}

impl PeerAddr {
    /// Returns the IP address, or `None` for a local peer. IPv4-mapped IPv6 addresses are returned
    /// as IPv4 addresses.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Ip(address) => Some(address.ip().to_canonical()),
            Self::Memory(_) | Self::Local => None,
        }
    }

    /// Returns the address by which limits per source count: that of an IPv4 peer, or the /64
    /// network of an IPv6 peer. All local peers share one source.
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

    /// Returns whether the peer is on this machine.
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
            Self::Local => f.write_str("local"),
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
        assert!(PeerAddr::Memory(3).is_local() && PeerAddr::Local.is_local());
        assert!(PeerAddr::Ip("[::ffff:127.0.0.1]:9".parse().unwrap()).is_local());
        assert_eq!(PeerAddr::Memory(3).to_string(), "memory:3");
    }
}
