//! Whoever subscribes gets what they subscribed to.

use std::sync::Arc;
use std::time::Duration;

use super::subscriber::{ROOM, TestSubscriber, number, read};
use crate::bus::{BusMessage, MessageBus, Topic};
use crate::model::{ConversationId, NodeId, UserId};

pub async fn it_begins_with_no_topics(bus: Arc<dyn MessageBus>) {
    let mut subscriber = TestSubscriber::on(&*bus, &[]).await;
    for topic in [ROOM, Topic::User(UserId(7)), Topic::Control] {
        bus.publish(topic, number(1)).await.unwrap();
    }
    assert_eq!(subscriber.rest(&*bus).await, []);
}

pub async fn other_topics_are_not_delivered(bus: Arc<dyn MessageBus>) {
    let mut subscriber = TestSubscriber::on(&*bus, &[ROOM]).await;
    for other in [0, 6, 8, 70, 77, u64::MAX] {
        let other = Topic::Conversation(ConversationId(other));
        bus.publish(other, number(1)).await.unwrap();
    }
    assert_eq!(subscriber.rest(&*bus).await, []);
}

pub async fn one_number_names_many_topics(bus: Arc<dyn MessageBus>) {
    let mut id = [0; 16];
    id[15] = 7;
    let others = [Topic::User(UserId(7)), Topic::Node(NodeId(id)), Topic::Control];
    let mut subscriber = TestSubscriber::on(&*bus, &[ROOM]).await;
    for other in others {
        bus.publish(other, number(1)).await.unwrap();
    }
    assert_eq!(subscriber.rest(&*bus).await, []);
}

pub async fn twice_is_as_good_as_once(bus: Arc<dyn MessageBus>) {
    let mut subscriber = TestSubscriber::on(&*bus, &[ROOM, ROOM]).await;
    subscriber.topics.subscribe(ROOM).await.unwrap();
    bus.publish(ROOM, number(1)).await.unwrap();
    assert_eq!(subscriber.envelope().await, (ROOM, number(1)));
    assert_eq!(subscriber.rest(&*bus).await, []);
    subscriber.topics.unsubscribe(ROOM).await.unwrap();
    ends(&*bus, &mut subscriber, ROOM).await;
}

pub async fn unsubscribing_ends_it(bus: Arc<dyn MessageBus>) {
    let other = Topic::User(UserId(8));
    let mut subscriber = TestSubscriber::on(&*bus, &[ROOM, other]).await;
    subscriber.topics.unsubscribe(ROOM).await.unwrap();
    ends(&*bus, &mut subscriber, ROOM).await;
    bus.publish(other, number(2)).await.unwrap();
    assert_eq!(subscriber.envelope().await, (other, number(2)), "the other goes on");
}

/// Soon, what is published there does not come any more.
async fn ends(bus: &dyn MessageBus, subscriber: &mut TestSubscriber, topic: Topic) {
    for _ in 0..100 {
        bus.publish(topic, number(1)).await.unwrap();
        if subscriber.rest(bus).await.is_empty() {
            return;
        }
        let _ = subscriber.give_up(Duration::from_millis(50)).await;
    }
    panic!("{topic} is still delivered");
}

pub async fn unsubscribing_needs_no_subscription(bus: Arc<dyn MessageBus>) {
    let mut subscriber = TestSubscriber::on(&*bus, &[ROOM]).await;
    subscriber.topics.unsubscribe(Topic::User(UserId(8))).await.unwrap();
    subscriber.topics.unsubscribe(Topic::Control).await.unwrap();
    bus.publish(ROOM, number(1)).await.unwrap();
    assert_eq!(subscriber.envelope().await, (ROOM, number(1)));
}

pub async fn it_can_be_subscribed_again(bus: Arc<dyn MessageBus>) {
    let mut subscriber = TestSubscriber::on(&*bus, &[ROOM]).await;
    for n in 0..20 {
        subscriber.topics.unsubscribe(ROOM).await.unwrap();
        subscriber.topics.subscribe(ROOM).await.unwrap();
        bus.publish(ROOM, number(n)).await.unwrap();
        assert_eq!(subscriber.envelope().await, (ROOM, number(n)));
        assert_eq!(subscriber.rest(&*bus).await, []);
    }
}

pub async fn what_was_published_before_does_not_come(bus: Arc<dyn MessageBus>) {
    bus.publish(ROOM, number(1)).await.unwrap();
    let mut subscriber = TestSubscriber::on(&*bus, &[]).await;
    bus.publish(ROOM, number(2)).await.unwrap();
    assert_eq!(subscriber.rest(&*bus).await, []);
    subscriber.topics.subscribe(ROOM).await.unwrap();
    bus.publish(ROOM, number(3)).await.unwrap();
    assert_eq!(subscriber.envelope().await, (ROOM, number(3)));
}

pub async fn topics_change_while_somebody_waits(bus: Arc<dyn MessageBus>) {
    let mut subscriber = bus.connect().await.unwrap();
    let topics = subscriber.topics();
    let waiting = tokio::spawn(async move { tokio::time::timeout(Duration::from_secs(10), subscriber.next()).await });
    tokio::task::yield_now().await;
    topics.subscribe(ROOM).await.unwrap();
    bus.publish(ROOM, number(1)).await.unwrap();
    let delivery = waiting.await.unwrap().unwrap();
    assert_eq!(delivery, Some(BusMessage::Envelope(ROOM, number(1))));
}

pub async fn handles_of_one_subscriber_change_the_same(bus: Arc<dyn MessageBus>) {
    let mut subscriber = bus.connect().await.unwrap();
    let (one, other) = (subscriber.topics(), subscriber.topics());
    one.subscribe(ROOM).await.unwrap();
    drop(one);
    other.subscribe(Topic::Control).await.unwrap();
    for topic in [ROOM, Topic::Control] {
        bus.publish(topic, number(1)).await.unwrap();
        let next = tokio::time::timeout(Duration::from_secs(10), subscriber.next()).await;
        assert_eq!(next.unwrap(), Some(BusMessage::Envelope(topic, number(1))));
    }
}

pub async fn subscribers_have_their_own_topics(bus: Arc<dyn MessageBus>) {
    let other = Topic::User(UserId(8));
    let (mut one, mut two) = (
        TestSubscriber::on(&*bus, &[ROOM, other]).await,
        TestSubscriber::on(&*bus, &[ROOM]).await,
    );
    one.topics.unsubscribe(ROOM).await.unwrap();
    ends(&*bus, &mut one, ROOM).await;
    bus.publish(ROOM, number(5)).await.unwrap();
    bus.publish(other, number(6)).await.unwrap();
    assert_eq!(one.envelope().await, (other, number(6)));
    let rest = two.rest(&*bus).await;
    let last = rest.last().cloned();
    assert_eq!(last, Some(BusMessage::Envelope(ROOM, number(5))));
}

pub async fn hundreds_of_topics_are_one_subscription(bus: Arc<dyn MessageBus>) {
    let topics: Vec<_> = (0..500).map(|n| Topic::Conversation(ConversationId(n))).collect();
    let mut subscriber = TestSubscriber::on(&*bus, &topics).await;
    for (n, topic) in (0..).zip(&topics) {
        bus.publish(*topic, number(n)).await.unwrap();
    }
    let mut seen = Vec::new();
    for _ in &topics {
        let (topic, bytes) = subscriber.envelope().await;
        assert_eq!(topic, topics[read(&bytes) as usize]);
        seen.push(read(&bytes));
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..500).collect::<Vec<_>>());
}
