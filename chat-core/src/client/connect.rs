//! Connecting to a server, and checking its key or certificate.

#[cfg(feature = "tls")]
mod certificate;
mod handshake;

use std::{sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

use crate::secure::{Channel, ClientHandshake, ClientProgress, Connected, Fingerprint, HandshakeError, PinPolicy};
use crate::time::{now, wall_clock};
use crate::transport::Transport;

use super::{
    ClientError, ClientStore,
    address::{Endpoint, Scheme},
    connection::{Reader, Writer, split},
    options::ClientOptions,
    plain,
};

#[cfg(feature = "tls")]
use handshake::wrong_key;
use handshake::{declined, handshake_failed};

/// Maximum time for opening a stream.
const DIAL_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum time for the handshake on an open stream.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Maximum delay that a server can impose by rejecting a handshake. A rejection is not
/// authenticated, so an attacker on the network could otherwise keep the client away for years.
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
    /// The rules for unencrypted connections forbid this server, or its certificate was refused for
    /// another reason than its dates. Another server may be allowed.
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

    /// Returns the error for a server that must not be used, while others may be.
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

/// Connects to `endpoint`. Before anything but the handshake is sent to the server, [`record`]
/// records how it has proved its identity.
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
    let (policy, secured) = open(endpoint, options, store).await?;
    record(endpoint, options, store, &policy, &secured.proof).await?;
    Ok(split(secured.stream, secured.channel))
}

/// Checks whether a server could be connected to. Sends only a handshake, and records nothing.
pub(super) async fn probe(
    endpoint: &Endpoint,
    options: &ClientOptions,
    store: &dyn ClientStore,
) -> Result<(), ConnectError> {
    open(endpoint, options, store).await.map(drop)
}

/// Opens a stream and runs the handshake.
async fn open(
    endpoint: &Endpoint,
    options: &ClientOptions,
    store: &dyn ClientStore,
) -> Result<(Policy, Secured), ConnectError> {
    let policy = policy(endpoint, options, store).await?;
    let stream = match timeout(DIAL_TIMEOUT, endpoint.dial()).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(ConnectError::temporary(endpoint, error)),
        Err(_) => return Err(ConnectError::temporary(endpoint, "no answer to the connection attempt")),
    };
    let secured = timeout(HANDSHAKE_TIMEOUT, secure(endpoint, options, &policy, stream)).await;
    let secured = secured.unwrap_or_else(|_| Err(ConnectError::temporary(endpoint, "no answer to the handshake")))?;
    Ok((policy, secured))
}

/// Pins the key by which the server has proved its identity for the first time, or records that the
/// server has a certificate of a trusted authority. A key that was accepted because it is pinned
/// for another server is not pinned for this one.
async fn record(
    endpoint: &Endpoint,
    options: &ClientOptions,
    store: &dyn ClientStore,
    policy: &Policy,
    proof: &Proof,
) -> Result<(), ConnectError> {
    match (policy, proof) {
        (
            Policy::Keys(PinPolicy::FirstContact) | Policy::AuthoritiesOrKeys(PinPolicy::FirstContact),
            Proof::Key(key),
        ) => pin_first_key(endpoint, options, store, key).await,
        #[cfg(feature = "tls")]
        (Policy::Authorities | Policy::AuthoritiesOrKeys(_), Proof::Authority) => {
            let recorded = store.record_authority(&endpoint.address.host_and_port()).await;
            recorded.map_err(|error| ConnectError::permanent(ClientError::Trust(error.to_string())))
        }
        (Policy::Keys(PinPolicy::AnyOf(_)), Proof::Key(key)) if !options.pins.is_empty() => {
            pin_given_key(endpoint, store, key).await
        }
        _ => Ok(()),
    }
}

/// Pins a key of [`ClientOptions::pins`] that the server has proved to have, so that later runs
/// need not be given the key. Changes nothing if the store knows the server already.
async fn pin_given_key(endpoint: &Endpoint, store: &dyn ClientStore, key: &Fingerprint) -> Result<(), ConnectError> {
    let host = endpoint.address.host_and_port();
    let known = store.known_hosts().await;
    let known = known.map_err(|error| ConnectError::permanent(error.into()))?;
    if known.is_pinned(&host) || known.is_certified(&host) {
        return Ok(());
    }
    let pinned = store.pin(&host, key).await;
    pinned.map_err(|error| ConnectError::permanent(ClientError::Trust(error.to_string())))
}

