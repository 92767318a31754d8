//! Cases about subscriptions: a subscriber gets the envelopes of its topics, and no others.

use std::sync::Arc;
use std::time::Duration;

use super::subscriber::{TOPIC, TestSubscriber, number, number_in};
use crate::bus::{BusMessage, MessageBus, Topic};
use crate::model::{ConversationId, NodeId, UserId};

pub async fn subscriber_starts_without_topics(bus: Arc<dyn MessageBus>) {
    let mut subscriber = TestSubscriber::on(&*bus, &[]).await;
    for topic in [TOPIC, Topic::User(UserId(7)), Topic::Control] {
        bus.publish(topic, number(1)).await.unwrap();
    }
    assert_eq!(subscriber.rest(&*bus).await, []);
}

pub async fn subscriber_gets_no_other_topic(bus: Arc<dyn MessageBus>) {
    let mut subscriber = TestSubscriber::on(&*bus, &[TOPIC]).await;
    for other in [0, 6, 8, 70, 77, u64::MAX] {
        let other = Topic::Conversation(ConversationId(other));
        bus.publish(other, number(1)).await.unwrap();
    }
    assert_eq!(subscriber.rest(&*bus).await, []);
}

pub async fn topics_with_the_same_number_are_distinct(bus: Arc<dyn MessageBus>) {
    let mut id = [0; 16];
    id[15] = 7;
    let others = [Topic::User(UserId(7)), Topic::Node(NodeId(id)), Topic::Control];
    let mut subscriber = TestSubscriber::on(&*bus, &[TOPIC]).await;
    for other in others {
        bus.publish(other, number(1)).await.unwrap();
    }
    assert_eq!(subscriber.rest(&*bus).await, []);
}

pub async fn subscribe_is_idempotent(bus: Arc<dyn MessageBus>) {
    let mut subscriber = TestSubscriber::on(&*bus, &[TOPIC, TOPIC]).await;
    subscriber.topics.subscribe(TOPIC).await.unwrap();
    bus.publish(TOPIC, number(1)).await.unwrap();
    assert_eq!(subscriber.envelope().await, (TOPIC, number(1)));
    assert_eq!(subscriber.rest(&*bus).await, []);
    subscriber.topics.unsubscribe(TOPIC).await.unwrap();
    wait_until_unsubscribed(&*bus, &mut subscriber, TOPIC).await;
}

pub async fn unsubscribe_ends_delivery(bus: Arc<dyn MessageBus>) {
    let other = Topic::User(UserId(8));
    let mut subscriber = TestSubscriber::on(&*bus, &[TOPIC, other]).await;
    subscriber.topics.unsubscribe(TOPIC).await.unwrap();
    wait_until_unsubscribed(&*bus, &mut subscriber, TOPIC).await;
    bus.publish(other, number(2)).await.unwrap();
    assert_eq!(
        subscriber.envelope().await,
        (other, number(2)),
        "the other subscription continues"
    );
}

/// Publishes envelopes on a topic until the subscriber gets none of them. Panics after 100
/// attempts.
async fn wait_until_unsubscribed(bus: &dyn MessageBus, subscriber: &mut TestSubscriber, topic: Topic) {
    for _ in 0..100 {
        bus.publish(topic, number(1)).await.unwrap();
        if subscriber.rest(bus).await.is_empty() {
            return;
        }
        let _ = subscriber.next_within(Duration::from_millis(50)).await;
    }
    panic!("{topic} is still delivered");
}

pub async fn unsubscribe_needs_no_subscription(bus: Arc<dyn MessageBus>) {
    let mut subscriber = TestSubscriber::on(&*bus, &[TOPIC]).await;
    subscriber.topics.unsubscribe(Topic::User(UserId(8))).await.unwrap();
    subscriber.topics.unsubscribe(Topic::Control).await.unwrap();
    bus.publish(TOPIC, number(1)).await.unwrap();
    assert_eq!(subscriber.envelope().await, (TOPIC, number(1)));
}

