//! Detects the protocol of a port, to help users who chose a different one.

use std::time::{Duration, Instant};

use tokio::time::timeout;

use crate::codec::{Answer, Hello, Incoming, Request, RequestId, RequestKind, version};
use crate::secure::Trust;

use super::address::{Endpoint, Scheme, ServerAddress};
use super::connect::connect_to;
use super::machine::Credentials;
use super::{ClientError, ClientOptions, MemoryStore};

/// Maximum time for an answer in one scheme.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// Explains why no connection to `endpoint` could be opened. If its port speaks a different scheme
/// from that of the address, the error names that scheme; otherwise it is `reason`. The probes send
/// only a hello, and pin no key.
pub(super) async fn explain(reason: ClientError, endpoint: &Endpoint, options: &ClientOptions) -> ClientError {
    let may_be_wrong = matches!(reason, ClientError::Unreachable(_) | ClientError::Protocol(_));
    if !may_be_wrong || !endpoint.is_address() {
        return reason;
    }
    for scheme in Scheme::all().filter(|scheme| *scheme != endpoint.address.scheme) {
        let other = ServerAddress {
            scheme,
            ..endpoint.address.clone()
        };
        if let Ok(Ok(())) = timeout(PROBE_TIMEOUT, say_hello(&other, options)).await {
            let text = format!("{}: its port speaks {scheme}; try {other}", endpoint.address);
            return ClientError::Unreachable(text);
        }
    }
    reason
}

/// Says hello to a server and waits for its welcome.
async fn say_hello(address: &ServerAddress, options: &ClientOptions) -> Result<(), ClientError> {
    let endpoint = Endpoint::from(address.clone());
    let mut options = ClientOptions {
        trust: Trust::AcceptNew,
        credentials: Credentials::Stored,
        ..options.clone()
    };
    options.pins.clear();
    options.first_contact = None;
    let connected = connect_to(&endpoint, &options, &MemoryStore::new()).await;
    let (mut reader, mut writer) = connected.map_err(|error| error.reason)?;
    writer.put(&Request {
        id: RequestId(1),
        kind: RequestKind::Hello(Hello {
            min_version: version::MIN,
            max_version: version::MAX,
            client: options.client_name,
        }),
    });
    writer.seal(Instant::now())?;
    while writer.is_pending() {
        writer.write().await?;
    }
    loop {
        match reader.next(Instant::now())? {
            Some(Incoming::Reply {
                result: Ok(Answer::Welcome(_)),
                ..
            }) => return Ok(()),
            Some(_) => {}
            None => reader.read().await?,
        }
    }
}
