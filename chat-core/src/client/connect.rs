//! Connecting to a server and checking its key.

use std::{sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

use crate::secure::{
    Channel, ClientHandshake, ClientProgress, Connected, Fingerprint, HandshakeError, KnownHostsError, PinPolicy,
};
use crate::time::now;
use crate::transport::Transport;

use super::{
    ClientError, ClientStore,
    address::{Endpoint, Scheme},
    connection::{Reader, Writer, split},
    options::ClientOptions,
    plain,
    time::unix_seconds,
};

/// Maximum time for opening a stream.
const DIAL_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum time for the handshake on an open stream.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Maximum delay after a rejection before the handshake. It is not authenticated, so an attacker on
/// the network could otherwise keep the client away for years.
const MAX_REJECTION_DELAY: Duration = Duration::from_secs(60);

/// Error of an attempt to connect.
#[derive(Debug)]
pub(super) struct ConnectError {
    pub(super) reason: ClientError,
    /// Minimum delay before the next attempt, if the server gave one.
    pub(super) retry_after: Option<Duration>,
    pub(super) severity: Severity,
}

/// Meaning of an error for further attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Severity {
    /// Another attempt may succeed.
    Temporary,
    /// The rules for unencrypted connections forbid this server. Another server may be allowed.
    Forbidden,
    /// The client must not try again.
    Permanent,
}

impl ConnectError {
    pub(super) fn temporary(endpoint: &Endpoint, problem: impl std::fmt::Display) -> Self {
        Self {
            reason: ClientError::Unreachable(format!("{}: {problem}", endpoint.address)),
            retry_after: None,
            severity: Severity::Temporary,
        }
    }

    /// Returns the error for a server that the rules for unencrypted connections forbid.
    pub(super) fn forbidden(reason: ClientError) -> Self {
        Self {
            reason,
            retry_after: None,
            severity: Severity::Forbidden,
        }
    }

    fn permanent(reason: ClientError) -> Self {
        Self {
            reason,
            retry_after: None,
            severity: Severity::Permanent,
        }
    }
}

/// Connects to `endpoint`. A key that is seen for the first time is pinned before anything else is
/// sent to the server.
pub(super) async fn connect(
    endpoint: Endpoint,
    options: Arc<ClientOptions>,
    store: Arc<dyn ClientStore>,
) -> Result<(Reader, Writer), ConnectError> {
    connect_to(&endpoint, &options, &*store).await
}

/// Connects like [`connect`], with borrowed arguments.
pub(super) async fn connect_to(
    endpoint: &Endpoint,
    options: &ClientOptions,
    store: &dyn ClientStore,
) -> Result<(Reader, Writer), ConnectError> {
    let policy = policy(endpoint, options, store).await?;
    let stream = match timeout(DIAL_TIMEOUT, endpoint.dial()).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(ConnectError::temporary(endpoint, error)),
        Err(_) => return Err(ConnectError::temporary(endpoint, "no answer to the connection attempt")),
    };
    let secured = timeout(HANDSHAKE_TIMEOUT, secure(endpoint, options, policy.as_ref(), stream)).await;
    let secured = secured.unwrap_or_else(|_| Err(ConnectError::temporary(endpoint, "no answer to the handshake")))?;
    if let (Some(PinPolicy::FirstContact), Some(key)) = (&policy, &secured.key) {
        first_contact(endpoint, options, store, key).await?;
    }
    Ok(split(secured.stream, secured.channel))
}

/// A stream whose handshake is complete.
struct Secured {
    stream: Box<dyn Transport>,
    /// Keys of SC1. `None` in the other schemes.
    channel: Option<Channel>,
    /// Fingerprint of the key that the server has proved to have. `None` for an unencrypted
    /// connection.
    key: Option<Fingerprint>,
}

/// Returns the accepted keys, or `None` for an unencrypted connection that is allowed.
async fn policy(
    endpoint: &Endpoint,
    options: &ClientOptions,
    store: &dyn ClientStore,
) -> Result<Option<PinPolicy>, ConnectError> {
    if endpoint.address.scheme == Scheme::Plain {
        let allowed = plain::check(endpoint, options, store).await;
        return allowed.map(|()| None).map_err(|reason| match reason {
            ClientError::Trust(_) => ConnectError::forbidden(reason),
            reason => ConnectError::permanent(reason),
        });
    }
    if !options.pins.is_empty() {
        return Ok(Some(PinPolicy::AnyOf(options.pins.clone())));
    }
    let known = store
        .known_hosts()
        .await
        .map_err(|error| ConnectError::permanent(error.into()))?;
    match known.policy(&endpoint.address.host_and_port(), options.trust) {
        Ok(policy) => Ok(Some(policy)),
        Err(error @ KnownHostsError::NotPinned(_)) => {
            Err(ConnectError::permanent(ClientError::Trust(error.to_string())))
        }
        Err(error) => Err(ConnectError::permanent(ClientError::Trust(error.to_string()))),
    }
}

