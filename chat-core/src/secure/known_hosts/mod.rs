//! Pinned server keys: the `known_hosts` file, with one line for each pin. A pin is a key that the
//! client accepts from a host.
//!
//! ```text
//! # name:port         key                                                 comment
//! chat.example:7400   sha256:g1DrklWQYbNAC0U1sc3Afv947hXsjzYfdyCZyJKuJAg  first seen 2026-11-20
//! [2001:db8::1]:7400  sha256:g1DrklWQYbNAC0U1sc3Afv947hXsjzYfdyCZyJKuJAg
//! ```
//! Several lines for one host allow each of their keys. A line with the word `authority` in place
//! of a key says that the host has proved itself by a certificate of a trusted authority (TLS
//! only). From then on, the host is refused without such a certificate, unless a key is pinned for
//! it too. Keys that the application gives to a client (`ClientOptions::pins`) take precedence: the
//! client then accepts these keys only, whatever the file says. A line that cannot be parsed makes
//! the whole file unusable: if it were skipped, a server with a damaged pin would look like an
//! unknown server.

mod file;
mod spelling;
#[cfg(test)]
mod tests;

use super::{Fingerprint, PinPolicy};

pub use file::KnownHostsFile;
#[cfg(feature = "client")]
pub(crate) use spelling::LOOPBACK;
pub(crate) use spelling::canonical_host;

/// What one client knows about servers: pins, each of which is a host, as `name:port`, with a key,
/// and the hosts that proved themselves by a certificate.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownHosts {
    pins: Vec<(String, Fingerprint)>,
    /// Hosts that proved themselves by a certificate of a trusted authority.
    certified: Vec<String>,
}

/// Word in place of a key, for a host that proved itself by a certificate.
const AUTHORITY: &str = "authority";

/// Policy of a client for servers without a pinned key. Whatever the policy, a server with pinned
/// keys must present one of them, and any other server that has proved itself by a certificate of a
/// trusted authority must do so again. The policy does not matter if the application gives the
/// client the keys to accept (`ClientOptions::pins`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Trust {
    /// The client refuses the server, unless it has a certificate of a trusted authority (TLS
    /// only).
    #[default]
    Strict,
    /// The client accepts the server's key and pins it, unless it accepts a certificate of a
    /// trusted authority instead (TLS only). If an attacker intercepts this first contact, the
    /// client pins the attacker's key and sends the password to the attacker.
    AcceptNew,
    /// While no key is pinned for any host, and no host has proved itself by a certificate, the
    /// client behaves as with [`AcceptNew`](Self::AcceptNew). After that, a server under a new name
    /// must present one of the pinned keys, or if there are none, a certificate of a trusted
    /// authority. This suits a client of one service whose nodes share a key.
    AcceptFirst,
}

/// Result of comparing a key with the pins.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PinVerdict {
    /// The key is pinned for this host.
    Known,
    /// No key is pinned for this host.
    Unknown,
    /// Only other keys are pinned for this host.
    Changed {
        /// The keys that are pinned for the host.
        expected: Vec<Fingerprint>,
    },
}

/// Error of reading or writing pins, or of connecting to a server whose key the pins do not allow.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KnownHostsError {
    /// A line is neither `name:port sha256:BASE64` nor `name:port authority`, with or without a
    /// comment after it.
    #[error(
        "line {line} of the known hosts is neither `name:port sha256:BASE64 [comment]` nor `name:port authority \
         [comment]`; correct or remove it"
    )]
    Line {
        /// Number of the line, counted from 1.
        line: usize,
    },
    /// The host is not `name:port`, so that a line with it could not be parsed.
    #[error("{0:?} is not a server address of the form name:port")]
    InvalidHost(String),
    /// No key is pinned for the host, and the policy accepts no new key.
    #[error("no key is pinned for {0}; pin the fingerprint of the server's key first")]
    NotPinned(String),
    /// The host has proved itself by a certificate of a trusted authority before, and did not this
    /// time.
    #[error(
        "{0} has proved itself by a certificate before, and has none now that a trusted authority issued for it; unless \
         its operator announced this, an attacker may be intercepting the connection"
    )]
    NoCertificate(String),
    /// The server's key is none of the keys that are pinned for the host. The client sent no
    /// application data.
    #[error(
        "the key of {host} has changed: the server presented {presented}, but {} is pinned; \
         unless its operator announced a new key, an attacker may be intercepting the connection",
        list(.expected)
    )]
    KeyChanged {
        /// The server, as `name:port`.
        host: String,
        /// Fingerprint of the key that the server presented.
        presented: Fingerprint,
        /// The keys that are pinned for the host.
        expected: Vec<Fingerprint>,
    },
    /// The file cannot be read or written.
    #[error("cannot read or write the known hosts in {path}")]
    File {
        /// Path of the file.
        path: String,
        /// Error of the operating system.
        #[source]
        source: std::io::Error,
    },
}

