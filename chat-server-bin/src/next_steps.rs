//! Next steps of a person who has started a server at a terminal: the commands that create an
//! account and connect.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Values that the printed commands contain, so that clients reach the server that has started.
#[derive(Debug)]
pub(crate) struct StartedServer<'a> {
    /// Listeners to which clients connect without a proxy: protocol and address.
    pub(crate) listeners: Vec<(&'static str, SocketAddr)>,
    /// Fingerprint of the identity key.
    pub(crate) fingerprint: &'a str,
    /// Fingerprint of the key of the configured TLS certificate, if there is one.
    pub(crate) tls_fingerprint: Option<String>,
    /// True if users may create their own accounts.
    pub(crate) is_registration_open: bool,
}

/// Returns the next steps, or an empty text if clients connect through a proxy only.
pub(crate) fn next_steps(started_server: &StartedServer<'_>) -> String {
    let Some((protocol, address)) = started_server.best_listener() else {
        return String::new();
    };
    let pin = match (protocol, &started_server.tls_fingerprint) {
        ("plain", _) => String::new(),
        ("tls", Some(fingerprint)) => format!(" --pin {fingerprint}"),
        _ => format!(" --pin {}", started_server.fingerprint),
    };
    let server = format!("--server {protocol}://{}{pin}", reachable(address));
    let mut text = "\nTo connect, in another terminal:\n".to_owned();
    if started_server.is_registration_open {
        text.push_str(&format!("  chat-client {server} --user NAME register\n"));
    } else {
        text.push_str("  chat-server user add NAME    with the -c or --data-dir of this server\n");
        text.push_str(&format!("  chat-client {server} --user NAME login\n"));
    }
    text.push_str("  chat-client    interactive; /help lists the commands\n");
    if address.ip().is_unspecified() {
        text.push_str("On other machines, give the address of this machine instead.\n");
    }
    text
}

impl StartedServer<'_> {
    /// Returns the listener that the commands name: one of SC1 if there is one, otherwise one of
    /// TLS, otherwise a plain one.
    fn best_listener(&self) -> Option<(&'static str, SocketAddr)> {
        let find = |wanted| self.listeners.iter().find(|(protocol, _)| *protocol == wanted);
        ["sc1", "tls", "plain"].into_iter().find_map(find).copied()
    }
}

/// Returns an address at which a client on this machine reaches a listener.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    fn started_server(listeners: &[(&'static str, &str)]) -> StartedServer<'static> {
        let listeners = listeners.iter();
        StartedServer {
            listeners: listeners
                .map(|(protocol, address)| (*protocol, address.parse().unwrap()))
                .collect(),
            fingerprint: "sha256:identity",
            tls_fingerprint: None,
            is_registration_open: true,
        }
    }

    #[test]
    fn command_pins_the_key_of_the_listener() {
        let mut both = started_server(&[("tls", "192.0.2.1:7401"), ("sc1", "127.0.0.1:7400")]);
        let command = "chat-client --server sc1://127.0.0.1:7400 --pin sha256:identity --user NAME register\n";
        assert!(next_steps(&both).contains(command), "{}", next_steps(&both));
        both.tls_fingerprint = Some("sha256:certificate".to_owned());
        assert!(next_steps(&both).contains(command));
        both.listeners.pop();
        let command = "chat-client --server tls://192.0.2.1:7401 --pin sha256:certificate --user NAME register\n";
        assert!(next_steps(&both).contains(command), "{}", next_steps(&both));
        let plain = next_steps(&started_server(&[("plain", "127.0.0.1:7402")]));
        assert!(plain.contains("--server plain://127.0.0.1:7402 --user NAME"), "{plain}");
    }

    #[test]
    fn closed_registration_and_unspecified_addresses_are_explained() {
        let mut unspecified = started_server(&[("sc1", "[::]:7400")]);
        unspecified.is_registration_open = false;
        let text = next_steps(&unspecified);
        assert!(text.contains("chat-server user add NAME"), "{text}");
        assert!(
            text.contains("--server sc1://[::1]:7400 --pin sha256:identity --user NAME login"),
            "{text}"
        );
        assert!(text.contains("other machines"), "{text}");
        assert_eq!(next_steps(&started_server(&[])), "");
    }
}
