//! Cases about delivery: each envelope arrives complete, unchanged and once.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;

use super::subscriber::{TOPIC, TestSubscriber, number, number_in};
use crate::bus::{MessageBus, Topic};
use crate::model::{ConversationId, NodeId, UserId};

pub async fn envelope_reaches_its_subscriber(bus: Arc<dyn MessageBus>) {
    let mut subscriber = TestSubscriber::on(&*bus, &[TOPIC]).await;
    bus.publish(TOPIC, number(1)).await.unwrap();
    assert_eq!(subscriber.envelope().await, (TOPIC, number(1)));
    assert_eq!(subscriber.rest(&*bus).await, []);
}

pub async fn envelopes_arrive_byte_for_byte(bus: Arc<dyn MessageBus>) {
    let mut subscriber = TestSubscriber::on(&*bus, &[TOPIC]).await;
    let all: Vec<u8> = (0..=255).collect();
    let samples = [
        Vec::new(),
        vec![0],
        b"\r\n$-1\r\n*3\r\n".to_vec(),
        all.clone(),
        all.iter().copied().cycle().take(64 * 1024).collect(),
    ];
    for sample in samples {
        bus.publish(TOPIC, Bytes::from(sample.clone())).await.unwrap();
        let (_, bytes) = subscriber.envelope().await;
        assert!(bytes == sample, "an envelope of {} bytes was changed", sample.len());
    }
}

pub async fn envelope_arrives_with_its_topic(bus: Arc<dyn MessageBus>) {
    let topics = [
        Topic::Conversation(ConversationId(u64::MAX)),
        Topic::User(UserId(u64::MAX)),
        Topic::Node(NodeId([0xff; 16])),
        Topic::Node(NodeId([0; 16])),
        Topic::Control,
    ];
    let mut subscriber = TestSubscriber::on(&*bus, &topics).await;
    for topic in topics {
        bus.publish(topic, number(1)).await.unwrap();
        assert_eq!(subscriber.envelope().await, (topic, number(1)));
    }
}

pub async fn envelope_reaches_every_subscriber(bus: Arc<dyn MessageBus>) {
    let mut subscribers = Vec::new();
    for _ in 0..5 {
        subscribers.push(TestSubscriber::on(&*bus, &[TOPIC]).await);
    }
    bus.publish(TOPIC, number(1)).await.unwrap();
    for subscriber in &mut subscribers {
        assert_eq!(subscriber.envelope().await, (TOPIC, number(1)));
        assert_eq!(subscriber.rest(&*bus).await, []);
    }
}

pub async fn envelope_reaches_its_publisher_too(bus: Arc<dyn MessageBus>) {
    let mut subscriber = TestSubscriber::on(&*bus, &[Topic::Control]).await;
    for n in 0..10 {
        bus.publish(Topic::Control, number(n)).await.unwrap();
        assert_eq!(subscriber.envelope().await, (Topic::Control, number(n)));
    }
}

pub async fn envelope_arrives_once(bus: Arc<dyn MessageBus>) {
    let other = Topic::User(UserId(8));
    let mut subscriber = TestSubscriber::on(&*bus, &[TOPIC, other]).await;
    for n in 0..1000 {
        bus.publish(if n % 2 == 0 { TOPIC } else { other }, number(n))
            .await
            .unwrap();
    }
    let mut seen = HashSet::new();
    for _ in 0..1000 {
        assert!(seen.insert(number_in(&subscriber.envelope().await.1)));
    }
    assert_eq!(subscriber.rest(&*bus).await, []);
}

pub async fn concurrent_publishers_lose_nothing(bus: Arc<dyn MessageBus>) {
    let mut subscriber = TestSubscriber::on(&*bus, &[TOPIC]).await;
    let publish = (0..20).map(|task| {
        let bus = Arc::clone(&bus);
        tokio::spawn(async move {
            for n in 0..50 {
                bus.publish(TOPIC, number(task * 50 + n)).await.unwrap();
            }
        })
    });
    let publish: Vec<_> = publish.collect();
    let mut seen = HashSet::new();
    for _ in 0..1000 {
        assert!(seen.insert(number_in(&subscriber.envelope().await.1)));
    }
    for task in publish {
        task.await.unwrap();
    }
}

pub async fn publish_succeeds_without_subscribers(bus: Arc<dyn MessageBus>) {
    for n in 0..100 {
        bus.publish(TOPIC, number(n)).await.unwrap();
    }
}
