//! Address of a peer: [`PeerAddr`].

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

/// Address of the peer of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PeerAddr {
    /// A network address.
    Ip(SocketAddr),
    /// A pipe within this process. The pipes to one listener are numbered from 1; a pipe without a
    /// listener has number 0.
    Memory(u64),
    /// A peer on this machine without a network address, as at the other end of a Unix socket.
    Local,
}

impl PeerAddr {
    /// Returns the IP address, or `None` for a peer without a network address. IPv4-mapped IPv6
    /// addresses are returned as IPv4 addresses.
    #[must_use]
    pub(crate) fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Ip(address) => Some(address.ip().to_canonical()),
            Self::Memory(_) | Self::Local => None,
        }
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
    fn ip_is_none_without_a_network_address_and_unmaps_ipv4() {
        let mapped = PeerAddr::Ip("[::ffff:192.0.2.7]:1".parse().unwrap());
        assert_eq!(mapped.ip(), Some("192.0.2.7".parse().unwrap()));
        assert_eq!((PeerAddr::Memory(3).ip(), PeerAddr::Local.ip()), (None, None));
        assert_eq!(PeerAddr::Memory(3).to_string(), "memory:3");
    }
}
