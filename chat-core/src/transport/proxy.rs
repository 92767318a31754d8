//! The [PROXY protocol](https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt), by which a
//! load balancer reports the address of the client: version 1 (a line of text) and version 2
//! (binary).
//!
//! Any peer that can reach the port can claim any address. A header is therefore read only from
//! trusted networks; on a port that expects headers, each connection must have one.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use tokio::io::{AsyncRead, AsyncReadExt};

/// First bytes of a header of version 2.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Maximum length of a header of version 1, in bytes, including the end of the line.
const MAX_LINE_BYTES: usize = 107;
/// Number of leading bits that all IPv4-mapped IPv6 addresses share.
const MAPPED_PREFIX_LENGTH: u8 = 96;
/// Maximum length of the variable part of a header of version 2, in bytes. It has room for the
/// addresses of Unix sockets and some extensions.
const MAX_VARIABLE_BYTES: usize = 1024;

/// IP network, parsed from CIDR notation or from a single address. A network of IPv4-mapped IPv6
/// addresses, such as `::ffff:10.0.0.0/104`, is the IPv4 network `10.0.0.0/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// An address of the network; never an IPv4-mapped IPv6 address.
    address: IpAddr,
    /// Number of leading bits that the addresses of the network share.
    prefix_length: u8,
}

/// Error of parsing a [`Network`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a network{reason}; write it like \"10.0.0.0/8\" or \"::1\"")]
pub struct InvalidNetwork {
    text: String,
    /// Part of the message that explains why the prefix of an IPv4-mapped network is invalid;
    /// otherwise empty.
    reason: &'static str,
}

impl Network {
    /// Returns whether the network contains `address`. IPv4-mapped IPv6 addresses count as IPv4.
    #[must_use]
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => same_prefix(
                u128::from(network.to_bits()) << 96,
                u128::from(address.to_bits()) << 96,
                self.prefix_length,
            ),
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                same_prefix(network.to_bits(), address.to_bits(), self.prefix_length)
            }
            _ => false,
        }
    }
}

/// Returns `true` if the first `length` bits of both numbers are equal.
fn same_prefix(one: u128, other: u128, length: u8) -> bool {
    let compared_bits = u32::from(length.min(128));
    (one ^ other).checked_shr(128 - compared_bits).unwrap_or(0) == 0
}

impl FromStr for Network {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, InvalidNetwork> {
        let invalid_because = |reason| InvalidNetwork {
            text: text.to_owned(),
            reason,
        };
        let invalid = || invalid_because("");
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| invalid())?;
        let max_length = if address.is_ipv4() { 32 } else { 128 };
        let prefix_length: u8 = match length {
            Some(length) => length.parse().map_err(|_| invalid())?,
            None => max_length,
        };
        if prefix_length > max_length {
            return Err(invalid());
        }
        match address.to_canonical() {
            canonical if canonical == address => Ok(Self { address, prefix_length }),
            canonical => Ok(Self {
                address: canonical,
                prefix_length: prefix_length
                    .checked_sub(MAPPED_PREFIX_LENGTH)
                    .ok_or_else(|| invalid_because(": an IPv4-mapped network needs a prefix of at least 96"))?,
            }),
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_length)
    }
}

