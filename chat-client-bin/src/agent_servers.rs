//! The servers, keys and authorities that an agent uses. A command that runs through the agent
//! cannot choose others.

use std::collections::BTreeSet;
use std::path::PathBuf;

use chat_core::client::{Scheme, ServerAddress};
use chat_core::secure::Fingerprint;

use crate::authorities;
use crate::failure::Failure;

/// Servers, keys and authorities given on the command line.
#[derive(Debug, Default)]
pub(crate) struct RequestedServers {
    pub(crate) servers: Vec<ServerAddress>,
    pub(crate) pins: Vec<Fingerprint>,
    /// File given with `--ca`.
    pub(crate) ca: Option<PathBuf>,
}

/// Servers that an agent connects to, and the keys and authorities that it accepts from them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct AgentServers {
    pub(crate) servers: Vec<ServerAddress>,
    /// Keys given on the command line of the agent, otherwise the keys that its profile has pinned.
    pub(crate) pins: Vec<Fingerprint>,
    /// Digest of the file given with `--ca` on the command line of the agent; `None` without it.
    pub(crate) authorities: Option<Fingerprint>,
}

impl AgentServers {
    /// Formats the value as lines of `server ADDRESS`, `pin FINGERPRINT` and `ca DIGEST`.
    pub(crate) fn format(&self) -> String {
        let servers = self.servers.iter().map(|server| format!("server {server}"));
        let pins = self.pins.iter().map(|pin| format!("pin {pin}"));
        let authorities = self.authorities.iter().map(|digest| format!("ca {digest}"));
        servers.chain(pins).chain(authorities).collect::<Vec<_>>().join("\n")
    }

    /// Parses what [`format`](Self::format) wrote. Ignores other lines.
    pub(crate) fn parse(text: &str) -> Self {
        let values = |key: &'static str| {
            let lines = text.lines().filter_map(|line| line.split_once(' '));
            lines.filter(move |(found, _)| *found == key).map(|(_, value)| value)
        };
        Self {
            servers: values("server").filter_map(|value| value.parse().ok()).collect(),
            pins: values("pin").filter_map(|value| value.parse().ok()).collect(),
            authorities: values("ca").find_map(|value| value.parse().ok()),
        }
    }

    /// Refuses servers that the agent does not use, and authorities unless the agent was started
    /// with a file of the same content. Refuses keys if the agent accepts another key or pins none,
    /// or if one of its servers is not encrypted. A file of authorities that cannot be read is an
    /// error too.
    pub(crate) fn check(&self, requested: &RequestedServers) -> Result<(), Failure> {
        let refuse = |option: &str, used: String| {
            Err(Failure::usage(format!(
                "another chat-client has this account open and uses {used}: end that process first, or leave {option} out"
            )))
        };
        if let Some(other) = requested.servers.iter().find(|server| !self.servers.contains(server)) {
            let used: BTreeSet<_> = self.servers.iter().map(ServerAddress::to_string).collect();
            let used: Vec<_> = used.into_iter().collect();
            return refuse("--server", format!("{}, not {other}", used.join(" and ")));
        }
        if let Some(ca) = &requested.ca
            && self.authorities != Some(authorities::digest(ca)?)
        {
            let used = match self.authorities {
                Some(_) => "other authorities",
                None => "a server without --ca",
            };
            return refuse("--ca", used.to_owned());
        }
        if requested.pins.is_empty() {
            return Ok(());
        }
        if self.servers.iter().any(|server| server.scheme == Scheme::Plain) {
            return refuse("--pin", "a server without encryption".to_owned());
        }
        if self.pins.is_empty() {
            return refuse("--pin", "a server without --pin".to_owned());
        }
        if !self.pins.iter().all(|pin| requested.pins.contains(pin)) {
            let used: Vec<_> = self.pins.iter().map(Fingerprint::to_string).collect();
            return refuse("--pin", format!("a server whose key is {}", used.join(" or ")));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(letter: char) -> Fingerprint {
        format!("sha256:{}", letter.to_string().repeat(42) + "A")
            .parse()
            .unwrap()
    }

    fn servers(texts: &[&str]) -> Vec<ServerAddress> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn formatted_servers_keys_and_authorities_are_read_back() {
        let used = AgentServers {
            servers: servers(&["sc1://a:1", "tls://[::1]:2"]),
            pins: vec![key('A'), key('B')],
            authorities: Some(key('C')),
        };
        assert_eq!(AgentServers::parse(&used.format()), used);
        assert_eq!(AgentServers::parse("later version"), AgentServers::default());
    }

    #[test]
    fn command_through_an_agent_cannot_choose_other_servers_or_keys() {
        let used = AgentServers {
            servers: servers(&["sc1://a:1", "sc1://b:1"]),
            pins: vec![key('A')],
            ..AgentServers::default()
        };
        let check = |addresses: &[&str], pins: &[Fingerprint]| {
            let requested = RequestedServers {
                servers: servers(addresses),
                pins: pins.to_vec(),
                ca: None,
            };
            used.check(&requested).map_err(|failure| failure.text)
        };
        assert!(check(&[], &[]).is_ok());
        assert!(check(&["sc1://b:1"], &[key('A'), key('B')]).is_ok());
        let other = check(&["sc1://a:1", "sc1://c:1"], &[]).unwrap_err();
        assert!(other.contains("sc1://a:1 and sc1://b:1, not sc1://c:1"), "{other}");
        assert!(check(&["tls://a:1"], &[]).is_err());
        let pinned = check(&[], &[key('B')]).unwrap_err();
        assert!(
            pinned.contains(&key('A').to_string()) && pinned.contains("--pin"),
            "{pinned}"
        );
        let unpinned = AgentServers {
            servers: servers(&["sc1://a:1"]),
            ..AgentServers::default()
        };
        let requested = RequestedServers {
            pins: vec![key('A')],
            ..RequestedServers::default()
        };
        let refused = unpinned.check(&requested).unwrap_err().text;
        assert!(refused.contains("without --pin: end that process"), "{refused}");
        let plain = AgentServers {
            servers: servers(&["plain://a:1"]),
            pins: vec![key('A')],
            ..AgentServers::default()
        };
        let pins = vec![key('A')];
        assert!(
            plain
                .check(&RequestedServers {
                    pins,
                    ..RequestedServers::default()
                })
                .is_err()
        );
    }

    #[test]
    fn command_through_an_agent_cannot_choose_other_authorities() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, content).unwrap();
            path
        };
        let used = |ca: Option<&str>| AgentServers {
            authorities: ca.map(|content| authorities::digest(&file("used", content)).unwrap()),
            ..AgentServers::default()
        };
        let requested = RequestedServers {
            ca: Some(file("wanted", "one")),
            ..RequestedServers::default()
        };
        assert!(used(Some("one")).check(&requested).is_ok());
        assert!(used(Some("one")).check(&RequestedServers::default()).is_ok());
        let refused = |ca: Option<&str>| used(ca).check(&requested).unwrap_err().text;
        assert!(refused(None).contains("without --ca: end that process"));
        assert!(refused(Some("two")).contains("other authorities"));
    }
}