/// A stream that is ready for requests: its handshake is complete, or its scheme has none
/// (`plain://`).
struct Secured {
    stream: Box<dyn Transport>,
    /// Channel that encrypts SC1. `None` in the other schemes.
    channel: Option<Channel>,
    proof: Proof,
}

/// Proof of identity that the server has given.
enum Proof {
    /// It proved to have this key.
    Key(Fingerprint),
    /// Its certificate chains to a trusted authority and is for the server's name.
    #[cfg(feature = "tls")]
    Authority,
    /// The server gave no proof, because the connection is not encrypted.
    Nothing,
}

/// Proofs that the client accepts from a server.
enum Policy {
    /// The connection is not encrypted, which is allowed.
    Plain,
    /// Keys that this policy accepts.
    Keys(PinPolicy),
    /// Certificates of trusted authorities (TLS).
    Authorities,
    /// Certificates of trusted authorities, and, from servers without such a certificate, keys that
    /// this policy accepts (TLS).
    AuthoritiesOrKeys(PinPolicy),
}

/// Returns the proofs that the client accepts from the server.
///
/// # Errors
/// The client accepts no proof from the server, or the store cannot be read.
async fn policy(endpoint: &Endpoint, options: &ClientOptions, store: &dyn ClientStore) -> Result<Policy, ConnectError> {
    if endpoint.address.scheme == Scheme::Plain {
        let allowed = plain::check(endpoint, options, store).await;
        return allowed.map(|()| Policy::Plain).map_err(|reason| match reason {
            ClientError::Trust(_) => ConnectError::forbidden(reason),
            reason => ConnectError::permanent(reason),
        });
    }
    if !options.pins.is_empty() {
        return Ok(Policy::Keys(PinPolicy::AnyOf(options.pins.clone())));
    }
    let known = store
        .known_hosts()
        .await
        .map_err(|error| ConnectError::permanent(error.into()))?;
    let host = endpoint.address.host_and_port();
    let by_keys = known.policy(&host, options.trust);
    if endpoint.address.scheme == Scheme::Tls
        && !known.is_pinned(&host)
        && let Some(policy) = by_authorities(options, known.is_certified(&host), by_keys.as_ref().ok())
    {
        return Ok(policy);
    }
    let problem = match by_keys {
        _ if known.is_certified(&host) && !known.is_pinned(&host) => format!(
            "{host} has proved itself by a certificate before; connect to it by tls://, with the authorities that issued \
             the certificate, or remove its line from the known hosts"
        ),
        Ok(_) if endpoint.address.scheme == Scheme::Tls && requires_authority(options) && !known.is_pinned(&host) => {
            format!("{host} has to prove itself by a certificate, but the client knows no authorities")
        }
        Ok(policy) => return Ok(Policy::Keys(policy)),
        Err(error) => error.to_string(),
    };
    Err(ConnectError::permanent(ClientError::Trust(problem)))
}

/// Returns the policy for a TLS server without a pinned key, or `None` if authorities do not
/// matter. `is_certified` is true if the server has proved itself by a certificate before.
/// `by_keys` says which keys are accepted from it; `None` if no key is.
fn by_authorities(options: &ClientOptions, is_certified: bool, by_keys: Option<&PinPolicy>) -> Option<Policy> {
    if !has_authorities(options) {
        return None;
    }
    match by_keys {
        _ if is_certified || requires_authority(options) => Some(Policy::Authorities),
        Some(PinPolicy::FirstContact) => Some(Policy::AuthoritiesOrKeys(PinPolicy::FirstContact)),
        // Keys of other servers are pinned, and this server must have one of them
        // (`Trust::AcceptFirst`).
        Some(_) => None,
        None => Some(Policy::Authorities),
    }
}

/// Returns whether the client refuses TLS servers that have neither a pinned key nor a certificate
/// of a trusted authority.
fn requires_authority(options: &ClientOptions) -> bool {
    #[cfg(feature = "tls")]
    return options.require_authority;
    #[cfg(not(feature = "tls"))]
    {
        let _ = options;
        false
    }
}

/// Returns whether the client trusts authorities, which may vouch for servers.
fn has_authorities(options: &ClientOptions) -> bool {
    #[cfg(feature = "tls")]
    return options.authorities.is_some();
    #[cfg(not(feature = "tls"))]
    {
        let _ = options;
        false
    }
}

