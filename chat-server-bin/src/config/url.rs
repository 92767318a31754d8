//! The URLs in a configuration: where to listen, where the store is.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;
use std::str::FromStr;
use std::{fmt, io};

/// What a port speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// The project's own secure channel.
    Sc1,
    /// TLS 1.3.
    Tls,
    /// Nothing secure: for this machine and for tests.
    Plain,
}

impl Scheme {
    pub(crate) const ALL: [Self; 3] = [Self::Sc1, Self::Tls, Self::Plain];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Sc1 => "sc1",
            Self::Tls => "tls",
            Self::Plain => "plain",
        }
    }
}

/// After a scheme: behind a load balancer.
const PROXY: &str = "+proxy";

/// An address to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listen {
    pub(crate) scheme: Scheme,
    /// Each connection begins with a PROXY header.
    pub(crate) is_behind_proxy: bool,
    host: String,
    port: u16,
}

impl Listen {
    /// Whether only this machine can reach it.
    pub(crate) fn is_loopback(&self) -> bool {
        match self.host.parse::<IpAddr>() {
            Ok(address) => address.is_loopback(),
            Err(_) => self.host.eq_ignore_ascii_case("localhost"),
        }
    }

    /// The socket address; asks the resolver if the host is a name.
    ///
    /// # Errors
    /// The name has no address.
    pub(crate) fn resolve(&self) -> io::Result<SocketAddr> {
        let mut addresses = (self.host.as_str(), self.port).to_socket_addrs()?;
        addresses.next().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            scheme,
            is_behind_proxy,
            host,
            port,
        } = self;
        let proxy = if *is_behind_proxy { PROXY } else { "" };
        if host.contains(':') {
            write!(f, "{}{proxy}://[{host}]:{port}", scheme.name())
        } else {
            write!(f, "{}{proxy}://{host}:{port}", scheme.name())
        }
    }
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no listen URL; write one like \"sc1://127.0.0.1:7400\"");
        let (scheme, rest) = text.split_once("://").ok_or_else(wrong)?;
        let (scheme, is_behind_proxy) = match scheme.strip_suffix(PROXY) {
            Some(scheme) => (scheme, true),
            None => (scheme, false),
        };
        let scheme = Scheme::ALL
            .into_iter()
            .find(|known| known.name() == scheme)
            .ok_or_else(|| {
                let known = Scheme::ALL.map(Scheme::name).join(", ");
                format!("{text:?}: this server cannot listen for {scheme:?}; it knows: {known}")
            })?;
        let (host, port) = rest.rsplit_once(':').ok_or_else(|| format!("{text:?} lacks a port"))?;
        let host = match host.strip_prefix('[') {
            Some(inner) => inner.strip_suffix(']').ok_or_else(wrong)?,
            None if host.contains(':') => return Err(format!("{text:?}: write an IPv6 address in brackets")),
            None => host,
        };
        let port = port
            .parse()
            .map_err(|_| format!("{text:?}: {port:?} is no port number"))?;
        let odd = |c: char| c.is_whitespace() || c.is_control() || "/?#@".contains(c);
        if host.is_empty() || host.contains(odd) {
            return Err(wrong());
        }
        Ok(Self {
            scheme,
            is_behind_proxy,
            host: host.to_owned(),
            port,
        })
    }
}

/// Where everything durable is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StoreUrl {
    /// In files of this directory, or of the data directory.
    Sqlite(Option<PathBuf>),
    /// In a MySQL or MariaDB database, which other nodes may share.
    Mysql(Secret),
}

/// A URL that may hold a password.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(pub(crate) String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&masked(&self.0))
    }
}

impl FromStr for StoreUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (scheme, rest) = text.split_once(':').unwrap_or((text, ""));
        match scheme {
            "sqlite" => {
                let path = rest.strip_prefix("//").unwrap_or(rest);
                Ok(Self::Sqlite((!path.is_empty()).then(|| PathBuf::from(path))))
            }
            "mysql" | "mariadb" if rest.starts_with("//") => Ok(Self::Mysql(Secret(format!("mysql:{rest}")))),
            // Not shown: what stands here may hold a password.
            _ => Err(
                "no store is called that; write \"sqlite:\", \"sqlite:DIRECTORY\" or \"mysql://USER:PASSWORD@HOST:PORT/DATABASE\""
                    .to_owned(),
            ),
        }
    }
}

/// `url` with `***` in place of a password.
pub(crate) fn masked(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let authority = rest.find('/').unwrap_or(rest.len());
    let Some(at) = rest[..authority].rfind('@') else {
        return url.to_owned();
    };
    let user = rest[..at].split(':').next().unwrap_or_default();
    format!("{scheme}://{user}:***{}", &rest[at..])
}
