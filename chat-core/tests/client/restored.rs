//! Clients whose server is replaced by one with other data, as after the restore of an older copy:
//! the ids that the clients know belong to other conversations and users there.

use std::sync::Arc;

use chat_core::client::{Client, ClientError, ClientEvent, Events, MemoryStore, Received, SendHandle, SendOutcome};
use chat_core::commands::Commands;
use chat_core::model::{ConversationId, DraftContent, EventBody, Page, PageFrom, Seq};
use tokio::time::timeout;

use super::support::{Deployment, Node, WAIT_TIMEOUT, direct, message};

/// A deployment before and after a restore: the id of the conversation of alice and bob belongs to
/// alice and eve afterwards.
struct Restore {
    /// Node with the data before the restore.
    before: Node,
    /// Deployment with the data after the restore.
    after: Deployment,
    alice: Client,
    /// Store of the client `alice`.
    store: Arc<MemoryStore>,
    /// Id of the conversation of alice and bob before the restore.
    conversation_with_bob: ConversationId,
}

impl Restore {
    async fn new() -> Self {
        let deployment = Deployment::new().await;
        let before = deployment.node().await;
        let [alice, _, _] = deployment.register_friends(&before, ["alice", "bob", "carol"]).await;
        let store = Arc::new(MemoryStore::new());
        let alice = Client::connect(before.options(&alice), Arc::clone(&store))
            .await
            .unwrap();
        let sent = timeout(WAIT_TIMEOUT, alice.send_text(direct("bob"), "hello")).await;
        let conversation_with_bob = sent.unwrap().unwrap().conversation;
        while alice.known_conversation(conversation_with_bob).is_none() {
            tokio::task::yield_now().await;
        }
        Self {
            before,
            after: deployment.with_empty_store(),
            alice,
            store,
            conversation_with_bob,
        }
    }

    /// Stops the old node, calls `offline`, creates the data after the restore through a node on
    /// another port, and starts the new node at the address of the old node. Returns the new node,
    /// the client `alice` and its store, and the result of `offline`.
    async fn run<T>(self, offline: impl AsyncFnOnce(&Client) -> T) -> (Node, Client, Arc<MemoryStore>, T) {
        let address = self.before.address();
        self.before.stop().await;
        let done = offline(&self.alice).await;
        let setup_node = self.after.node().await;
        let [_, eve, _] = self.after.register_friends(&setup_node, ["alice", "eve", "bob"]).await;
        let eve = Client::connect(setup_node.options(&eve), MemoryStore::new())
            .await
            .unwrap();
        let sent = timeout(WAIT_TIMEOUT, eve.send_text(direct("alice"), "hello"))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(
            sent.conversation, self.conversation_with_bob,
            "the id is assigned again"
        );
        let node = self.after.node_at(address.port).await;
        (node, self.alice, self.store, done)
    }
}

async fn enqueue(client: &Client, content: DraftContent) -> SendHandle {
    client.enqueue(direct("bob"), content).await.unwrap()
}

async fn outcome(mut handle: SendHandle) -> SendOutcome {
    timeout(WAIT_TIMEOUT, handle.outcome()).await.unwrap().unwrap()
}

/// Returns the number of messages that a user has in the conversation with alice.
async fn message_count(node: &Node, user: &str) -> usize {
    let client = Client::connect(node.options(user), MemoryStore::new()).await.unwrap();
    let page = client
        .history(direct("alice"), Page::new(PageFrom::Newest, 50))
        .await
        .unwrap();
    let events = page.events.iter();
    events
        .filter(|found| matches!(found.event.body(), Ok(EventBody::Message(_))))
        .count()
}

/// Takes events up to the first that is wanted, and returns that event.
async fn wait_for_event(events: &mut Events, wanted: impl Fn(&ClientEvent) -> bool) -> Received {
    loop {
        let received = timeout(WAIT_TIMEOUT, events.next()).await.unwrap().unwrap();
        if wanted(&received.event) {
            return received;
        }
    }
}

#[tokio::test]
async fn waiting_message_reaches_its_user_and_not_the_new_owner_of_the_id() {
    let restore = Restore::new().await;
    let (node, _alice, _, [text, recall]) = restore
        .run(async |alice| {
            let text = enqueue(alice, DraftContent::text(message(1))).await;
            let recall = enqueue(alice, DraftContent::Recall { target: Seq(1) }).await;
            [text, recall]
        })
        .await;
    assert!(matches!(outcome(text).await, SendOutcome::Stored(_)));
    let recalled = outcome(recall).await;
    assert!(matches!(recalled, SendOutcome::NotStored(ClientError::StoreReplaced)));
    assert_eq!(
        (message_count(&node, "bob").await, message_count(&node, "eve").await),
        (1, 1)
    );
}

#[tokio::test]
async fn message_that_an_earlier_client_has_enqueued_reaches_its_user() {
    let restore = Restore::new().await;
    let (node, alice, store, _) = restore
        .run(async |alice| {
            let handle = enqueue(alice, DraftContent::text(message(1))).await;
            alice.close().await;
            handle
        })
        .await;
    drop(alice);
    let alice = Client::connect(node.options("alice"), store).await.unwrap();
    timeout(WAIT_TIMEOUT, alice.flush()).await.unwrap().unwrap();
    assert_eq!(
        (message_count(&node, "bob").await, message_count(&node, "eve").await),
        (1, 1)
    );
}

/// An application that has not taken the event about the restore still has the old ids.
#[tokio::test]
async fn id_is_refused_until_the_application_takes_the_event() {
    let restore = Restore::new().await;
    let id = restore.conversation_with_bob;
    let mut events = restore.alice.events().unwrap();
    let before_restore = restore.alice.with_current_epoch();
    let (_node, alice, _, ()) = restore.run(async |_| ()).await;
    wait_for_event(&mut events, |event| matches!(event, ClientEvent::Disconnected { .. })).await;
    while alice.find_conversation(&direct("eve")).is_none() {
        tokio::task::yield_now().await;
    }
    let text = || DraftContent::text(message(1));
    let refused = alice.enqueue(id, text()).await;
    assert!(matches!(refused, Err(ClientError::StoreReplaced)), "{refused:?}");
    let refused = alice.mark_read(id, Seq(1)).await;
    assert!(matches!(refused, Err(ClientError::StoreReplaced)), "{refused:?}");
    assert!(matches!(
        outcome(enqueue(&alice, text()).await).await,
        SendOutcome::Stored(_)
    ));

    wait_for_event(&mut events, |event| matches!(event, ClientEvent::StoreReplaced)).await;
    let accepted = alice.enqueue(id, text()).await.unwrap();
    assert!(matches!(outcome(accepted).await, SendOutcome::Stored(_)));
    let refused = before_restore.enqueue(id, text()).await;
    assert!(matches!(refused, Err(ClientError::StoreReplaced)), "{refused:?}");
}
