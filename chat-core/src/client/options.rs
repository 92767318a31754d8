//! How a client is set up.

use std::{fmt, sync::Arc};

use crate::secure::{Fingerprint, Trust};

use super::address::Endpoint;
use super::machine::{Credentials, Receive};

/// Called with the server and its key when a server is met for the first time.
pub type FirstContact = Arc<dyn Fn(&str, &Fingerprint) + Send + Sync>;

/// How a client finds its servers, logs in, and behaves.
#[derive(Clone)]
#[non_exhaustive]
pub struct ClientOptions {
    /// Nodes of one service, all equal; tried in this order, and again from the front.
    pub servers: Vec<Endpoint>,
    /// How to log in.
    pub credentials: Credentials,
    /// Only these keys are accepted; empty: what the store has pinned.
    pub pins: Vec<Fingerprint>,
    /// What to do about a server without a pin. Default: refuse it.
    pub trust: Trust,
    /// Told of each first contact.
    pub first_contact: Option<FirstContact>,
    /// What to hand out. Default: what was not acknowledged.
    pub receive: Receive,
    /// Name and version of the program, at most 64 bytes.
    pub client: String,
    /// What the user's list of devices calls this one, at most 64 bytes.
    pub device_name: String,
    /// Times the list of servers is gone through before a client that never had a session gives up. Default: for ever.
    pub attempts: Option<u32>,
    /// Messages of one conversation under way at once. Default 1, which alone keeps their order when the server cannot take one of them
    /// for a moment; more makes one busy conversation faster.
    pub window: usize,
    /// Messages that may wait for the server; each costs its text in memory. Default 10 000.
    pub outbox: usize,
    /// The cryptography for `tls://` servers.
    #[cfg(feature = "tls")]
    pub tls: Option<Arc<crate::transport::tls::CryptoProvider>>,
}

impl ClientOptions {
    /// Options for a client of `servers`.
    pub fn new(servers: impl IntoIterator<Item = impl Into<Endpoint>>, credentials: Credentials) -> Self {
        Self {
            servers: servers.into_iter().map(Into::into).collect(),
            credentials,
            pins: Vec::new(),
            trust: Trust::default(),
            first_contact: None,
            receive: Receive::default(),
            client: concat!("chat-core/", env!("CARGO_PKG_VERSION")).to_owned(),
            device_name: String::new(),
            attempts: None,
            window: 1,
            outbox: 10_000,
            #[cfg(feature = "tls")]
            tls: None,
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