/// Reads a PROXY header and no byte beyond it. Returns the client's address, or `None` if the proxy
/// itself connects (a health check) or reports no TCP address.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`] if the stream does not begin with a valid header, or the variable
/// part of the header is longer than 1 KiB; otherwise the error of the stream, such as
/// [`io::ErrorKind::UnexpectedEof`].
///
/// # Cancel safety
/// Not cancel safe: the bytes that were read are lost.
pub async fn read_header(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<SocketAddr>> {
    let first_byte = stream.read_u8().await?;
    match first_byte {
        b'P' => read_line(stream).await,
        b'\r' => read_binary(stream).await,
        _ => Err(invalid("the connection does not begin with a PROXY header")),
    }
}

fn invalid(text: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

/// Reads the rest of a header of version 1, byte by byte, because the bytes after it belong to the
/// next protocol.
async fn read_line(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<SocketAddr>> {
    let mut line = vec![b'P'];
    while !line.ends_with(b"\r\n") {
        if line.len() == MAX_LINE_BYTES {
            return Err(invalid("the PROXY line is too long"));
        }
        line.push(stream.read_u8().await?);
    }
    let line = std::str::from_utf8(&line).map_err(|_| invalid("the PROXY line is not UTF-8"))?;
    let words: Vec<&str> = line.trim_end_matches("\r\n").split(' ').collect();
    match words[..] {
        ["PROXY", "UNKNOWN", ..] => Ok(None),
        [
            "PROXY",
            family @ ("TCP4" | "TCP6"),
            source,
            destination,
            port,
            destination_port,
        ] => {
            let source: IpAddr = source
                .parse()
                .map_err(|_| invalid("the PROXY line has no valid source address"))?;
            let destination: IpAddr = destination
                .parse()
                .map_err(|_| invalid("the PROXY line has no valid destination address"))?;
            let port = port
                .parse()
                .map_err(|_| invalid("the PROXY line has no valid source port"))?;
            let _: u16 = destination_port
                .parse()
                .map_err(|_| invalid("the PROXY line has no valid destination port"))?;
            if source.is_ipv4() != (family == "TCP4") || destination.is_ipv4() != source.is_ipv4() {
                return Err(invalid("the addresses in the PROXY line are not of its family"));
            }
            Ok(Some(SocketAddr::new(source, port)))
        }
        _ => Err(invalid("the PROXY line does not have the form of version 1")),
    }
}

/// Reads the rest of a header of version 2.
async fn read_binary(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<SocketAddr>> {
    let mut head = [0; 15];
    stream.read_exact(&mut head).await?;
    let (signature, fields) = head.split_at(SIGNATURE.len() - 1);
    let [version_and_command, family, high, low] = *fields else {
        return Err(invalid("the connection does not begin with a PROXY header"));
    };
    if *signature != SIGNATURE[1..] || version_and_command >> 4 != 2 {
        return Err(invalid("the PROXY header has an unknown signature or version"));
    }
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > MAX_VARIABLE_BYTES {
        return Err(invalid("the PROXY header is too long"));
    }
    let mut rest = vec![0; length];
    stream.read_exact(&mut rest).await?;
    match (version_and_command & 0xf, family) {
        // Command LOCAL: the proxy itself connects.
        (0, _) => Ok(None),
        // Command PROXY, TCP over IPv4: source address, destination address, and their ports.
        (1, 0x11) => {
            let [a, b, c, d, _, _, _, _, high, low, _, _] = *fixed_part(&rest)?;
            let port = u16::from_be_bytes([high, low]);
            Ok(Some((Ipv4Addr::new(a, b, c, d), port).into()))
        }
        // Command PROXY, TCP over IPv6.
        (1, 0x21) => {
            let addresses: &[u8; 36] = fixed_part(&rest)?;
            let source: [u8; 16] = *addresses
                .first_chunk()
                .ok_or_else(|| invalid("the PROXY header has no address"))?;
            let port = u16::from_be_bytes([addresses[32], addresses[33]]);
            Ok(Some((Ipv6Addr::from(source), port).into()))
        }
        // Command PROXY, not TCP over IP, such as Unix sockets. The server limits connections by IP
        // address only, so it needs no other addresses.
        (1, _) => Ok(None),
        _ => Err(invalid("the PROXY header has an unknown command")),
    }
}

/// Returns the first `N` bytes of the variable part of a header. Fails if it is shorter.
fn fixed_part<const N: usize>(bytes: &[u8]) -> io::Result<&[u8; N]> {
    bytes
        .first_chunk()
        .ok_or_else(|| invalid("the PROXY header is too short for its addresses"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a header from `bytes`. Returns the result, and the number of bytes that were not read.
    async fn read(bytes: &[u8]) -> (Result<Option<SocketAddr>, io::ErrorKind>, usize) {
        let mut stream = bytes;
        let header = read_header(&mut stream).await.map_err(|error| error.kind());
        (header, stream.len())
    }

    /// Returns a header of version 2.
    fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let mut header = SIGNATURE.to_vec();
        header.extend([0x20 | command, family]);
        header.extend(u16::try_from(rest.len()).unwrap().to_be_bytes());
        header.extend(rest);
        header
    }

    #[tokio::test]
    async fn read_header_reads_no_byte_after_the_header() {
        let v4: SocketAddr = "192.0.2.7:5000".parse().unwrap();
        let v6: SocketAddr = "[2001:db8::7]:5000".parse().unwrap();
        let mut v6_addresses = [0; 36];
        v6_addresses[..16].copy_from_slice(&"2001:db8::7".parse::<Ipv6Addr>().unwrap().octets());
        v6_addresses[32..34].copy_from_slice(&5000_u16.to_be_bytes());
        let v4_addresses = [192, 0, 2, 7, 10, 0, 0, 1, 0x13, 0x88, 0x1c, 0xe8];
        for (header, expected) in [
            (b"PROXY TCP4 192.0.2.7 10.0.0.1 5000 7400\r\n".to_vec(), Some(v4)),
            (b"PROXY TCP6 2001:db8::7 ::1 5000 7400\r\n".to_vec(), Some(v6)),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".to_vec(), None),
            (binary(1, 0x11, &v4_addresses), Some(v4)),
            (binary(1, 0x11, &[&v4_addresses[..], &[3, 0, 1, 9]].concat()), Some(v4)),
            (binary(1, 0x21, &v6_addresses), Some(v6)),
            (binary(0, 0, &[]), None),
            (binary(1, 0x31, &[0; 216]), None),
        ] {
            let stream = [&header[..], b"SC1 comes now"].concat();
            assert_eq!(read(&stream).await, (Ok(expected), 13), "{header:?}");
            for cut in 0..header.len() {
                assert_eq!(
                    read(&header[..cut]).await.0,
                    Err(io::ErrorKind::UnexpectedEof),
                    "cut at {cut}"
                );
            }
        }
    }

    #[tokio::test]
    async fn read_header_rejects_invalid_headers() {
        let long = format!("PROXY {}\r\n", "x".repeat(200));
        let mut version = binary(1, 0x11, &[0; 12]);
        version[12] = 0x31;
        for bytes in [
            b"GET / HTTP/1.1\r\n\r\n".to_vec(),
            b"\x16\x03\x01\x02\x00".to_vec(),
            b"PROXY TCP4 192.0.2.7 10.0.0.1 5000\r\n".to_vec(),
            b"PROXY TCP4 2001:db8::7 10.0.0.1 5000 1\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.7 10.0.0.1 99999 1\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.7 10.0.0.1 1 -1\r\n".to_vec(),
            b"PROXY TCP4 a b 1 1\r\n".to_vec(),
            b"PROXYTCP4 192.0.2.7 10.0.0.1 1 1\r\n".to_vec(),
            b"PROXY \xff\r\n".to_vec(),
            long.into_bytes(),
            b"\r\n\r\n\0\r\nQUIT!!!!!!!".to_vec(),
            version,
            binary(2, 0x11, &[0; 12]),
            binary(1, 0x11, &[0; 11]),
            binary(1, 0x21, &[0; 35]),
            binary(1, 0x11, &[0; MAX_VARIABLE_BYTES + 1]),
        ] {
            assert_eq!(read(&bytes).await.0, Err(io::ErrorKind::InvalidData), "{bytes:?}");
        }
    }

    #[test]
    fn network_contains_its_addresses_and_parses_cidr() {
        let contains =
            |network: &str, address: &str| network.parse::<Network>().unwrap().contains(address.parse().unwrap());
        assert!(contains("10.0.0.0/8", "10.255.0.1") && !contains("10.0.0.0/8", "11.0.0.1"));
        assert!(contains("192.0.2.7", "192.0.2.7") && !contains("192.0.2.7", "192.0.2.6"));
        assert!(contains("0.0.0.0/0", "1.2.3.4") && !contains("0.0.0.0/0", "::1"));
        assert!(contains("2001:db8::/32", "2001:db8:1::1") && !contains("2001:db8::/32", "2001:db9::1"));
        assert!(
            contains("127.0.0.1", "::ffff:127.0.0.1"),
            "an IPv4-mapped address counts as IPv4"
        );
        assert!(contains("::/0", "::1"));
        for (mapped, canonical) in [
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("::ffff:192.0.2.7", "192.0.2.7/32"),
            ("::ffff:0.0.0.0/96", "0.0.0.0/0"),
        ] {
            assert_eq!(mapped.parse::<Network>().unwrap().to_string(), canonical);
        }
        assert!(contains("::ffff:10.0.0.0/104", "10.255.0.1") && !contains("::ffff:10.0.0.0/104", "11.0.0.1"));
        assert!(contains("::ffff:10.0.0.0/104", "::ffff:10.255.0.1"));
        for text in [
            "",
            "x",
            "10.0.0.0/33",
            "::1/129",
            "10.0.0.0/",
            "10.0.0.0/-1",
            "10.0.0/8",
            "::ffff:10.0.0.0/95",
            "::ffff:10.0.0.0/8",
        ] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
        assert_eq!("10.0.0.0/8".parse::<Network>().unwrap().to_string(), "10.0.0.0/8");
    }
}
