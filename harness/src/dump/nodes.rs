//! Reads logs from nodes.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;

use chat_core::codec::{Answer, LoggedIn, RequestKind, body};
use chat_core::commands::Commands;
use chat_core::model::{ConversationId, ConversationInfo, DeviceId, Login, Page, Secret, Seq, UserName, UserRef};
use chat_core::secure::Fingerprint;
use chat_core::testkit::Peer;

use super::{Database, all_conversations, epoch, record, record_memberships};
use crate::Cluster;
use crate::deadline::with_deadline;
use crate::history::{LogPosition, Observation, Writer};

/// Node that returns logs, and the store epoch of its logs.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) name: String,
    pub(crate) epoch: String,
}

/// Records the logs of `groups` as each node returns them to the user named `reader_name`, who is a
/// member of all of them, and all logs and memberships of the database.
///
/// # Errors
/// A node or the database does not answer or refuses a request, or the history cannot be written.
pub async fn dump(cluster: &Cluster, reader_name: &str, groups: &[u64], history: &Writer) -> io::Result<()> {
    for (number, node) in cluster.nodes.iter().enumerate() {
        let name = format!("node {}", number + 1);
        let mut peer = with_deadline(&name, Peer::connect(node.address(), node.fingerprint())).await?;
        let logged_in = with_deadline(&name, peer.login(reader_name)).await?;
        let epoch = epoch(logged_in.store_epoch);
        let source = Source { name, epoch };
        for group in groups {
            dump_log(&mut peer, ConversationId(*group), &source, history).await?;
        }
    }
    let database: Database = cluster.database.url("chat").parse().map_err(io::Error::other)?;
    database.dump(None, history)
}

/// Logs a user in at `server`, on a new device, and records the logs that the server returns to the
/// user and the user's memberships: of the conversations in `only`, or of all. Leaves out logs that
/// the user cannot read from the beginning to the end.
///
/// # Errors
/// The name is not valid, the server does not answer or refuses a request, or the history cannot be
/// written.
pub async fn dump_as(
    server: SocketAddr,
    pin: Fingerprint,
    (name, password): (&str, &str),
    only: Option<&BTreeSet<u64>>,
    history: &Writer,
) -> io::Result<()> {
    let mut peer = with_deadline(server, Peer::connect(server, pin)).await?;
    let mut login = Login::new(
        UserName::parse(name).map(UserRef::Name).map_err(io::Error::other)?,
        Secret::new(password),
        DeviceId::random(),
    );
    login.device_name = "check".to_owned();
    let logged_in = match with_deadline(server, peer.ask(RequestKind::Login(login))).await? {
        Ok(Answer::LoggedIn(logged_in)) => logged_in,
        Ok(other) => return Err(io::Error::other(format!("{server} answered Login with {other:?}"))),
        Err(failure) => {
            return Err(io::Error::other(format!(
                "{server} refused the login of {name}: {failure}"
            )));
        }
    };
    let LoggedIn { user, store_epoch, .. } = *logged_in;
    let is_wanted = |info: &ConversationInfo| only.is_none_or(|only| only.contains(&info.id.0));
    let conversations = with_deadline(server, all_conversations(&mut peer)).await?;
    let conversations: Vec<ConversationInfo> = conversations.into_iter().filter(is_wanted).collect();
    record_memberships(user.id.0, &conversations, history)?;
    let mut recorded = BTreeSet::new();
    // The name contains the user, because other users may read other logs from the same server.
    let source = Source {
        name: format!("{server} to {name}"),
        epoch: epoch(store_epoch),
    };
    dump_readable(&mut peer, &conversations, &source, &mut recorded, history).await
}

/// Records the logs of the `conversations` that the user can read from the beginning to the end,
/// except those in `recorded`, and adds them to `recorded`.
pub(crate) async fn dump_readable(
    peer: &mut Peer,
    conversations: &[ConversationInfo],
    source: &Source,
    recorded: &mut BTreeSet<u64>,
    history: &Writer,
) -> io::Result<()> {
    for info in conversations {
        let is_readable = info.active && info.first_seq <= Seq(1);
        if is_readable && recorded.insert(info.id.0) {
            dump_log(peer, info.id, source, history).await?;
        }
    }
    Ok(())
}

async fn dump_log(peer: &mut Peer, conversation: ConversationId, source: &Source, history: &Writer) -> io::Result<()> {
    let mut after = Seq::ZERO;
    let (asked, last) = loop {
        let asked = history.now();
        let calls = peer.commands();
        let mut page = Page::after(after, 500);
        page.max_bytes = 200_000;
        let read = calls.history(conversation, page);
        let page = with_deadline(&source.name, async { Ok(read.await?) }).await?;
        let before = after;
        for readable in &page.events {
            after = after.max(readable.event.seq);
            let decoded = body::decode(readable.event.kind, &readable.event.body).map_err(io::Error::other)?;
            history.note(Observation::Logged {
                source: source.name.clone(),
                epoch: source.epoch.clone(),
                event: record(&readable.event, &decoded),
            })?;
        }
        if !page.has_more {
            // Records the head that the node reports, not the last event that it returned: the
            // check compares the two.
            break (asked, page.last_seq);
        }
        if after <= before {
            let text = format!(
                "{} reports more events of conversation {} after position {}, but returns none",
                source.name, conversation.0, before.0
            );
            return Err(io::Error::other(text));
        }
    };
    let last = LogPosition {
        conversation: conversation.0,
        seq: last.0,
    };
    let source = source.name.clone();
    history.note(Observation::Head { source, last, asked })
}