/// Pins the key of a server on first contact, and informs the application.
async fn first_contact(
    endpoint: &Endpoint,
    options: &ClientOptions,
    store: &dyn ClientStore,
    key: &Fingerprint,
) -> Result<(), ConnectError> {
    let host = endpoint.address.host_and_port();
    let pinned = store.pin(&host, key).await;
    pinned.map_err(|error| ConnectError::permanent(ClientError::Trust(error.to_string())))?;
    if let Some(notify) = &options.first_contact {
        notify(&host, key);
    }
    Ok(())
}

/// Runs the handshake of the endpoint's scheme.
async fn secure(
    endpoint: &Endpoint,
    options: &ClientOptions,
    policy: Option<&PinPolicy>,
    stream: Box<dyn Transport>,
) -> Result<Secured, ConnectError> {
    match (endpoint.address.scheme, policy) {
        (Scheme::Sc1, Some(policy)) => sc1(endpoint, policy.clone(), stream).await,
        (Scheme::Tls, Some(policy)) => tls(endpoint, options, policy.clone(), stream).await,
        (Scheme::Plain, _) | (_, None) => Ok(Secured {
            stream,
            channel: None,
            key: None,
        }),
    }
}

async fn sc1(endpoint: &Endpoint, policy: PinPolicy, mut stream: Box<dyn Transport>) -> Result<Secured, ConnectError> {
    // A server with several keys chooses one by this name. The handshake has room for 64 bytes; a
    // longer name is left out.
    let name = if endpoint.address.host.len() <= 64 {
        &endpoint.address.host
    } else {
        ""
    };
    let failed = |error: HandshakeError| handshake_failed(endpoint, error);
    let mut handshake = ClientHandshake::new(name, policy).map_err(failed)?;
    let sent = stream.write_all(handshake.hello()).await;
    sent.map_err(|error| ConnectError::temporary(endpoint, error))?;
    let mut buffer = [0; 4096];
    loop {
        let read = stream.read(&mut buffer).await;
        let read = read.map_err(|error| ConnectError::temporary(endpoint, error))?;
        if read == 0 {
            return Err(ConnectError::temporary(endpoint, handshake.end_of_stream()));
        }
        match handshake.feed(now(), unix_seconds(), &buffer[..read]).map_err(failed)? {
            ClientProgress::NeedMore => {}
            ClientProgress::Done(Connected { channel, fingerprint }) => {
                return Ok(Secured {
                    stream,
                    channel: Some(channel),
                    key: Some(fingerprint),
                });
            }
            ClientProgress::Rejected { code, retry_after } => {
                let mut error = ConnectError::temporary(endpoint, format_args!("the server declined: {code:?}"));
                error.retry_after = Some(retry_after.min(MAX_REJECTION_DELAY));
                return Err(error);
            }
        }
    }
}

/// Returns the error for a failed handshake. A wrong key is final: the client must not connect to
/// that server again.
fn handshake_failed(endpoint: &Endpoint, error: HandshakeError) -> ConnectError {
    match error {
        HandshakeError::PinMismatch { presented } => wrong_key(endpoint, presented),
        error => ConnectError::temporary(endpoint, error),
    }
}

fn wrong_key(endpoint: &Endpoint, presented: Fingerprint) -> ConnectError {
    ConnectError::permanent(ClientError::WrongKey {
        host: endpoint.address.host_and_port(),
        presented,
    })
}

#[cfg(feature = "tls")]
async fn tls(
    endpoint: &Endpoint,
    options: &ClientOptions,
    policy: PinPolicy,
    stream: Box<dyn Transport>,
) -> Result<Secured, ConnectError> {
    use crate::transport::tls::{TlsConnector, TlsError, TlsTrust};

    let unusable = |problem: String| ConnectError::permanent(ClientError::Trust(problem));
    let Some(provider) = &options.tls else {
        return Err(unusable(
            "TLS needs a crypto provider: set `tls` in the client's options".to_owned(),
        ));
    };
    let connector = TlsConnector::new(Arc::clone(provider), TlsTrust::Pin(policy));
    let connector = connector.map_err(|error| unusable(error.to_string()))?;
    match connector.connect(&endpoint.address.host, stream).await {
        Ok(connected) => Ok(Secured {
            stream: Box::new(connected.stream),
            channel: None,
            key: Some(connected.fingerprint),
        }),
        Err(TlsError::PinMismatch { presented }) => Err(wrong_key(endpoint, presented)),
        Err(TlsError::Handshake(cause)) => Err(ConnectError::temporary(endpoint, cause)),
        Err(error) => Err(unusable(error.to_string())),
    }
}

#[cfg(not(feature = "tls"))]
async fn tls(_: &Endpoint, _: &ClientOptions, _: PinPolicy, _: Box<dyn Transport>) -> Result<Secured, ConnectError> {
    Err(ConnectError::permanent(ClientError::Trust(
        "this program was built without TLS: build it with the feature tls, or use an sc1:// address".to_owned(),
    )))
}
