//! [`RedisBackend`], which creates the bus, the presence service and the discovery, and its
//! [`Options`].

use std::sync::Arc;
use std::time::Duration;

use bb8_redis::redis::{Client, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, RedisResult};
use chat_core::model::ClusterKey;
use thiserror::Error;

use crate::commands::CommandSender;
use crate::{RedisBus, RedisDiscovery, RedisPresence};

/// Options of a [`RedisBackend`]. Start from `default()` and change fields.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// Prefix of every key and channel. Clusters that share a server need different ones. Default
    /// `chat:`.
    pub prefix: String,
    /// Certificate authorities, in PEM, one of which must have signed the server's certificate.
    /// They replace the built-in public authorities (`webpki-roots`). Only for `rediss://` URLs;
    /// needs the feature `tls`. Default none.
    pub authorities: Option<Vec<u8>>,
    /// Timeout of an attempt to connect, and of the wait for a connection for commands. A
    /// subscriber's connection may take twice as long, including its handshake. Default 1 s.
    pub connect_timeout: Duration,
    /// Timeout of the answer to a command. Default 1 s.
    pub response_timeout: Duration,
    /// Interval between pings on the subscriber's connection. A ping without an answer ends the
    /// connection. Default 2 s.
    pub ping_interval: Duration,
    /// Maximum delay before a subscriber tries again to connect. The delay doubles with each
    /// failure; the first one is at most 50 ms, even if this maximum is shorter. Default 2 s.
    pub max_backoff: Duration,
    /// Lifetime of a node's lease after its last renewal. When the lease of a dead node has
    /// expired, the devices that were connected to it count as offline, and each other node removes
    /// it from its list of nodes at its next renewal. Default 10 s.
    pub lease_timeout: Duration,
    /// Interval between renewals of the node's lease. Default 3 s.
    pub renewal_interval: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            prefix: "chat:".to_owned(),
            authorities: None,
            connect_timeout: Duration::from_secs(1),
            response_timeout: Duration::from_secs(1),
            ping_interval: Duration::from_secs(2),
            max_backoff: Duration::from_secs(2),
            lease_timeout: Duration::from_secs(10),
            renewal_interval: Duration::from_secs(3),
        }
    }
}

/// Error of a URL, or of an option for it, that cannot be used. The text does not repeat the URL,
/// which may contain a password.
#[derive(Debug, Error)]
#[error(
    "cannot use the Redis URL, or the CA certificates for it ({0}); a URL has the form \
     redis://USER:PASSWORD@HOST:PORT/DATABASE, or rediss:// for TLS"
)]
pub struct UrlError(String);

/// A Redis server. Clones are cheap and share the connections for commands; each subscriber has a
/// connection of its own.
#[derive(Clone, Debug)]
pub struct RedisBackend {
    commands: Arc<CommandSender>,
}

impl RedisBackend {
    /// Creates a backend for the server at `url`. The first command connects to it. Call this
    /// inside the tokio runtime that will use the backend.
    ///
    /// The nodes of a cluster need the same `cluster_key`; they ignore each other's data otherwise.
    /// [`Store::cluster_key`](chat_core::store::Store::cluster_key) returns one that all nodes of a
    /// store share.
    ///
    /// # Errors
    /// [`UrlError`] if the URL is invalid, if it or [`authorities`](Options::authorities) asks for
    /// TLS without the feature `tls`, if there are authorities and the URL is not `rediss://`, or
    /// if the authorities cannot be parsed.
    pub fn open(url: &str, cluster_key: ClusterKey, options: Options) -> Result<Self, UrlError> {
        let client = client_at(url, &options)?;
        Ok(Self {
            commands: CommandSender::new(client, cluster_key, options),
        })
    }

    /// Checks the URL and the options as [`open`](Self::open) does, outside a tokio runtime too.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub fn check_url(url: &str, options: &Options) -> Result<(), UrlError> {
        client_at(url, options).map(drop)
    }

    /// Returns a bus between nodes.
    #[must_use]
    pub fn bus(&self) -> RedisBus {
        RedisBus::new(Arc::clone(&self.commands))
    }

    /// Returns a presence service. Call this inside the tokio runtime: a task of the service renews
    /// the leases of the nodes for which it has set claims, until it is dropped.
    #[must_use]
    pub fn presence(&self) -> RedisPresence {
        RedisPresence::new(Arc::clone(&self.commands))
    }

    /// Returns a discovery of nodes. A task of it, which its first join starts, renews the leases
    /// of the nodes that joined through it, until it is dropped.
    #[must_use]
    pub fn discovery(&self) -> RedisDiscovery {
        RedisDiscovery::new(Arc::clone(&self.commands))
    }
}

fn client_at(url: &str, options: &Options) -> Result<Client, UrlError> {
    let url_error = |error: bb8_redis::redis::RedisError| UrlError(error.to_string());
    let info = url.into_connection_info().map_err(url_error)?;
    let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
    client(info.set_redis_settings(settings), options).map_err(url_error)
}

#[cfg(feature = "tls")]
fn client(info: ConnectionInfo, options: &Options) -> RedisResult<Client> {
    let certificates = bb8_redis::redis::TlsCertificates {
        client_tls: None,
        root_cert: options.authorities.clone(),
    };
    match &options.authorities {
        Some(_) => Client::build_with_tls(info, certificates),
        None => Client::open(info),
    }
}

#[cfg(not(feature = "tls"))]
fn client(info: ConnectionInfo, options: &Options) -> RedisResult<Client> {
    if options.authorities.is_some() {
        let text = "certificate authorities are set, but chat-bus-redis was built without its feature tls";
        return Err((bb8_redis::redis::ErrorKind::InvalidClientConfig, text).into());
    }
    Client::open(info)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn open_rejects_invalid_urls_and_no_text_shows_a_password() {
        for url in [
            "",
            "http://u:hunter2@h/",
            "redis://u:hunter2@h:99999/",
            "redis://u:hunter2@h/x",
        ] {
            let error = RedisBackend::open(url, ClusterKey::random(), Options::default()).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
        }
        let debug = format!(
            "{:?}",
            RedisBackend::open("redis://u:hunter2@h/", ClusterKey::random(), Options::default()).unwrap()
        );
        assert!(!debug.contains("hunter2"), "{debug}");
    }
}
