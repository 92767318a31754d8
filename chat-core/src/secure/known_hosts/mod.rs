//! Which server has which key: `known_hosts`, one line per pin.
//!
//! ```text
//! # name:port              key                                                    comment
//! chat.example:7400        sha256:g1DrklWQYbNAC0U1scDNwH7/eO4V7I82H3cgmciSuCQ     first seen 2026-11-20
//! [2001:db8::1]:7400       sha256:g1DrklWQYbNAC0U1scDNwH7/eO4V7I82H3cgmciSuCQ
//! ```
//! Several lines for one host allow each of their keys. A line that cannot be read makes the whole file unusable: were it skipped, a
//! damaged pin would look like a server never met before.

mod file;
#[cfg(test)]
mod tests;

use super::{Fingerprint, PinPolicy};

pub use file::KnownHostsFile;

/// The pins of one client.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownHosts {
    pins: Vec<(String, Fingerprint)>,
}

/// What to do about a server without a pin. A server with another key than its pin is always refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Trust {
    /// Refuse it.
    #[default]
    Strict,
    /// Take its key and remember it. Whoever stands in the way at this first contact is the one remembered, and gets the password.
    AcceptNew,
    /// As [`AcceptNew`](Self::AcceptNew), as long as nothing at all is pinned. Later a server under a new name must show one of the keys
    /// that are pinned: for a client of one service, whose nodes share a key.
    AcceptFirst,
}

/// What the pins say about a key.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// It is pinned for this host.
    Known,
    /// Nothing is pinned for this host.
    Unknown,
    /// Others are pinned for this host.
    Changed {
        /// The pinned keys.
        expected: Vec<Fingerprint>,
    },
}

/// Why the pins cannot be used, or forbid a connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KnownHostsError {
    /// A line is not `name:port sha256:BASE64 comment`.
    #[error("line {line} is not `name:port sha256:BASE64 comment`")]
    Line {
        /// Number of the line, from 1.
        line: usize,
    },
    /// A name that could not be read back from a line.
    #[error("{0:?} is not a host and port")]
    InvalidHost(String),
    /// The policy is strict and nothing is pinned.
    #[error("no key is pinned for {0}")]
    NotPinned(String),
    /// The server has another key than the pinned one. Nothing was sent to it.
    #[error(
        "the key of {host} has changed: it showed {presented}, pinned is {}; \
         unless its operator announced a new key, somebody may be in between",
        list(.expected)
    )]
    KeyChanged {
        /// The server, `name:port`.
        host: String,
        /// The key it showed.
        presented: Fingerprint,
        /// The pinned keys.
        expected: Vec<Fingerprint>,
    },
    /// The file could not be read or written.
    #[error("{path}")]
    File {
        /// The file.
        path: String,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
}

impl KnownHosts {
    /// Reads the lines of a file. Empty lines and those that begin with `#` say nothing.
    ///
    /// # Errors
    /// [`KnownHostsError::Line`] for the first line that says something else than a pin.
    pub fn parse(text: &str) -> Result<Self, KnownHostsError> {
        let mut pins = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let pin = parse_line(line).ok_or(KnownHostsError::Line { line: index + 1 })?;
            pins.push(pin);
        }
        Ok(Self { pins })
    }

    /// What the pins say about `presented` as the key of `host` (see [`host_and_port`]).
    #[must_use]
    pub fn check(&self, host: &str, presented: &Fingerprint) -> Verdict {
        let expected = self.pins_of(host);
        if expected.is_empty() {
            Verdict::Unknown
        } else if expected.contains(presented) {
            Verdict::Known
        } else {
            Verdict::Changed { expected }
        }
    }

    /// The policy for a handshake with `host`.
    ///
    /// # Errors
    /// [`KnownHostsError::NotPinned`]: nothing is pinned and `trust` is [`Trust::Strict`].
    pub fn policy(&self, host: &str, trust: Trust) -> Result<PinPolicy, KnownHostsError> {
        let pins = self.pins_of(host);
        match trust {
            _ if !pins.is_empty() => Ok(PinPolicy::AnyOf(pins)),
            Trust::AcceptFirst if !self.pins.is_empty() => {
                Ok(PinPolicy::AnyOf(self.pins.iter().map(|(_, pin)| *pin).collect()))
            }
            Trust::AcceptNew | Trust::AcceptFirst => Ok(PinPolicy::FirstContact),
            Trust::Strict => Err(KnownHostsError::NotPinned(host.to_owned())),
        }
    }

    fn pins_of(&self, host: &str) -> Vec<Fingerprint> {
        self.pins
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case(host))
            .map(|(_, pin)| *pin)
            .collect()
    }
}

/// How a host stands in the file: `name:port`, with brackets around an IPv6 address.
#[must_use]
pub fn host_and_port(name: &str, port: u16) -> String {
    let name = name.to_ascii_lowercase();
    if name.contains(':') && !name.starts_with('[') {
        format!("[{name}]:{port}")
    } else {
        format!("{name}:{port}")
    }
}

/// The line, without a line end, that pins `key` for `host`. Control characters in the comment become spaces.
///
/// # Errors
/// [`KnownHostsError::InvalidHost`]: `host` is not one word ending in a port.
pub fn format_line(host: &str, key: &Fingerprint, comment: &str) -> Result<String, KnownHostsError> {
    if !is_host(host) {
        return Err(KnownHostsError::InvalidHost(host.to_owned()));
    }
    let comment: String = comment.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let line = format!("{host} {key} {comment}");
    Ok(line.trim_end().to_owned())
}

fn parse_line(line: &str) -> Option<(String, Fingerprint)> {
    let mut words = line.split_whitespace();
    let (host, key) = (words.next()?, words.next()?);
    is_host(host).then_some(())?;
    Some((host.to_owned(), key.parse().ok()?))
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
