//! [`discover`]: asks a server for the nodes of its service.

use std::time::{Duration, Instant};

use tokio::time::timeout;

use crate::codec::{Answer, Hello, Incoming, NodeEntry, Request, RequestId, RequestKind, version};

use super::address::{Endpoint, ServerAddress};
use super::connect::{ConnectError, Severity, connect_to};
use super::connection::{Reader, Writer};
use super::{ClientError, ClientOptions, ClientStore, scheme_probe};

/// Maximum time for the replies of one server.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Returns the nodes of a service that accept sessions, the least loaded first. Asks the servers of
/// `options`, one after another, until one answers with its nodes; as a client does, it pins their
/// keys on first contact. Each node is returned as its first address with the scheme of the server
/// that answered; a node without such an address is omitted. If no node is left, the result is the
/// address of that server. Use the result as [`ClientOptions::servers`].
///
/// # Errors
/// No server answered with its nodes, or `options` contains no server. A server counts as forbidden
/// if the rules for unencrypted connections forbid it, or its certificate was refused for another
/// reason than its dates. The error is that of the last server that is not forbidden, or of the
/// first server if all are. If the port of that server speaks another scheme, the error may suggest
/// that scheme.
///
/// # Cancel safety
/// Dropping the future loses nothing.
pub async fn discover(options: &ClientOptions, store: &dyn ClientStore) -> Result<Vec<ServerAddress>, ClientError> {
    let mut failed = None;
    for endpoint in &options.servers {
        match ask(endpoint, options, store).await {
            Ok(nodes) => return Ok(choose(nodes, &endpoint.address)),
            // The failure of another server is reported rather than that this one is forbidden.
            Err(error) if error.severity == Severity::Forbidden && failed.is_some() => {}
            Err(error) => failed = Some((error.reason, endpoint)),
        }
    }
    match failed {
        Some((reason, endpoint)) => Err(scheme_probe::explain(reason, endpoint, options, store).await),
        None => Err(ClientError::Unreachable("no server was given".to_owned())),
    }
}

/// Connects to a server and requests its list of nodes.
async fn ask(
    endpoint: &Endpoint,
    options: &ClientOptions,
    store: &dyn ClientStore,
) -> Result<Vec<NodeEntry>, ConnectError> {
    let (mut reader, mut writer) = connect_to(endpoint, options, store).await?;
    match timeout(
        ANSWER_TIMEOUT,
        request_nodes(&mut reader, &mut writer, &options.client_name),
    )
    .await
    {
        Ok(Ok(nodes)) => Ok(nodes),
        Ok(Err(reason)) => Err(ConnectError {
            reason,
            retry_after: None,
            severity: Severity::Temporary,
        }),
        Err(_) => Err(ConnectError::temporary(endpoint, "no list of nodes arrived in time")),
    }
}

/// Requests the list of nodes over a new connection.
async fn request_nodes(reader: &mut Reader, writer: &mut Writer, client: &str) -> Result<Vec<NodeEntry>, ClientError> {
    let hello = Hello {
        min_version: version::MIN,
        max_version: version::MAX,
        client: client.to_owned(),
    };
    for (id, kind) in (1..).zip([RequestKind::Hello(hello), RequestKind::ListNodes]) {
        writer.put(&Request {
            id: RequestId(id),
            kind,
        });
    }
    writer.seal(Instant::now())?;
    while writer.is_pending() {
        writer.write().await?;
    }
    loop {
        while let Some(incoming) = reader.next(Instant::now())? {
            match incoming {
                Incoming::Reply {
                    result: Ok(Answer::Nodes(nodes)),
                    ..
                } => return Ok(nodes),
                // For example, servers of earlier versions do not know this request.
                Incoming::Reply {
                    result: Err(failure), ..
                } => return Err(ClientError::Refused(failure)),
                _ => {}
            }
        }
        reader.read().await?;
    }
}

/// Returns the first address with the scheme of `asked` of each node that accepts sessions and has
/// such an address, the least loaded node first. If there is none, returns `asked`, the server that
/// answered.
fn choose(mut nodes: Vec<NodeEntry>, asked: &ServerAddress) -> Vec<ServerAddress> {
    nodes.sort_by_key(|node| node.sessions);
    let usable = nodes.iter().filter(|node| !node.accepts_no_sessions);
    let address = |node: &NodeEntry| {
        let addresses = node.addresses.iter();
        let mut parsed = addresses.filter_map(|text| ServerAddress::parse(text, asked.scheme).ok());
        parsed.find(|address| address.scheme == asked.scheme)
    };
    let mut chosen: Vec<ServerAddress> = usable.filter_map(address).collect();
    if chosen.is_empty() {
        chosen.push(asked.clone());
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choose_returns_nodes_with_a_usable_address_and_the_least_loaded_first() {
        let node = |sessions, accepts_no_sessions, addresses: &[&str]| NodeEntry {
            addresses: addresses.iter().map(|&address| address.to_owned()).collect(),
            sessions,
            accepts_no_sessions,
        };
        let asked: ServerAddress = "tls://gate:1".parse().unwrap();
        let nodes = vec![
            node(9, false, &["sc1://a:1", "tls://a:2"]),
            node(1, true, &["tls://b:2"]),
            node(2, false, &["sc1://c:1"]),
            node(3, false, &["ftp://d:1", "tls://d:2", "tls://d:3"]),
            node(4, false, &[]),
        ];
        let texts = |chosen: Vec<ServerAddress>| chosen.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(texts(choose(nodes, &asked)), ["tls://d:2", "tls://a:2"]);
        assert_eq!(texts(choose(Vec::new(), &asked)), ["tls://gate:1"]);
    }
}
