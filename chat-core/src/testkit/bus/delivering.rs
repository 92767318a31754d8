//! What is published arrives, as it was, once.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;

use super::subscriber::{ROOM, TestSubscriber, number, read};
use crate::bus::{MessageBus, Topic};
use crate::model::{ConversationId, NodeId, UserId};

pub async fn an_envelope_reaches_its_subscriber(bus: Arc<dyn MessageBus>) {
    let mut subscriber = TestSubscriber::on(&*bus, &[ROOM]).await;
    bus.publish(ROOM, number(1)).await.unwrap();
    assert_eq!(subscriber.envelope().await, (ROOM, number(1)));
    assert_eq!(subscriber.rest(&*bus).await, []);
}

pub async fn envelopes_keep_every_byte(bus: Arc<dyn MessageBus>) {
    let mut subscriber = TestSubscriber::on(&*bus, &[ROOM]).await;
    let all: Vec<u8> = (0..=255).collect();
    let samples = [
        Vec::new(),
        vec![0],
        b"\r\n$-1\r\n*3\r\n".to_vec(),
        all.clone(),
        all.iter().copied().cycle().take(64 * 1024).collect(),
    ];
    for sample in samples {
        bus.publish(ROOM, Bytes::from(sample.clone())).await.unwrap();
        let (_, bytes) = subscriber.envelope().await;
        assert!(bytes == sample, "{} bytes were changed", sample.len());
    }
}

pub async fn the_topic_comes_with_the_envelope(bus: Arc<dyn MessageBus>) {
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

pub async fn every_subscriber_gets_it(bus: Arc<dyn MessageBus>) {
    let mut subscribers = Vec::new();
    for _ in 0..5 {
        subscribers.push(TestSubscriber::on(&*bus, &[ROOM]).await);
    }
    bus.publish(ROOM, number(1)).await.unwrap();
    for subscriber in &mut subscribers {
        assert_eq!(subscriber.envelope().await, (ROOM, number(1)));
        assert_eq!(subscriber.rest(&*bus).await, []);
    }
}

pub async fn whoever_publishes_hears_it_too(bus: Arc<dyn MessageBus>) {
    let mut subscriber = TestSubscriber::on(&*bus, &[Topic::Control]).await;
    for n in 0..10 {
        bus.publish(Topic::Control, number(n)).await.unwrap();
        assert_eq!(subscriber.envelope().await, (Topic::Control, number(n)));
    }
}

pub async fn nobody_gets_it_twice(bus: Arc<dyn MessageBus>) {
    let other = Topic::User(UserId(8));
    let mut subscriber = TestSubscriber::on(&*bus, &[ROOM, other]).await;
    for n in 0..1000 {
        bus.publish(if n % 2 == 0 { ROOM } else { other }, number(n))
            .await
            .unwrap();
    }
    let mut seen = HashSet::new();
    for _ in 0..1000 {
        assert!(seen.insert(read(&subscriber.envelope().await.1)));
    }
    assert_eq!(subscriber.rest(&*bus).await, []);
}

pub async fn many_publish_at_once(bus: Arc<dyn MessageBus>) {
    let mut subscriber = TestSubscriber::on(&*bus, &[ROOM]).await;
    let publish = (0..20).map(|task| {
        let bus = Arc::clone(&bus);
        tokio::spawn(async move {
            for n in 0..50 {
                bus.publish(ROOM, number(task * 50 + n)).await.unwrap();
            }
        })
    });
    let publish: Vec<_> = publish.collect();
    let mut seen = HashSet::new();
    for _ in 0..1000 {
        assert!(seen.insert(read(&subscriber.envelope().await.1)));
    }
    for task in publish {
        task.await.unwrap();
    }
}

pub async fn nobody_has_to_listen(bus: Arc<dyn MessageBus>) {
    for n in 0..100 {
        bus.publish(ROOM, number(n)).await.unwrap();
    }
}
