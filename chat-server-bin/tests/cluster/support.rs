//! Helpers for tests with clusters.

use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use chat_core::codec::body;
use chat_core::commands::Commands;
use chat_core::model::{
    ConversationId, ConversationRef, EventBody, GroupName, NewGroup, Note, Push, Seq, UserName, UserRef,
};
use chat_core::testkit::Peer;
use tokio::time::timeout;

pub(crate) static PROGRAM: LazyLock<PathBuf> =
    LazyLock::new(|| chat_harness::binary("chat-server", env!("CARGO_BIN_EXE_chat-server")));
/// Maximum time to wait for an expected event.
pub(crate) const WAIT_TIMEOUT: Duration = Duration::from_secs(30);

pub(crate) fn named(name: &str) -> UserRef {
    UserRef::Name(UserName::parse(name).unwrap())
}

/// Creates an open group with visible history.
pub(crate) async fn create_group(peer: &mut Peer, name: &str) -> ConversationId {
    let mut group = NewGroup::new(GroupName::parse(name).unwrap());
    group.history_visible = true;
    peer.commands().create_group(group).await.unwrap().id
}

pub(crate) async fn join(peer: &mut Peer, group: ConversationRef) {
    let note = Note::default();
    peer.commands().join_group(group, note).await.unwrap();
}

/// Waits for a message with this text. Returns its seq.
pub(crate) async fn receive_text(peer: &mut Peer, text: &str) -> Seq {
    let receiving = async {
        loop {
            if let Push::Event(event) = peer.next_push().await.unwrap()
                && let Ok(EventBody::Message(message)) = body::decode(event.kind, &event.body)
                && message.text == text
            {
                return event.seq;
            }
        }
    };
    timeout(WAIT_TIMEOUT, receiving)
        .await
        .unwrap_or_else(|_| panic!("{text:?} did not arrive"))
}
