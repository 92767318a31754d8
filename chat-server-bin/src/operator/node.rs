//! Commands about the server that runs on the data directory.

use chat_core::engine::operator::SessionListing;
use chat_core::model::{ReplyCode, SessionId, escape_for_log};
use serde_json::{Value, json};

use super::command_target::{CommandContext, CommandTarget, RunningNode};
use super::printer::Printer;
use super::text::session_row;
use super::{PAGE_SIZE, refused, user_ref};
use crate::failure::Failure;

/// Lists the sessions on this server, or only those of one user. Without a running server, fails if
/// the store is a database server, because other nodes may have sessions; otherwise there are none.
pub(super) async fn list_sessions(
    context: &CommandContext<'_>,
    user: Option<&str>,
    printer: &mut Printer,
) -> Result<(), Failure> {
    let operator = &context.operator;
    if context.target.node.is_none() && context.target.store_kind != "sqlite" {
        return Err(Failure::Unavailable(format!(
            "no server runs on the data directory {}, and only nodes know their sessions; run this command on the machine of \
             a node, with its data directory",
            context.target.data_dir
        )));
    }
    if let Some(user) = user {
        let sessions = operator.sessions_of(user_ref(user)?).await.map_err(refused)?;
        return print_sessions(&sessions, printer).await;
    }
    let mut after = Some(SessionId(0));
    while let Some(last) = after {
        let page = operator.list_sessions(last, PAGE_SIZE).await.map_err(refused)?;
        print_sessions(&page.sessions, printer).await?;
        after = page.next;
    }
    Ok(())
}

async fn print_sessions(sessions: &[SessionListing], printer: &mut Printer) -> Result<(), Failure> {
    for session in sessions {
        printer.row(session, &session_row(session)).await?;
    }
    Ok(())
}

/// Prints the numbers of rows in the store, and the load and the state of this server if one runs:
/// as one JSON object, or as text with one value, or one node of the cluster, per line. The numbers
/// of rows are `null` if the store does not answer a running server; without a server the command
/// then fails.
pub(super) async fn stats(context: &CommandContext<'_>, printer: &mut Printer) -> Result<(), Failure> {
    let target = context.target;
    let rows = match context.operator.store_stats().await {
        Ok(rows) => Some(rows),
        // The state of the server says whether the store answers.
        Err(error) if target.node.is_some() && error.code == ReplyCode::TryAgain => None,
        Err(error) => return Err(refused(error)),
    };
    let mut stats = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "data_dir": target.data_dir,
        "store": target.store_kind,
        "rows": rows,
        "running": target.node.is_some(),
    });
    if let (Some(node), Value::Object(fields)) = (&target.node, &mut stats)
        && let Value::Object(values) = node_stats(target, node)
    {
        fields.extend(values);
    }
    printer.row(&stats, &as_text(&stats)).await
}

fn node_stats(target: &CommandTarget, node: &RunningNode) -> Value {
    let (engine, server) = (target.engine(), &node.server);
    let (load, network, readiness) = (engine.stats(), server.stats(), engine.readiness());
    let listeners = server.addresses().iter();
    let listeners: Vec<String> = listeners
        .map(|(protocol, address)| format!("{protocol}://{address}"))
        .collect();
    let nodes = engine.nodes();
    let nodes: Vec<Value> = nodes
        .iter()
        .map(|node| {
            json!({
                "id": node.id.to_string(),
                "addresses": node.addresses,
                "sessions": node.sessions,
                "accepts_no_sessions": node.accepts_no_sessions,
            })
        })
        .collect();
    json!({
        "uptime_s": node.started.elapsed().as_secs(),
        "listeners": listeners,
        "fingerprint": node.fingerprint,
        "ready": readiness.is_ready(),
        "store_answers": readiness.store_answers,
        "clock_is_right": readiness.clock_is_right,
        "connections": network.connections,
        "sessions": load.router.sessions,
        "conversations": load.router.conversations,
        "queued_bytes": load.queued_bytes,
        "closed_listeners": network.closed_listeners,
        "repairs": load.router.repairs,
        "sweeps": load.router.sweeps,
        "observations_dropped": load.observations_dropped,
        "panics": network.panics,
        "nodes": nodes,
    })
}

/// Returns the fields of an object as lines of name and value. An array has a line for each of its
/// values, and an empty array has none. A field of an object within the object is named after both,
/// as in `rows.accounts`.
fn as_text(object: &Value) -> String {
    let fields = object.as_object().into_iter().flatten();
    let lines = fields.flat_map(|(name, value)| match value {
        Value::Array(values) => values.iter().map(|value| line(name, value)).collect(),
        Value::Object(values) => {
            let lines = values.iter().map(|(key, value)| line(&format!("{name}.{key}"), value));
            lines.collect()
        }
        value => vec![line(name, value)],
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn line(name: &str, value: &Value) -> String {
    match value {
        Value::String(text) => format!("{name} {text}"),
        // A node: its fields stand on one line, as in
        // `nodes accepts_no_sessions false addresses sc1://a:7400 id 0194… sessions 3`.
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| line(name, value));
            format!("{name} {}", fields.collect::<Vec<_>>().join(" "))
        }
        Value::Array(values) if values.iter().all(Value::is_string) => {
            // Addresses of a node, which are escaped because they may come from another node.
            let values: Vec<_> = values.iter().filter_map(Value::as_str).map(escape_for_log).collect();
            format!(
                "{name} {}",
                if values.is_empty() {
                    "none".to_owned()
                } else {
                    values.join(",")
                }
            )
        }
        value => format!("{name} {value}"),
    }
}
