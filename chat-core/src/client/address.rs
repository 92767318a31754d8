//! Addresses of servers, and how streams to them are opened: [`Dial`] and [`Endpoint`].

use std::{fmt, io, str::FromStr, sync::Arc};

use async_trait::async_trait;

use crate::secure::host_and_port;
use crate::transport::{MemoryConnector, Transport, tcp};

/// Port of an address that does not contain a port.
pub const DEFAULT_PORT: u16 = 7400;

/// Protocol that protects a connection, if any. Each port of a server has one scheme; it is not
/// negotiated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scheme {
    /// SC1, the secure channel that `docs/sc1.md` specifies.
    #[default]
    Sc1,
    /// TLS 1.3 over TCP.
    Tls,
    /// No protection: for connections within one machine, and for tests.
    Plain,
}

impl Scheme {
    const ALL: [(&'static str, Self); 3] = [("sc1", Self::Sc1), ("tls", Self::Tls), ("plain", Self::Plain)];
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = Self::ALL.iter().find(|(_, scheme)| scheme == self);
        f.write_str(scheme.map_or("", |(name, _)| name))
    }
}

/// Address of a server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServerAddress {
    /// Scheme of the port.
    pub scheme: Scheme,
    /// Host name or IP address, without brackets. An IPv6 address may have a zone, such as
    /// `fe80::1%eth0`, which names the network interface of this machine.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// Error of parsing a [`ServerAddress`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a server address; write HOST:PORT, with an IPv6 address in brackets, or sc1://…, tls://…, plain://…"
)]
pub struct InvalidAddress(String);

impl ServerAddress {
    /// Parses `HOST[:PORT]`, which gets the scheme `default`, or `scheme://HOST[:PORT]`.
    ///
    /// # Errors
    /// The text has neither form, or names an unknown scheme.
    pub fn parse(text: &str, default: Scheme) -> Result<Self, InvalidAddress> {
        let invalid = || InvalidAddress(text.to_owned());
        let (scheme, rest) = match text.split_once("://") {
            None => (default, text),
            Some((name, rest)) => {
                let known = Scheme::ALL.into_iter().find(|(known, _)| *known == name);
                (known.ok_or_else(invalid)?.1, rest)
            }
        };
        let (host, port) = split_port(rest).ok_or_else(invalid)?;
        let host = parse_host(host).ok_or_else(invalid)?;
        Ok(Self { scheme, host, port })
    }

    /// Returns the host as the server knows it: without a zone, which is valid on this machine
    /// only, and is not sent (RFC 6874, section 4).
    #[must_use]
    pub(super) fn host_without_zone(&self) -> &str {
        self.host.split('%').next().unwrap_or_default()
    }

    /// Returns `host:port` in the form that `known_hosts` contains, without the scheme.
    #[must_use]
    pub(crate) fn host_and_port(&self) -> String {
        host_and_port(&self.host, self.port)
    }
}

/// Returns a host name or address without brackets if it is valid. A zone of an IPv6 address
/// follows a `%`, or `%25` as in a URI (RFC 6874, section 2), in place of which the result has a
/// `%`.
fn parse_host(text: &str) -> Option<String> {
    let (host, zone) = match text.split_once('%') {
        None => (text, None),
        Some((host, zone)) => {
            let from_uri = zone.strip_prefix("25").filter(|zone| !zone.is_empty());
            (host, Some(from_uri.unwrap_or(zone)))
        }
    };
    let forbidden = |c: char| c.is_whitespace() || c.is_control() || "/@[]?#".contains(c);
    let is_ipv6 = host.parse::<std::net::Ipv6Addr>().is_ok();
    if host.is_empty() || (host.contains(':') && !is_ipv6) || host.contains(forbidden) {
        return None;
    }
    let Some(zone) = zone else { return Some(host.to_owned()) };
    let is_valid_zone = !zone.is_empty() && zone.chars().all(|c| c.is_ascii_alphanumeric() || "-._~".contains(c));
    (is_ipv6 && is_valid_zone).then(|| format!("{host}%{zone}"))
}

/// Splits a text into host and port, which is [`DEFAULT_PORT`] if the text has none. An IPv6
/// address with a port needs brackets.
fn split_port(text: &str) -> Option<(&str, u16)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, port) = rest.split_once(']')?;
        if !host.contains(':') {
            return None;
        }
        let port = match port {
            "" => DEFAULT_PORT,
            port => port.strip_prefix(':')?.parse().ok()?,
        };
        return Some((host, port));
    }
    match text.rsplit_once(':') {
        Some((host, _)) if host.contains(':') => Some((text, DEFAULT_PORT)),
        Some((host, port)) => Some((host, port.parse().ok()?)),
        None => Some((text, DEFAULT_PORT)),
    }
}