impl KnownHosts {
    /// Parses the text of a file. Empty lines and lines that begin with `#` are ignored.
    ///
    /// # Errors
    /// [`KnownHostsError::Line`] for the first line of another form.
    pub fn parse(text: &str) -> Result<Self, KnownHostsError> {
        let mut known = Self::default();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match parse_line(line).ok_or(KnownHostsError::Line { line: index + 1 })? {
                (host, Some(key)) => known.pins.push((host, key)),
                (host, None) => known.certified.push(host),
            }
        }
        Ok(known)
    }

    /// Returns whether a key is pinned for `host`.
    #[cfg(feature = "client")]
    pub(crate) fn is_pinned(&self, host: &str) -> bool {
        !self.pins_of(host).is_empty()
    }

    /// Returns whether `host`, under any of its spellings, has proved itself by a certificate of a
    /// trusted authority.
    pub(crate) fn is_certified(&self, host: &str) -> bool {
        let canonical = |host: &str| {
            host.rsplit_once(':')
                .map(|(name, port)| (canonical_host(name), port.to_owned()))
        };
        let wanted = canonical(host);
        self.certified.iter().any(|host| canonical(host) == wanted)
    }

    /// Returns all pinned keys.
    #[doc(hidden)]
    pub fn keys(&self) -> impl Iterator<Item = Fingerprint> {
        self.pins.iter().map(|(_, key)| *key)
    }

    /// Compares `presented` with the pins of `host` (see [`host_and_port`]).
    #[doc(hidden)]
    #[must_use]
    pub fn check(&self, host: &str, presented: &Fingerprint) -> PinVerdict {
        let expected = self.pins_of(host);
        if expected.is_empty() {
            PinVerdict::Unknown
        } else if expected.contains(presented) {
            PinVerdict::Known
        } else {
            PinVerdict::Changed { expected }
        }
    }

    /// Returns whether no key is pinned for `host`, so that `key` can be pinned. Returns `false` if
    /// `key` is pinned already.
    ///
    /// # Errors
    /// [`KnownHostsError::KeyChanged`]: only other keys are pinned for `host`.
    /// [`KnownHostsError::NoCertificate`]: no key is pinned for `host`, and it has proved itself by
    /// a certificate before.
    pub(crate) fn needs_pin(&self, host: &str, key: &Fingerprint) -> Result<bool, KnownHostsError> {
        match self.check(host, key) {
            PinVerdict::Known => Ok(false),
            PinVerdict::Unknown if self.is_certified(host) => Err(KnownHostsError::NoCertificate(host.to_owned())),
            PinVerdict::Unknown => Ok(true),
            PinVerdict::Changed { expected } => Err(KnownHostsError::KeyChanged {
                host: host.to_owned(),
                presented: *key,
                expected,
            }),
        }
    }

    /// Returns which keys the client accepts in a handshake with `host`, whatever its certificate.
    ///
    /// # Errors
    /// [`KnownHostsError::NotPinned`]: either `trust` is [`Trust::Strict`] and no key is pinned for
    /// `host`, or `trust` is [`Trust::AcceptFirst`], no key is pinned for any host, and a host has
    /// proved itself by a certificate.
    #[doc(hidden)]
    pub fn policy(&self, host: &str, trust: Trust) -> Result<PinPolicy, KnownHostsError> {
        let pins = self.pins_of(host);
        match trust {
            _ if !pins.is_empty() => Ok(PinPolicy::AnyOf(pins)),
            Trust::AcceptFirst if !self.pins.is_empty() => {
                Ok(PinPolicy::AnyOf(self.pins.iter().map(|(_, pin)| *pin).collect()))
            }
            Trust::AcceptNew => Ok(PinPolicy::FirstContact),
            Trust::AcceptFirst if self.certified.is_empty() => Ok(PinPolicy::FirstContact),
            Trust::AcceptFirst | Trust::Strict => Err(KnownHostsError::NotPinned(host.to_owned())),
        }
    }

    /// Returns the hosts that have a pinned key, or have proved themselves by a certificate.
    #[cfg(feature = "client")]
    fn hosts(&self) -> impl Iterator<Item = &String> {
        self.pins.iter().map(|(host, _)| host).chain(&self.certified)
    }

    /// Returns whether `port` of the host `name` has a pinned key or has proved itself by a
    /// certificate, under any of the host's spellings.
    #[cfg(feature = "client")]
    pub(crate) fn is_port_known(&self, name: &str, port: u16) -> bool {
        let name = canonical_host(name);
        let mut known = self.hosts().filter_map(|host| host.rsplit_once(':'));
        known.any(|(host, known_port)| known_port.parse() == Ok(port) && canonical_host(host) == name)
    }

    /// Returns whether any port of the host `name` has a pinned key or has proved itself by a
    /// certificate, under any of the host's spellings.
    #[cfg(feature = "client")]
    pub(crate) fn is_host_known(&self, name: &str) -> bool {
        let name = canonical_host(name);
        let mut known = self.hosts().filter_map(|host| host.rsplit_once(':'));
        known.any(|(host, _)| canonical_host(host) == name)
    }

    /// Returns the keys that are pinned for `host`. Unlike [`is_certified`](Self::is_certified),
    /// this ignores only the case of letters, not other differences in spelling.
    fn pins_of(&self, host: &str) -> Vec<Fingerprint> {
        self.pins
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case(host))
            .map(|(_, pin)| *pin)
            .collect()
    }
}