pub async fn subscribe_works_again_after_unsubscribe(bus: Arc<dyn MessageBus>) {
    let mut subscriber = TestSubscriber::on(&*bus, &[TOPIC]).await;
    for n in 0..20 {
        subscriber.topics.unsubscribe(TOPIC).await.unwrap();
        subscriber.topics.subscribe(TOPIC).await.unwrap();
        bus.publish(TOPIC, number(n)).await.unwrap();
        assert_eq!(subscriber.envelope().await, (TOPIC, number(n)));
        assert_eq!(subscriber.rest(&*bus).await, []);
    }
}

pub async fn subscriber_gets_no_earlier_envelope(bus: Arc<dyn MessageBus>) {
    bus.publish(TOPIC, number(1)).await.unwrap();
    let mut subscriber = TestSubscriber::on(&*bus, &[]).await;
    bus.publish(TOPIC, number(2)).await.unwrap();
    assert_eq!(subscriber.rest(&*bus).await, []);
    subscriber.topics.subscribe(TOPIC).await.unwrap();
    bus.publish(TOPIC, number(3)).await.unwrap();
    assert_eq!(subscriber.envelope().await, (TOPIC, number(3)));
}

pub async fn topics_change_while_subscriber_waits(bus: Arc<dyn MessageBus>) {
    let mut subscriber = bus.connect().await.unwrap();
    let topics = subscriber.topics();
    let waiting = tokio::spawn(async move { tokio::time::timeout(Duration::from_secs(10), subscriber.next()).await });
    tokio::task::yield_now().await;
    topics.subscribe(TOPIC).await.unwrap();
    bus.publish(TOPIC, number(1)).await.unwrap();
    let message = waiting.await.unwrap().unwrap();
    assert_eq!(message, Some(BusMessage::Envelope(TOPIC, number(1))));
}

pub async fn topic_handles_share_one_subscriber(bus: Arc<dyn MessageBus>) {
    let mut subscriber = bus.connect().await.unwrap();
    let (one, other) = (subscriber.topics(), subscriber.topics());
    one.subscribe(TOPIC).await.unwrap();
    drop(one);
    other.subscribe(Topic::Control).await.unwrap();
    for topic in [TOPIC, Topic::Control] {
        bus.publish(topic, number(1)).await.unwrap();
        let next = tokio::time::timeout(Duration::from_secs(10), subscriber.next()).await;
        assert_eq!(next.unwrap(), Some(BusMessage::Envelope(topic, number(1))));
    }
}

pub async fn subscribers_have_separate_topics(bus: Arc<dyn MessageBus>) {
    let other = Topic::User(UserId(8));
    let (mut one, mut two) = (
        TestSubscriber::on(&*bus, &[TOPIC, other]).await,
        TestSubscriber::on(&*bus, &[TOPIC]).await,
    );
    one.topics.unsubscribe(TOPIC).await.unwrap();
    wait_until_unsubscribed(&*bus, &mut one, TOPIC).await;
    bus.publish(TOPIC, number(5)).await.unwrap();
    bus.publish(other, number(6)).await.unwrap();
    assert_eq!(one.envelope().await, (other, number(6)));
    let rest = two.rest(&*bus).await;
    let last = rest.last().cloned();
    assert_eq!(last, Some(BusMessage::Envelope(TOPIC, number(5))));
}

pub async fn subscriber_takes_hundreds_of_topics(bus: Arc<dyn MessageBus>) {
    let topics: Vec<_> = (0..500).map(|n| Topic::Conversation(ConversationId(n))).collect();
    let mut subscriber = TestSubscriber::on(&*bus, &topics).await;
    for (n, topic) in (0..).zip(&topics) {
        bus.publish(*topic, number(n)).await.unwrap();
    }
    let mut seen = Vec::new();
    for _ in &topics {
        let (topic, bytes) = subscriber.envelope().await;
        assert_eq!(topic, topics[number_in(&bytes) as usize]);
        seen.push(number_in(&bytes));
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..500).collect::<Vec<_>>());
}