impl FromStr for ServerAddress {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text, Scheme::default())
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Names of network interfaces are case-sensitive, unlike host names.
        match self.host.split_once('%') {
            Some((host, zone)) => write!(f, "{}://[{host}%{zone}]:{}", self.scheme, self.port),
            None => write!(f, "{}://{}", self.scheme, self.host_and_port()),
        }
    }
}

/// Opens streams to a server: over TCP, or as the application implements it.
#[async_trait]
pub trait Dial: fmt::Debug + Send + Sync + 'static {
    /// Opens a stream. The client limits the time, so an implementation needs no timeout.
    async fn dial(&self) -> io::Result<Box<dyn Transport>>;
}

/// Server that a client connects to: its address and how to open a stream to it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Endpoint {
    /// Scheme, and the host and port under which the server's key is pinned.
    pub address: ServerAddress,
    dial: Arc<dyn Dial>,
    /// True if streams are opened by TCP to `address`, not by a [`Dial`] of the application.
    uses_tcp: bool,
}

impl Endpoint {
    /// Returns an endpoint that `dial` opens streams to. The server's key is pinned under
    /// `address`.
    pub fn new(address: ServerAddress, dial: impl Dial) -> Self {
        Self {
            address,
            dial: Arc::new(dial),
            uses_tcp: false,
        }
    }

    pub(super) fn uses_tcp(&self) -> bool {
        self.uses_tcp
    }

    pub(super) async fn dial(&self) -> io::Result<Box<dyn Transport>> {
        self.dial.dial().await
    }
}

impl From<ServerAddress> for Endpoint {
    fn from(address: ServerAddress) -> Self {
        Self {
            uses_tcp: true,
            ..Self::new(address.clone(), address)
        }
    }
}

#[async_trait]
impl Dial for ServerAddress {
    async fn dial(&self) -> io::Result<Box<dyn Transport>> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the host name has no address");
        for address in tokio::net::lookup_host((self.host.as_str(), self.port)).await? {
            match tcp::connect(address, &tcp::TcpOptions::default()).await {
                Ok(stream) => return Ok(Box::new(stream)),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

#[async_trait]
impl Dial for MemoryConnector {
    async fn dial(&self) -> io::Result<Box<dyn Transport>> {
        Ok(Box::new(self.connect().await?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zone_is_kept_for_this_machine_and_not_sent() {
        let address: ServerAddress = "[fe80::1%25Eth0]:9000".parse().unwrap();
        assert_eq!(address.host, "fe80::1%Eth0");
        assert_eq!(address.host_without_zone(), "fe80::1");
        assert_eq!(address.to_string().parse(), Ok(address));
    }

    #[test]
    fn addresses_are_parsed_and_other_texts_refused() {
        let parse = |text| ServerAddress::parse(text, Scheme::Plain).map(|address| address.to_string());
        assert_eq!(parse("localhost:7").as_deref(), Ok("plain://localhost:7"));
        assert_eq!(parse("Chat.Example").as_deref(), Ok("plain://chat.example:7400"));
        assert_eq!(parse("sc1://1.2.3.4:5").as_deref(), Ok("sc1://1.2.3.4:5"));
        assert_eq!(parse("tls://[::1]:5").as_deref(), Ok("tls://[::1]:5"));
        assert_eq!(parse("[::1]").as_deref(), Ok("plain://[::1]:7400"));
        assert_eq!(parse("::1").as_deref(), Ok("plain://[::1]:7400"));
        assert_eq!(
            parse("[fe80::1%eth0]:9000").as_deref(),
            Ok("plain://[fe80::1%eth0]:9000")
        );
        assert_eq!(
            parse("sc1://[fe80::1%25Wlan-0.1]").as_deref(),
            Ok("sc1://[fe80::1%Wlan-0.1]:7400")
        );
        assert_eq!(parse("fe80::1%2").as_deref(), Ok("plain://[fe80::1%2]:7400"));
        assert_eq!(parse("[fe80::1%25]:1").as_deref(), Ok("plain://[fe80::1%25]:1"));
        for wrong in [
            "[fe80::1%]:1",
            "[fe80::1%e th]:1",
            "[fe80::1%eth0%1]:1",
            "fe80::1%eth0:9000",
            "host%eth0",
            "1.2.3.4%eth0",
            "",
            ":7",
            "host:",
            "host:70000",
            "http://host",
            "ho st",
            "a@b",
            "[::1]5",
            "[localhost]:5",
            "[127.0.0.1]:5",
            "host/x",
            "a:b:7",
            "sc1://::1:74000",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