/// Returns a host in the form of the file: `name:port`, with brackets around an IPv6 address.
/// Changes the ASCII letters of `name` to lower case.
#[must_use]
pub fn host_and_port(name: &str, port: u16) -> String {
    let name = name.to_ascii_lowercase();
    if name.contains(':') && !name.starts_with('[') {
        format!("[{name}]:{port}")
    } else {
        format!("{name}:{port}")
    }
}

/// Returns the line, without a line end, that pins `key` for `host`. Control characters in the
/// comment are replaced by spaces.
///
/// # Errors
/// [`KnownHostsError::InvalidHost`]: `host` is not `name:port`, so that the line could not be
/// parsed.
pub fn format_pin(host: &str, key: &Fingerprint, comment: &str) -> Result<String, KnownHostsError> {
    if !is_host(host) {
        return Err(KnownHostsError::InvalidHost(host.to_owned()));
    }
    let comment: String = comment.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let line = format!("{host} {key} {comment}");
    Ok(line.trim_end().to_owned())
}

/// Returns the line, without a line end, that records that `host` has proved itself by a
/// certificate.
///
/// # Errors
/// As for [`format_pin`].
pub(crate) fn format_authority(host: &str) -> Result<String, KnownHostsError> {
    if !is_host(host) {
        return Err(KnownHostsError::InvalidHost(host.to_owned()));
    }
    Ok(format!("{host} {AUTHORITY}"))
}

/// Returns the host of a line and its key, with `None` as the key if the line has [`AUTHORITY`] in
/// its place. Returns `None` if the line cannot be parsed.
fn parse_line(line: &str) -> Option<(String, Option<Fingerprint>)> {
    let mut words = line.split_whitespace();
    let (host, key) = (words.next()?, words.next()?);
    is_host(host).then_some(())?;
    let key = match key {
        AUTHORITY => None,
        key => Some(key.parse().ok()?),
    };
    Some((host.to_owned(), key))
}

fn is_host(word: &str) -> bool {
    let Some((name, port)) = word.rsplit_once(':') else {
        return false;
    };
    let clean = |c: char| !c.is_whitespace() && !c.is_control();
    let bracketed = name.starts_with('[') && name.ends_with(']');
    !name.is_empty()
        && !name.starts_with('#')
        && name.chars().all(clean)
        && (bracketed || !name.contains(':'))
        && port.bytes().all(|byte| byte.is_ascii_digit())
        && port.parse::<u16>().is_ok()
}

fn list(keys: &[Fingerprint]) -> String {
    let keys: Vec<_> = keys.iter().map(Fingerprint::to_string).collect();
    keys.join(" or ")
}
