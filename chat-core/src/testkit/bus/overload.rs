//! Cases about overload: a slow subscriber gets a gap in place of lost envelopes, and does not
//! delay other subscribers. A call of `next` that is cancelled loses no message.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::subscriber::{TOPIC, TestSubscriber, number, number_in};
use crate::bus::{BusMessage, MessageBus, Topic};
use crate::model::UserId;

/// Number of envelopes of a flood, which is to exceed the subscriber queue of the bus.
const FLOOD: u32 = 20_000;

/// Publishes [`FLOOD`] envelopes of 1 KiB each.
async fn flood(bus: &dyn MessageBus) {
    for n in 0..FLOOD {
        let mut envelope = n.to_be_bytes().to_vec();
        envelope.resize(1024, 0);
        bus.publish(TOPIC, Bytes::from(envelope)).await.unwrap();
    }
}

/// Returns whether `messages` contain every envelope of a flood, or at least one gap.
fn is_accounted_for(messages: &[BusMessage]) -> bool {
    let numbers: HashSet<u32> = messages
        .iter()
        .filter_map(|message| match message {
            BusMessage::Envelope(topic, bytes) if *topic == TOPIC => Some(number_in(bytes)),
            _ => None,
        })
        .collect();
    numbers.len() == FLOOD as usize || messages.contains(&BusMessage::Gap)
}

pub async fn slow_subscriber_gets_every_envelope_or_a_gap(bus: Arc<dyn MessageBus>) {
    let mut subscriber = TestSubscriber::on(&*bus, &[TOPIC]).await;
    flood(&*bus).await;
    let messages = subscriber.rest(&*bus).await;
    assert!(is_accounted_for(&messages), "envelopes are missing without a gap");
}

pub async fn slow_subscriber_recovers(bus: Arc<dyn MessageBus>) {
    let mut subscriber = TestSubscriber::on(&*bus, &[TOPIC]).await;
    flood(&*bus).await;
    subscriber.rest(&*bus).await;
    for n in 0..100 {
        bus.publish(TOPIC, number(n)).await.unwrap();
        assert_eq!(subscriber.envelope().await, (TOPIC, number(n)));
    }
}

pub async fn stuck_subscriber_delays_no_other(bus: Arc<dyn MessageBus>) {
    let other = Topic::User(UserId(8));
    let _stuck = TestSubscriber::on(&*bus, &[TOPIC, other]).await;
    let mut quick = TestSubscriber::on(&*bus, &[other]).await;
    flood(&*bus).await;
    for n in 0..100 {
        bus.publish(other, number(n)).await.unwrap();
        assert_eq!(quick.envelope().await, (other, number(n)));
    }
}

pub async fn cancelled_next_loses_nothing(bus: Arc<dyn MessageBus>) {
    let mut subscriber = TestSubscriber::on(&*bus, &[TOPIC]).await;
    let publish = tokio::spawn({
        let bus = Arc::clone(&bus);
        async move {
            for n in 0..500 {
                bus.publish(TOPIC, number(n)).await.unwrap();
                tokio::task::yield_now().await;
            }
        }
    });
    let mut seen = HashSet::new();
    let mut record = |message| match message {
        BusMessage::Envelope(_, bytes) => assert!(seen.insert(number_in(&bytes)), "an envelope arrived twice"),
        BusMessage::Gap => panic!("a gap, although the subscriber keeps up"),
    };
    while !publish.is_finished() {
        for micros in [0, 1, 10, 100] {
            subscriber
                .next_within(Duration::from_micros(micros))
                .await
                .into_iter()
                .for_each(&mut record);
        }
    }
    publish.await.unwrap();
    subscriber.rest(&*bus).await.into_iter().for_each(&mut record);
    assert_eq!(seen.len(), 500);
}
