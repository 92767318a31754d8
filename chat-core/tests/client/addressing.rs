//! Tests of messages that are addressed by the name of a group or user, also after it has been
//! renamed and another group or user has taken the former name.

use std::sync::Arc;

use chat_core::client::{Client, ClientStore as _, MemoryStore};
use chat_core::commands::Commands;
use chat_core::engine::operator::OperatorName;
use chat_core::model::{
    ConversationRef, DeviceId, DraftContent, EventBody, GroupChanges, GroupName, NewGroup, Note, Page, PageFrom,
    Registration, Secret, Source, StoreEpoch, UserName,
};

use super::support::{Deployment, WAIT_TIMEOUT, direct, message};

#[tokio::test]
async fn queued_message_goes_to_the_group_that_had_the_name_when_it_was_enqueued() {
    let deployment = Deployment::new().await;
    let node = deployment.node().await;
    let [alice, bob] = deployment.register_friends(&node, ["alice", "bob"]).await;
    let (alice, bob) = (node.options(&alice), node.options(&bob));
    let general = || GroupName::parse("general").unwrap();
    let store = Arc::new(MemoryStore::new());
    let sender = Client::connect(alice.clone(), Arc::clone(&store)).await.unwrap();
    let old = sender.create_group(NewGroup::new(general())).await.unwrap();
    let id = tokio::time::timeout(WAIT_TIMEOUT, async {
        loop {
            if let Some(info) = sender.find_conversation(&ConversationRef::Group(general())) {
                break info.id;
            }
            tokio::task::yield_now().await;
        }
    });
    assert_eq!(id.await.unwrap(), old.id);
    let address = node.address();
    node.stop().await;
    sender
        .enqueue(ConversationRef::Group(general()), DraftContent::text(message(1)))
        .await
        .unwrap();
    sender.close().await;
    let outbox = store.load().await.unwrap().outbox;
    assert_eq!(outbox[0].conversation, ConversationRef::Id(old.id));

    // Meanwhile another device renames the group, and another user takes the name.
    let _node = deployment.node_at(address.port).await;
    let second_device = Client::connect(alice.clone(), MemoryStore::new()).await.unwrap();
    let mut changes = GroupChanges::default();
    changes.name = Some(GroupName::parse("archive").unwrap());
    second_device.update_group(old.id, changes).await.unwrap();
    let other = Client::connect(bob, MemoryStore::new()).await.unwrap();
    let new = other.create_group(NewGroup::new(general())).await.unwrap();
    second_device.join_group(new.id, Note::default()).await.unwrap();

    let sender = Client::connect(alice, store).await.unwrap();
    tokio::time::timeout(WAIT_TIMEOUT, sender.flush())
        .await
        .unwrap()
        .unwrap();
    let page = || Page::new(PageFrom::Newest, 10);
    let count_messages = async |group| {
        let events = second_device.history(group, page()).await.unwrap().events;
        events
            .iter()
            .filter(|found| matches!(found.event.body(), Ok(EventBody::Message(_))))
            .count()
    };
    assert_eq!((count_messages(old.id).await, count_messages(new.id).await), (1, 0));
}

/// An operator renames a user, and another user takes the name and becomes a friend. Once the
/// client has seen the new owner of the name, the name no longer denotes the conversation with the
/// former one.
#[tokio::test]
async fn message_goes_to_the_new_owner_of_a_user_name() {
    let deployment = Deployment::new().await;
    let node = deployment.node().await;
    let [alice, _] = deployment.register_friends(&node, ["alice", "carol"]).await;
    let client = Client::connect(node.options(&alice), MemoryStore::new()).await.unwrap();
    let old = client.send_text(direct("carol"), "to the first").await.unwrap();
    let until = async |what: &str, reached: &dyn Fn() -> bool| {
        let reaching = async {
            while !reached() {
                tokio::task::yield_now().await;
            }
        };
        let result = tokio::time::timeout(WAIT_TIMEOUT, reaching).await;
        result.unwrap_or_else(|_| panic!("{what}"));
    };
    until("the conversation is known", &|| {
        client.find_conversation(&direct("carol")).is_some()
    })
    .await;

    let operator = node.engine.operator(OperatorName::new("olga").unwrap());
    let caroline = UserName::parse("caroline").unwrap();
    operator
        .rename_account(UserName::parse("carol").unwrap(), caroline)
        .await
        .unwrap();
    let registration = Registration::new(UserName::parse("carol").unwrap(), Secret::new("another password"));
    let carol = node.engine.register(Source::Local, registration).await.unwrap().id;
    let session = node.engine.session(carol, DeviceId::random()).await.unwrap();
    session
        .request_friend(client.me().unwrap().id, Note::default())
        .await
        .unwrap();
    client.answer_friend(carol, true).await.unwrap();
    assert!(
        client
            .contacts()
            .await
            .unwrap()
            .iter()
            .any(|contact| contact.user.id == carol)
    );

    let new = client.send_text(direct("carol"), "to the second").await.unwrap();
    assert_ne!(new.conversation, old.conversation);
    until("the conversation with the first user has its new name", &|| {
        client.find_conversation(&direct("caroline")).map(|info| info.id) == Some(old.conversation)
    })
    .await;
    until("the name denotes the new conversation", &|| {
        client.find_conversation(&direct("carol")).map(|info| info.id) == Some(new.conversation)
    })
    .await;
}

/// A client that has not connected yet knows the groups that an earlier client saved in its store.
#[tokio::test]
async fn message_without_a_connection_is_addressed_by_the_id_of_its_group() {
    let deployment = Deployment::new().await;
    let node = deployment.node().await;
    let [alice, _bob] = deployment.register_friends(&node, ["alice", "bob"]).await;
    let options = node.options(&alice);
    let general = || GroupName::parse("general").unwrap();
    let store = Arc::new(MemoryStore::new());
    let client = Client::connect(options.clone(), Arc::clone(&store)).await.unwrap();
    let group = client.create_group(NewGroup::new(general())).await.unwrap();
    while client.find_conversation(&ConversationRef::Group(general())).is_none() {
        tokio::task::yield_now().await;
    }
    client.close().await;
    node.stop().await;

    let enqueue_offline = async || {
        let client = Client::start(options.clone(), Arc::clone(&store)).await.unwrap();
        // The name of the group in another spelling, and a name that the client does not know.
        for name in ["General", "elsewhere"] {
            let name = ConversationRef::Group(GroupName::parse(name).unwrap());
            client.enqueue(name, DraftContent::text(message(1))).await.unwrap();
        }
        client.close().await;
        let saved = store.load().await.unwrap();
        let ids: Vec<_> = saved.outbox.iter().map(|entry| entry.id).collect();
        store.settle(&ids).await.unwrap();
        saved.outbox
    };
    let outbox = enqueue_offline().await;
    assert_eq!(outbox[0].conversation, ConversationRef::Id(group.id));
    assert_eq!(
        (outbox[0].store_epoch.is_some(), &outbox[0].name),
        (
            true,
            &Some(ConversationRef::Group(GroupName::parse("General").unwrap()))
        )
    );
    assert!(outbox[1].conversation.is_by_name());

    // The groups of another store epoch are not used.
    let mut account = store.load().await.unwrap().account;
    account.store_epoch = Some(StoreEpoch::random());
    store.save_account(&account).await.unwrap();
    assert!(enqueue_offline().await[0].conversation.is_by_name());
}