/// Pins the key of a server on first contact, and informs the application.
async fn pin_first_key(
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
    policy: &Policy,
    stream: Box<dyn Transport>,
) -> Result<Secured, ConnectError> {
    match (endpoint.address.scheme, policy) {
        (Scheme::Sc1, Policy::Keys(policy)) => sc1(endpoint, policy.clone(), stream).await,
        (Scheme::Tls, policy) => tls(endpoint, options, policy, stream).await,
        (Scheme::Plain, Policy::Plain) => Ok(Secured {
            stream,
            channel: None,
            proof: Proof::Nothing,
        }),
        // The function `policy` returns no policy of this kind for these schemes. If it did,
        // nothing must be sent unencrypted.
        (Scheme::Plain | Scheme::Sc1, _) => Err(ConnectError::permanent(ClientError::Trust(format!(
            "{}: the client has no rule to trust this server",
            endpoint.address
        )))),
    }
}

async fn sc1(endpoint: &Endpoint, policy: PinPolicy, mut stream: Box<dyn Transport>) -> Result<Secured, ConnectError> {
    // A server with several keys could choose one by this name. The handshake has room for 64
    // bytes; a longer name is left out.
    let name = endpoint.address.host_without_zone();
    let name = if name.len() <= 64 { name } else { "" };
    let is_first_contact = matches!(policy, PinPolicy::FirstContact);
    let failed = |error: HandshakeError| handshake_failed(endpoint, error, is_first_contact);
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
        match handshake
            .feed(now(), wall_clock().unix_seconds(), &buffer[..read])
            .map_err(failed)?
        {
            ClientProgress::NeedMore => {}
            ClientProgress::Done(Connected { channel, fingerprint }) => {
                return Ok(Secured {
                    stream,
                    channel: Some(channel),
                    proof: Proof::Key(fingerprint),
                });
            }
            ClientProgress::Rejected { code, retry_after } => {
                return Err(declined(endpoint, code, retry_after.min(MAX_REJECTION_DELAY)));
            }
        }
    }
}

#[cfg(feature = "tls")]
async fn tls(
    endpoint: &Endpoint,
    options: &ClientOptions,
    policy: &Policy,
    stream: Box<dyn Transport>,
) -> Result<Secured, ConnectError> {
    use crate::transport::tls::{AuthenticatedBy, RootCertStore, TlsConnector, TlsError, TlsTrust};

    let unusable = |problem: String| ConnectError::permanent(ClientError::Trust(problem));
    let Some(provider) = &options.tls else {
        return Err(unusable(
            "TLS needs a crypto provider: set `tls` in the client's options".to_owned(),
        ));
    };
    let authorities = options.authorities.clone();
    let authorities = authorities.unwrap_or_else(|| Arc::new(RootCertStore::empty()));
    let trust = match policy {
        Policy::Keys(keys) => TlsTrust::Pin(keys.clone()),
        Policy::Authorities => TlsTrust::Roots(authorities),
        Policy::AuthoritiesOrKeys(keys) => TlsTrust::RootsOrPin(authorities, keys.clone()),
        Policy::Plain => return Err(unusable("TLS without a trusted key or authority".to_owned())),
    };
    let connector = TlsConnector::new(Arc::clone(provider), trust);
    let connector = connector.map_err(|error| unusable(error.to_string()))?;
    match connector.connect(endpoint.address.host_without_zone(), stream).await {
        Ok(connected) => Ok(Secured {
            stream: Box::new(connected.stream),
            channel: None,
            proof: match connected.authenticated_by {
                AuthenticatedBy::Key => Proof::Key(connected.fingerprint),
                AuthenticatedBy::Authority => Proof::Authority,
            },
        }),
        Err(TlsError::PinMismatch { presented }) => Err(wrong_key(endpoint, presented)),
        Err(TlsError::Certificate(problem)) => Err(certificate::refused(endpoint, options, &problem)),
        Err(TlsError::Handshake(cause)) => Err(ConnectError::temporary(endpoint, cause)),
        Err(error) => Err(unusable(error.to_string())),
    }
}

#[cfg(not(feature = "tls"))]
async fn tls(_: &Endpoint, _: &ClientOptions, _: &Policy, _: Box<dyn Transport>) -> Result<Secured, ConnectError> {
    Err(ConnectError::permanent(ClientError::Trust(
        "this program was built without TLS: build it with the feature tls, or use an sc1:// address".to_owned(),
    )))
}

#[cfg(test)]
#[cfg(feature = "tls")]
mod tests;
