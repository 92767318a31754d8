//! Options of a client.

use std::{fmt, sync::Arc, time::Duration};

use crate::secure::{Fingerprint, Trust};

use super::address::Endpoint;
use super::machine::{Credentials, Receive};

/// Callback that gets the address (`host:port`) and key of a server whose key was pinned on first
/// contact.
pub type FirstContact = Arc<dyn Fn(&str, &Fingerprint) + Send + Sync>;

/// Options of a client: servers, credentials, trust and limits.
#[derive(Clone)]
#[non_exhaustive]
pub struct ClientOptions {
    /// Nodes of one service, all equivalent. The client tries them in this order, repeatedly.
    pub servers: Vec<Endpoint>,
    /// Credentials to log in with.
    pub credentials: Credentials,
    /// Server keys that are accepted. The store pins the one that a server proves to have, unless
    /// the store knows that server already. If empty, the client accepts the keys that its store
    /// has pinned, and `trust` applies to other servers. Default: empty.
    pub pins: Vec<Fingerprint>,
    /// Treatment of a server whose key is not pinned. Default: refuse the server.
    pub trust: Trust,
    /// Allows `plain://` servers on other machines. Default: false, so that `plain://` connects
    /// only to this machine, or through a [`Dial`](super::Dial) of the application. In any
    /// case, `plain://` is refused if `pins` is not empty, or if the server has a pinned key or has
    /// proved itself by a certificate.
    pub allow_plain: bool,
    /// Called after the store has pinned a server's key on first contact. Default: `None`.
    pub first_contact: Option<FirstContact>,
    /// Events to deliver. Default: those that were not acknowledged.
    pub receive: Receive,
    /// Name and version of the program; at most 64 bytes. Default: `chat-core/` and its version.
    pub client_name: String,
    /// Name of this device in the user's list of devices; at most 64 bytes. Default: empty.
    pub device_name: String,
    /// Maximum number of passes through the list of servers before a client that never had a
    /// session ends. Default: unlimited.
    pub max_rounds: Option<u32>,
    /// Maximum delay that a server may ask for before the next attempt. If a server asks for more,
    /// a client that never had a session tries only the rest of the list. If it has no session
    /// then, it ends with the error of the server that asked for the shortest such delay. Default:
    /// unlimited.
    pub max_retry_delay: Option<Duration>,
    /// Maximum number of messages of one conversation that wait for the server's reply. A value
    /// above 1 speeds up a busy conversation, but its messages may change their order after a
    /// temporary refusal. Over all conversations, at most 64 messages wait. Default and minimum: 1.
    pub max_in_flight: usize,
    /// Maximum number of messages in the outbox. Each keeps its text in memory. Default: 10,000.
    pub max_outbox: usize,
    /// Crypto provider for `tls://` servers. Default: `None`, so that the client cannot connect to
    /// them.
    #[cfg(feature = "tls")]
    pub tls: Option<Arc<crate::transport::tls::CryptoProvider>>,
    /// Certificates of the authorities that may vouch for `tls://` servers. A server whose
    /// certificate is for its host name and chains to one of them needs no pin, and its key may
    /// change. Other servers, such as those with self-signed certificates, are treated by their
    /// key, as with `sc1://`; but a server that an authority has vouched for once is refused
    /// without such a certificate. If `pins` is not empty, or the store has pinned a key of the
    /// server, only these keys are accepted, whatever the certificate. The same holds for the
    /// pinned keys of other servers, if `trust` is [`Trust::AcceptFirst`], no authority has vouched
    /// for the server yet and `require_authority` is false. Default: `None`, so that only keys
    /// count.
    #[cfg(feature = "tls")]
    pub authorities: Option<Arc<crate::transport::tls::RootCertStore>>,
    /// Refuses `tls://` servers for which no authority of `authorities` vouches, unless `pins`
    /// contains their key, or the store has pinned it already. Without `authorities`, that is every
    /// such server. Default: false.
    #[cfg(feature = "tls")]
    pub require_authority: bool,
}

impl ClientOptions {
    /// Returns options with defaults for everything but `servers` and `credentials`.
    pub fn new(servers: impl IntoIterator<Item = impl Into<Endpoint>>, credentials: Credentials) -> Self {
        Self {
            servers: servers.into_iter().map(Into::into).collect(),
            credentials,
            pins: Vec::new(),
            trust: Trust::default(),
            allow_plain: false,
            first_contact: None,
            receive: Receive::default(),
            client_name: concat!("chat-core/", env!("CARGO_PKG_VERSION")).to_owned(),
            device_name: String::new(),
            max_rounds: None,
            max_retry_delay: None,
            max_in_flight: 1,
            max_outbox: 10_000,
            #[cfg(feature = "tls")]
            tls: None,
            #[cfg(feature = "tls")]
            authorities: None,
            #[cfg(feature = "tls")]
            require_authority: false,
        }
    }
}

impl fmt::Debug for ClientOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientOptions")
            .field("servers", &self.servers)
            .field("trust", &self.trust)
            .field("receive", &self.receive)
            .finish_non_exhaustive()
    }
}
