//! Detects the scheme of a port, to help users whose address names another scheme.

use std::time::Duration;

use tokio::time::timeout;

use crate::secure::Trust;

use super::address::{Endpoint, Scheme, ServerAddress};
use super::connect::probe;
use super::{ClientError, ClientOptions, ClientStore};

/// Maximum time for a handshake in one scheme.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// Returns the error to report after the failure `reason` of a connection to `endpoint`. If a wrong
/// scheme may be the cause, and the endpoint is reached by TCP, probes its port in the other
/// encrypted schemes. If the port proves the pinned key of the server, or a certificate for its
/// name, in one of them, the error suggests that scheme; otherwise the error is `reason`. A port
/// that proves neither may belong to an attacker, and its scheme is never suggested. This includes
/// every unencrypted port. The probes send only a handshake.
pub(super) async fn explain(
    reason: ClientError,
    endpoint: &Endpoint,
    options: &ClientOptions,
    store: &dyn ClientStore,
) -> ClientError {
    let may_be_wrong_scheme = matches!(reason, ClientError::Unreachable(_) | ClientError::Protocol(_));
    if !may_be_wrong_scheme || !endpoint.uses_tcp() {
        return reason;
    }
    let options = ClientOptions {
        trust: Trust::Strict,
        ..options.clone()
    };
    let others = [Scheme::Sc1, Scheme::Tls].into_iter();
    for scheme in others.filter(|scheme| *scheme != endpoint.address.scheme) {
        let other = ServerAddress {
            scheme,
            ..endpoint.address.clone()
        };
        let probed = Endpoint::from(other.clone());
        if let Ok(Ok(_)) = timeout(PROBE_TIMEOUT, probe(&probed, &options, store)).await {
            let text = format!("{}: its port speaks {scheme}; try {other}", endpoint.address);
            return ClientError::Unreachable(text);
        }
    }
    reason
}
