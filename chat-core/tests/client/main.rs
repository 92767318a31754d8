//! Tests of the client against servers in this process, over real sockets and the real secure
//! channel.

#![allow(clippy::unwrap_used)] // a test that cannot continue has failed

mod addressing;
mod restored;
mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chat_core::client::{
    AccountState, Client, ClientError, ClientEvent, ClientStore, ClientStoreError, Credentials, Cursor, KnownGroups,
    MemoryStore, OutboxEntry, Receive, SavedState, SendOutcome, Status,
};
use chat_core::commands::Commands;
use chat_core::model::{
    ClientMessageId, Command, ConversationId, Draft, DraftContent, MessageText, ReplyCode, Seq, UserId,
};
use chat_core::secure::{Fingerprint, KnownHosts, ServerIdentity, ServerKeys, Trust};

use support::{Deployment, WAIT_TIMEOUT, direct, message, seqs};

#[tokio::test]
async fn slow_application_misses_no_event_and_gets_unacknowledged_ones_again() {
    let deployment = Deployment::new().await;
    let node = deployment.node().await;
    let [alice, bob] = deployment.register_friends(&node, ["alice", "bob"]).await;
    let mut options = node.options(&alice);
    options.max_in_flight = 32;
    let sender = Client::connect(options, MemoryStore::new()).await.unwrap();
    let store = Arc::new(MemoryStore::new());
    let reader = Client::connect(node.options(&bob), Arc::clone(&store)).await.unwrap();
    let mut events = reader.events().unwrap();

    // Sends more messages than the queues of the client hold, while the application takes no event.
    let mut handles = Vec::new();
    for number in 1..=3000 {
        handles.push(
            sender
                .enqueue(direct("bob"), DraftContent::text(message(number)))
                .await
                .unwrap(),
        );
    }
    for mut handle in handles {
        assert!(matches!(handle.outcome().await.unwrap(), SendOutcome::Stored(_)));
    }
    let first = seqs(&mut events, 2000).await;
    assert_eq!(first, (1..=2000).collect::<Vec<_>>());
    reader.acknowledge(
        reader
            .known_conversations()
            .iter()
            .find(|info| info.last_seq > Seq(1000))
            .unwrap()
            .id,
        Seq(1500),
    );
    reader.close().await;
    drop(events);

    // The next client with this store starts after the acknowledged events.
    let mut options = node.options(&bob);
    options.credentials = Credentials::Stored;
    let next = Client::connect(options, store).await.unwrap();
    let rest = seqs(&mut next.events().unwrap(), 1500).await;
    assert_eq!(rest, (1501..=3000).collect::<Vec<_>>());
}

#[tokio::test]
async fn names_returns_users_but_not_the_system() {
    let deployment = Deployment::new().await;
    let node = deployment.node().await;
    let [alice, bob] = deployment.register_friends(&node, ["alice", "bob"]).await;
    let client = Client::connect(node.options(&alice), MemoryStore::new()).await.unwrap();
    let bob = client.search_users(bob, 1).await.unwrap().remove(0).id;
    let names = client.names([UserId::SYSTEM, bob]).await.unwrap();
    assert_eq!(names, [(bob, "bob".to_owned())].into());
}

#[tokio::test]
async fn client_reconnects_to_another_node() {
    let deployment = Deployment::new().await;
    let (one, two) = (deployment.node().await, deployment.node().await);
    let [alice, bob] = deployment.register_friends(&one, ["alice", "bob"]).await;
    let mut options = one.options(&alice);
    options.servers = vec![one.address().into(), two.address().into()];
    let client = Client::connect(options, MemoryStore::new()).await.unwrap();
    let reader = Client::connect(two.options(&bob), MemoryStore::new()).await.unwrap();
    let mut events = reader.events().unwrap();
    let mut handle = client
        .enqueue(direct("bob"), DraftContent::text(message(1)))
        .await
        .unwrap();
    assert!(matches!(handle.outcome().await.unwrap(), SendOutcome::Stored(_)));
    one.stop().await;
    let mut handle = client
        .enqueue(direct("bob"), DraftContent::text(message(2)))
        .await
        .unwrap();
    let outcome = tokio::time::timeout(WAIT_TIMEOUT, handle.outcome()).await.unwrap();
    assert!(matches!(outcome.unwrap(), SendOutcome::Stored(_)));
    assert_eq!(seqs(&mut events, 2).await, [1, 2]);
}

