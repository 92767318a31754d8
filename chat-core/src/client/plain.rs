//! Rules for unencrypted connections: when one is allowed, and what is never sent over it.

use crate::secure::{LOOPBACK, canonical_host};

use super::address::{Endpoint, Scheme, ServerAddress};
use super::{AccountState, ClientError, ClientOptions, ClientStore};

/// Checks that `options` and the pinned keys allow an unencrypted connection to `endpoint`.
///
/// A server with a pinned key, or one that has proved itself by a certificate, is never reached
/// unencrypted, because it could not prove its identity again. A key in `options` forbids
/// unencrypted connections to every server. A key or a proof by certificate that the store has
/// recorded forbids them to all ports of its host; on loopback, and for an endpoint with a `Dial`
/// of the application, to its port only. It does not matter which spelling of the host was
/// recorded.
pub(super) async fn check(
    endpoint: &Endpoint,
    options: &ClientOptions,
    store: &dyn ClientStore,
) -> Result<(), ClientError> {
    let address = &endpoint.address;
    // Streams of an endpoint with a `Dial` of the application need not cross a network.
    let is_local = !endpoint.uses_tcp() || is_loopback(&address.host);
    let known = store.known_hosts().await?;
    let has_proved_itself =
        known.is_port_known(&address.host, address.port) || (!is_local && known.is_host_known(&address.host));
    let refused = if !options.pins.is_empty() {
        Some("a key is pinned")
    } else if has_proved_itself {
        Some("this host has proved itself by a key or a certificate before")
    } else {
        None
    };
    if let Some(reason) = refused {
        return Err(ClientError::Trust(format!(
            "{address} is not encrypted, but {reason}; connect to it with sc1:// or tls://"
        )));
    }
    if !is_local && !options.allow_plain {
        return Err(ClientError::Trust(format!(
            "{address} is not encrypted, and {} may be another machine: anyone on the network path can read \
             passwords and messages; use sc1:// or tls://, or allow it with --allow-plain (`ClientOptions::allow_plain`)",
            address.host
        )));
    }
    Ok(())
}

/// Checks that no token that was obtained over an encrypted connection is sent over an unencrypted
/// one.
pub(super) fn check_tokens(address: &ServerAddress, account: &AccountState) -> Result<(), ClientError> {
    let has_token = account.session_token.is_some() || account.device_token.is_some();
    if address.scheme != Scheme::Plain || !has_token || account.tokens_are_from_plain {
        return Ok(());
    }
    Err(ClientError::Trust(format!(
        "{address} is not encrypted, but this device logged in over an encrypted connection; its tokens are never \
         sent unencrypted; use sc1:// or tls://, or another profile"
    )))
}

/// Returns whether a host is `localhost` or a name under it, or a loopback or unspecified address,
/// in any spelling.
fn is_loopback(host: &str) -> bool {
    canonical_host(host) == LOOPBACK
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{Credentials, MemoryStore};
    use crate::model::Secret;
    use crate::secure::Fingerprint;

    const KEY: &str = "sha256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

    async fn is_allowed(address: &str, pinned: &str, set: impl FnOnce(&mut ClientOptions)) -> bool {
        let address: ServerAddress = address.parse().unwrap();
        let store = MemoryStore::new();
        if !pinned.is_empty() {
            store.pin(pinned, &KEY.parse().unwrap()).await.unwrap();
        }
        let mut options = ClientOptions::new([address.clone()], Credentials::Stored);
        set(&mut options);
        check(&address.into(), &options, &store).await.is_ok()
    }

    #[tokio::test]
    async fn unencrypted_connection_needs_loopback_or_consent_and_no_pin() {
        let key: Fingerprint = KEY.parse().unwrap();
        for local in ["plain://127.0.0.1:1", "plain://[::1]:1", "plain://localhost:1"] {
            assert!(is_allowed(local, "", |_| {}).await, "{local}");
            assert!(
                !is_allowed(local, "", |options| options.pins.push(key)).await,
                "{local}"
            );
        }
        assert!(!is_allowed("plain://127.0.0.1:1", "127.0.0.1:1", |_| {}).await);
        assert!(is_allowed("plain://127.0.0.1:1", "127.0.0.1:2", |_| {}).await);
        let spellings = [
            "127.0.0.1:1",
            "localhost:1",
            "[::1]:1",
            "[::ffff:127.0.0.1]:1",
            "127.1:1",
        ];
        for pinned in spellings {
            for spelling in spellings {
                assert!(!is_allowed(&format!("plain://{spelling}"), pinned, |_| {}).await);
            }
        }
        let consent = |options: &mut ClientOptions| options.allow_plain = true;
        assert!(!is_allowed("plain://[::ffff:192.0.2.1]:1", "192.0.2.1:2", consent).await);
        assert!(!is_allowed("plain://192.0.2.1:1", "[::ffff:192.0.2.1]:1", consent).await);
        // The zone of an address is the name of an interface or its index.
        assert!(!is_allowed("plain://[fe80::1%2]:1", "[fe80::1%eth0]:1", consent).await);
        for remote in [
            "plain://chat.example:1",
            "plain://192.0.2.1:1",
            "plain://localhost.example:1",
        ] {
            assert!(!is_allowed(remote, "", |_| {}).await, "{remote}");
            assert!(is_allowed(remote, "", consent).await, "{remote}");
        }
        for pinned in ["chat.example:1", "chat.example:2"] {
            assert!(!is_allowed("plain://Chat.Example:1", pinned, consent).await, "{pinned}");
        }
    }

    #[test]
    fn tokens_of_an_encrypted_session_are_not_sent_unencrypted() {
        let plain: ServerAddress = "plain://127.0.0.1:1".parse().unwrap();
        let mut account = AccountState::new();
        assert!(check_tokens(&plain, &account).is_ok(), "there is no token");
        account.device_token = Some(Secret::new("token"));
        assert!(check_tokens(&plain, &account).is_err());
        assert!(check_tokens(&"tls://127.0.0.1:1".parse().unwrap(), &account).is_ok());
        account.tokens_are_from_plain = true;
        assert!(check_tokens(&plain, &account).is_ok());
    }
}
