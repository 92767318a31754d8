//! Where Redis is, and how to talk to it.

use std::sync::Arc;
use std::time::Duration;

use bb8_redis::redis::{Client, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, RedisResult};
use thiserror::Error;

use crate::commands::Commands;
use crate::{RedisBus, RedisDiscovery, RedisPresence};

/// How to talk to Redis. Start from `default()` and change fields.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// Begins every key and channel. Clusters that share a server need different ones. Default `chat:`.
    pub prefix: String,
    /// Authorities, in PEM, one of which has to have signed the server's certificate: for `rediss://` URLs, in place of those that the
    /// system trusts. Needs the feature `tls`. Default none.
    pub authorities: Option<Vec<u8>>,
    /// Longest time to connect. Default 1 s.
    pub connect_timeout: Duration,
    /// Longest time for an answer. Default 1 s.
    pub response_timeout: Duration,
    /// Pause between signs of life on the subscriber's connection. Default 2 s; one that stays without an answer ends it.
    pub ping_interval: Duration,
    /// Longest pause between attempts to connect again. Default 2 s; they begin at 50 ms.
    pub max_backoff: Duration,
    /// Time after which what a dead node claimed is void. Default 10 s.
    pub lease: Duration,
    /// Pause between renewals. Default 3 s.
    pub renewal: Duration,
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
            lease: Duration::from_secs(10),
            renewal: Duration::from_secs(3),
        }
    }
}

/// The URL is not one of a Redis server. It is not repeated: it may hold a password.
#[derive(Debug, Error)]
#[error("the URL of Redis is wrong ({0}); write redis://USER:PASSWORD@HOST:PORT/DATABASE, or rediss:// for TLS")]
pub struct UrlError(String);

/// A Redis server. Clones are cheap and share connections.
#[derive(Clone, Debug)]
pub struct RedisBackend {
    commands: Arc<Commands>,
}

impl RedisBackend {
    /// Takes note of where the server is; connects when there is something to say. Call it inside the runtime that will use it.
    ///
    /// # Errors
    /// The URL is wrong, or asks for TLS without the feature `tls`.
    pub fn open(url: &str, options: Options) -> Result<Self, UrlError> {
        let wrong = |error: bb8_redis::redis::RedisError| UrlError(error.to_string());
        let info = url.into_connection_info().map_err(wrong)?;
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let client = client(info.set_redis_settings(settings), &options).map_err(wrong)?;
        Ok(Self {
            commands: Arc::new(Commands::new(client, options)),
        })
    }

    /// The bus between nodes.
    #[must_use]
    pub fn bus(&self) -> RedisBus {
        RedisBus::new(Arc::clone(&self.commands))
    }

    /// Who is connected, and where.
    #[must_use]
    pub fn presence(&self) -> RedisPresence {
        RedisPresence::new(Arc::clone(&self.commands))
    }

    /// Which nodes there are.
    #[must_use]
    pub fn discovery(&self) -> RedisDiscovery {
        RedisDiscovery::new(Arc::clone(&self.commands))
    }
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
        let text = "this program was built without TLS to Redis";
        return Err((bb8_redis::redis::ErrorKind::InvalidClientConfig, text).into());
    }
    Client::open(info)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_wrong_url_is_refused_without_repeating_it() {
        for url in [
            "",
            "http://u:hunter2@h/",
            "redis://u:hunter2@h:99999/",
            "redis://u:hunter2@h/x",
        ] {
            let error = RedisBackend::open(url, Options::default()).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
        }
        let debug = format!(
            "{:?}",
            RedisBackend::open("redis://u:hunter2@h/", Options::default()).unwrap()
        );
        assert!(!debug.contains("hunter2"), "{debug}");
    }
}
