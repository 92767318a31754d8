//! URLs in a configuration: the addresses to listen on, and the location of the store.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::{fmt, io};

use super::mask;

/// Protocol of a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// SC1, the secure channel of the chat engine.
    Sc1,
    /// TLS 1.3.
    Tls,
    /// No encryption; meant for loopback addresses and tests.
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

/// Suffix of the scheme of an address behind a load balancer that speaks the PROXY protocol.
const PROXY_SUFFIX: &str = "+proxy";

/// URL of an address to listen on, such as `sc1://127.0.0.1:7400`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListenUrl {
    pub(crate) scheme: Scheme,
    /// `true` if each connection begins with a PROXY header, in which a load balancer reports the
    /// address of the client.
    pub(crate) is_behind_proxy: bool,
    host: String,
    port: u16,
}

impl ListenUrl {
    /// Returns `true` if only this machine can reach the address.
    pub(crate) fn is_loopback(&self) -> bool {
        match self.host.parse::<IpAddr>() {
            Ok(address) => address.is_loopback(),
            Err(_) => self.host.eq_ignore_ascii_case("localhost"),
        }
    }

    /// Returns the socket address. If the host is a name, queries the resolver, which blocks, and
    /// takes its first address.
    ///
    /// # Errors
    /// The name cannot be resolved.
    pub(crate) fn resolve(&self) -> io::Result<SocketAddr> {
        let mut addresses = (self.host.as_str(), self.port).to_socket_addrs()?;
        addresses.next().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl fmt::Display for ListenUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            scheme,
            is_behind_proxy,
            host,
            port,
        } = self;
        let proxy = if *is_behind_proxy { PROXY_SUFFIX } else { "" };
        if host.contains(':') {
            write!(f, "{}{proxy}://[{host}]:{port}", scheme.name())
        } else {
            write!(f, "{}{proxy}://{host}:{port}", scheme.name())
        }
    }
}

impl FromStr for ListenUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let invalid = || format!("{text:?} is not a listen URL; write a URL such as \"sc1://127.0.0.1:7400\"");
        let (scheme, rest) = text.split_once("://").ok_or_else(invalid)?;
        let (scheme, is_behind_proxy) = match scheme.strip_suffix(PROXY_SUFFIX) {
            Some(scheme) => (scheme, true),
            None => (scheme, false),
        };
        let scheme = Scheme::ALL
            .into_iter()
            .find(|known| known.name() == scheme)
            .ok_or_else(|| {
                let known = Scheme::ALL.map(Scheme::name).join(", ");
                format!("{text:?}: unknown scheme {scheme:?}; the schemes are: {known}")
            })?;
        let (host, port) = rest
            .rsplit_once(':')
            .ok_or_else(|| format!("{text:?} has no port; write SCHEME://HOST:PORT"))?;
        let host = match host.strip_prefix('[') {
            Some(inner) => inner.strip_suffix(']').ok_or_else(invalid)?,
            None if host.contains(':') => {
                return Err(format!("{text:?}: write an IPv6 address in brackets, such as [::1]"));
            }
            None => host,
        };
        let port = port
            .parse()
            .map_err(|_| format!("{text:?}: {port:?} is not a port number; ports are 0 to 65535"))?;
        let is_invalid = |c: char| c.is_whitespace() || c.is_control() || "/?#@".contains(c);
        if host.is_empty() || host.contains(is_invalid) {
            return Err(invalid());
        }
        Ok(Self {
            scheme,
            is_behind_proxy,
            host: host.to_owned(),
            port,
        })
    }
}

/// Location of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StoreUrl {
    /// SQLite files in this directory, or in the data directory if `None`.
    Sqlite(Option<PathBuf>),
    /// A MySQL or MariaDB database, which other nodes may share.
    Mysql(SecretUrl),
}

/// A URL that may contain a password; `Debug` masks it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct SecretUrl(pub(crate) String);

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&mask::masked(&self.0))
    }
}

impl StoreUrl {
    /// Returns which store this is, without the user and password of the database, to compare the
    /// stores of two configurations. `None` if the configuration leaves the store to the default:
    /// files in the data directory.
    pub(crate) fn location(&self) -> Option<String> {
        match self {
            Self::Sqlite(directory) => directory.as_deref().map(sqlite_location),
            Self::Mysql(url) => {
                let text = url.0.split_once("//").map_or(url.0.as_str(), |(_, rest)| rest);
                let text = text.split_once('?').map_or(text, |(before, _)| before);
                let (authority, database) = text.split_once('/').unwrap_or((text, ""));
                let address = authority.rsplit_once('@').map_or(authority, |(_, address)| address);
                let address = address.strip_suffix(":3306").unwrap_or(address);
                Some(format!("mysql://{address}/{database}"))
            }
        }
    }

    /// Returns [`location`](Self::location) of the store that a server with this data directory
    /// uses.
    pub(crate) fn location_in(&self, data_dir: &Path) -> String {
        self.location().unwrap_or_else(|| sqlite_location(data_dir))
    }
}

fn sqlite_location(directory: &Path) -> String {
    let directory = directory.canonicalize().unwrap_or_else(|_| directory.to_owned());
    format!("sqlite:{}", directory.display())
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
            "mysql" | "mariadb" if rest.starts_with("//") => Ok(Self::Mysql(SecretUrl(format!("mysql:{rest}")))),
            // The value is not shown: it may contain a password.
            _ => Err(
                "is not a store URL; write \"sqlite:\", \"sqlite:DIRECTORY\" or \"mysql://USER:PASSWORD@HOST:PORT/DATABASE\""
                    .to_owned(),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn location_of_a_store_contains_no_credentials_and_only_what_tells_stores_apart() {
        let location = |url: &str| url.parse::<StoreUrl>().unwrap().location();
        let same = Some("mysql://db.example/chat".to_owned());
        assert_eq!(location("mysql://chat:p%40ss@db.example/chat"), same);
        assert_eq!(location("mariadb://admin:pw@db.example:3306/chat?ssl=true"), same);
        assert_ne!(location("mysql://db.example/staging"), same);
        assert_eq!(location("sqlite:"), None);
    }
}