#[tokio::test]
async fn message_waits_for_a_server() {
    let deployment = Deployment::new().await;
    let node = deployment.node().await;
    let [alice, _bob] = deployment.register_friends(&node, ["alice", "bob"]).await;
    let mut options = node.options(&alice);
    let address = node.address();
    node.stop().await;
    options.max_rounds = Some(1);
    let store = Arc::new(MemoryStore::new());
    let client = Client::start(options.clone(), Arc::clone(&store)).await.unwrap();
    let mut handle = client
        .enqueue(direct("bob"), DraftContent::text(message(1)))
        .await
        .unwrap();
    assert!(matches!(client.ready().await, Err(ClientError::Unreachable(_))));
    assert!(matches!(handle.outcome().await, Err(ClientError::Closed)));
    client.close().await;

    let _node = deployment.node_at(address.port).await;
    let client = Client::connect(options, store).await.unwrap();
    tokio::time::timeout(WAIT_TIMEOUT, client.flush())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(client.unsettled(), 0);
    let info = client.execute(Command::GetConversation(direct("bob"))).await.unwrap();
    assert!(format!("{info:?}").contains("last_seq: Seq(1)"), "{info:?}");
}

#[tokio::test]
async fn message_enqueued_twice_is_stored_once_and_both_handles_get_its_outcome() {
    let deployment = Deployment::new().await;
    let node = deployment.node().await;
    let [alice, _bob] = deployment.register_friends(&node, ["alice", "bob"]).await;
    let (options, address) = (node.options(&alice), node.address());
    node.stop().await;
    let draft = |number| Draft::text(message(number));
    let (first, other) = (draft(1), draft(1));
    let again = |number| draft(number).with_id(first.client_message_id);
    let store = Arc::new(MemoryStore::new());
    let client = Client::start(options.clone(), Arc::clone(&store)).await.unwrap();
    let send = |draft| client.enqueue_draft(direct("bob"), draft, None);
    // Enqueues one message twice in sequence, and another twice at the same time.
    let mut handles = vec![send(first.clone()).await.unwrap(), send(again(1)).await.unwrap()];
    let (one, two) = tokio::join!(send(other.clone()), send(draft(1).with_id(other.client_message_id)));
    handles.extend([one.unwrap(), two.unwrap()]);
    // A client message id cannot be used again for another text, or in another conversation.
    let refused = |result: Result<_, ClientError>| result.unwrap_err().code();
    assert_eq!(refused(send(again(2)).await), Some(ReplyCode::Conflict));
    let elsewhere = client.enqueue_draft(direct("alice"), again(1), None).await;
    assert_eq!(refused(elsewhere), Some(ReplyCode::Conflict));
    assert_eq!((client.unsettled(), store.load().await.unwrap().outbox.len()), (2, 2));
    client.close().await;
    for handle in &mut handles {
        assert!(matches!(handle.outcome().await, Err(ClientError::Closed)));
    }

    // The next client with this store continues with the outbox of the first.
    let client = Client::start(options, store).await.unwrap();
    let mut handles = vec![
        client.enqueue_draft(direct("bob"), again(1), None).await.unwrap(),
        client.enqueue_draft(direct("bob"), again(1), None).await.unwrap(),
    ];
    let _node = deployment.node_at(address.port).await;
    for handle in &mut handles {
        let outcome = tokio::time::timeout(WAIT_TIMEOUT, handle.outcome()).await.unwrap();
        assert!(
            matches!(&outcome, Ok(SendOutcome::Stored(appended)) if appended.seq == Seq(1)),
            "{outcome:?}"
        );
    }
    tokio::time::timeout(WAIT_TIMEOUT, client.flush())
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn client_connects_only_to_a_trusted_server_key() {
    let deployment = Deployment::new().await;
    let node = deployment.node().await;
    let [alice] = deployment.register_friends(&node, ["alice"]).await;

    let mut strict = node.options(&alice);
    strict.trust = Trust::Strict;
    let refused = Client::connect(strict, MemoryStore::new()).await;
    assert!(matches!(refused, Err(ClientError::Trust(_))), "{refused:?}");

    let any_time = 1_790_000_000; // in seconds since 1970
    let other = ServerKeys::new(ServerIdentity::generate(2048).unwrap(), any_time).unwrap();
    let mut wrong = node.options(&alice);
    wrong.pins = vec![other.fingerprint()];
    let refused = Client::connect(wrong, MemoryStore::new()).await;
    let Err(ClientError::WrongKey { presented, .. }) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(presented, deployment.fingerprint());

    let mut right = node.options(&alice);
    right.trust = Trust::Strict;
    right.pins = vec![deployment.fingerprint()];
    Client::connect(right, MemoryStore::new()).await.unwrap();
}

#[tokio::test]
async fn wrong_password_ends_the_client() {
    let deployment = Deployment::new().await;
    let node = deployment.node().await;
    let [alice] = deployment.register_friends(&node, ["alice"]).await;
    let mut options = node.options(&alice);
    options.credentials = support::password("alice", "not the password");
    let client = Client::start(options, MemoryStore::new()).await.unwrap();
    assert!(matches!(client.ready().await, Err(ClientError::Refused(_))));
    let mut events = client.events().unwrap();
    let ended = tokio::time::timeout(WAIT_TIMEOUT, events.next())
        .await
        .unwrap()
        .unwrap();
    assert!(matches!(ended.event, ClientEvent::Ended(_)));
    assert!(
        tokio::time::timeout(WAIT_TIMEOUT, events.next())
            .await
            .unwrap()
            .is_none()
    );
    assert!(matches!(
        client.execute(Command::ListDevices).await,
        Err(ClientError::Refused(_))
    ));
}

#[tokio::test]
async fn dropped_client_closes_its_connection() {
    let deployment = Deployment::new().await;
    let node = deployment.node().await;
    let [alice] = deployment.register_friends(&node, ["alice"]).await;
    let client = Client::connect(node.options(&alice), MemoryStore::new()).await.unwrap();
    assert_eq!(node.connections(), 1);
    drop(client);
    tokio::time::timeout(Duration::from_secs(2), node.wait_for_connections(0))
        .await
        .unwrap();
}

#[tokio::test]
async fn full_outbox_refuses_messages() {
    let deployment = Deployment::new().await;
    let node = deployment.node().await;
    let [alice] = deployment.register_friends(&node, ["alice"]).await;
    let mut options = node.options(&alice);
    options.max_outbox = 2;
    node.stop().await;
    let client = Client::start(options, MemoryStore::new()).await.unwrap();
    for number in 1..=2 {
        client
            .enqueue(direct("bob"), DraftContent::text(message(number)))
            .await
            .unwrap();
    }
    let refused = client.enqueue(direct("bob"), DraftContent::text(message(3))).await;
    assert!(matches!(refused, Err(ClientError::OutboxFull(2))), "{refused:?}");
}

#[tokio::test]
async fn permanent_refusal_rejects_the_message() {
    let deployment = Deployment::new().await;
    let node = deployment.node().await;
    let [alice] = deployment.register_friends(&node, ["alice"]).await;
    let mut options = node.options(&alice);
    options.receive = Receive::Nothing;
    let client = Client::connect(options, MemoryStore::new()).await.unwrap();
    let content = DraftContent::Message {
        text: MessageText::new("hello?").unwrap(),
        reply_to: None,
        mentions: Vec::new(),
        mention_all: false,
    };
    let mut handle = client.enqueue(direct("stranger"), content).await.unwrap();
    assert!(matches!(
        handle.outcome().await.unwrap(),
        SendOutcome::NotStored(ClientError::Refused(_))
    ));
    assert_eq!(client.unsettled(), 0);
}

/// A command whose caller has stopped waiting must not take effect later, because the caller has
/// already reported a failure.
#[tokio::test]
async fn command_without_a_caller_is_not_sent_by_a_later_connection() {
    let deployment = Deployment::new().await;
    let node = deployment.node().await;
    let [alice, _bob] = deployment.register_friends(&node, ["alice", "bob"]).await;
    let client = Client::connect(node.options(&alice), MemoryStore::new()).await.unwrap();
    let mut events = client.events().unwrap();
    let address = node.address();
    node.stop().await;
    while !matches!(client.status(), Status::Connecting(_)) {
        tokio::task::yield_now().await;
    }
    let abandoned = tokio::time::timeout(Duration::from_millis(100), client.logout()).await;
    assert!(abandoned.is_err());

    let _node = deployment.node_at(address.port).await;
    let mut is_disconnected = false;
    loop {
        match tokio::time::timeout(WAIT_TIMEOUT, events.next())
            .await
            .unwrap()
            .unwrap()
            .event
        {
            ClientEvent::Disconnected { .. } => is_disconnected = true,
            ClientEvent::Connected { .. } if is_disconnected => break,
            _ => {}
        }
    }
    client.devices().await.expect("the session continues");
}

/// Store that panics when the client pins a server key.
#[derive(Debug)]
struct PanickingStore(MemoryStore);

#[chat_core::async_trait]
impl ClientStore for PanickingStore {
    async fn load(&self) -> Result<SavedState, ClientStoreError> {
        self.0.load().await
    }

    async fn save_account(&self, account: &AccountState) -> Result<(), ClientStoreError> {
        self.0.save_account(account).await
    }

    async fn save_cursors(&self, cursors: &BTreeMap<ConversationId, Cursor>) -> Result<(), ClientStoreError> {
        self.0.save_cursors(cursors).await
    }

    async fn save_names(&self, names: &BTreeMap<UserId, String>) -> Result<(), ClientStoreError> {
        self.0.save_names(names).await
    }

    async fn save_groups(&self, groups: &KnownGroups) -> Result<(), ClientStoreError> {
        self.0.save_groups(groups).await
    }

    async fn queue(&self, entries: &[OutboxEntry]) -> Result<(), ClientStoreError> {
        self.0.queue(entries).await
    }

    async fn settle(&self, ids: &[ClientMessageId]) -> Result<(), ClientStoreError> {
        self.0.settle(ids).await
    }

    async fn record_authority(&self, host: &str) -> Result<(), ClientStoreError> {
        self.0.record_authority(host).await
    }

    async fn known_hosts(&self) -> Result<KnownHosts, ClientStoreError> {
        self.0.known_hosts().await
    }

    async fn pin(&self, _: &str, _: &Fingerprint) -> Result<(), ClientStoreError> {
        panic!("the store panics on purpose")
    }
}

#[tokio::test]
async fn client_ends_and_reports_a_panic_of_its_store() {
    let deployment = Deployment::new().await;
    let node = deployment.node().await;
    let [alice, _] = deployment.register_friends(&node, ["alice", "bob"]).await;
    let client = Client::start(node.options(&alice), PanickingStore(MemoryStore::new()))
        .await
        .unwrap();
    let ready = tokio::time::timeout(WAIT_TIMEOUT, client.ready())
        .await
        .expect("the client reports the end in time");
    assert!(matches!(ready, Err(ClientError::Panicked(text)) if text.contains("on purpose")));
    let refused = client.enqueue(direct("bob"), DraftContent::text(message(1))).await;
    assert!(matches!(refused, Err(ClientError::Panicked(_))));
    client.close().await;
}
