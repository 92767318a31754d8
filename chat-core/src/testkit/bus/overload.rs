//! Whoever does not keep up is told, and nobody else suffers.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::subscriber::{ROOM, TestSubscriber, number, read};
use crate::bus::{BusMessage, MessageBus, Topic};
use crate::model::UserId;

/// More than anybody has to keep for a subscriber.
const FLOOD: u32 = 20_000;

/// Publishes more than a subscriber has to be kept, each a KiB.
async fn flood(bus: &dyn MessageBus) {
    for n in 0..FLOOD {
        let mut envelope = n.to_be_bytes().to_vec();
        envelope.resize(1024, 0);
        bus.publish(ROOM, Bytes::from(envelope)).await.unwrap();
    }
}

/// Reads what came of it; whether something is missing without a gap, and whether there was a gap.
fn judge(deliveries: &[BusMessage]) -> (bool, bool) {
    let numbers: HashSet<u32> = deliveries
        .iter()
        .filter_map(|delivery| match delivery {
            BusMessage::Envelope(topic, bytes) if *topic == ROOM => Some(read(bytes)),
            _ => None,
        })
        .collect();
    let gap = deliveries.contains(&BusMessage::Gap);
    (numbers.len() < FLOOD as usize && !gap, gap)
}

pub async fn who_falls_behind_is_told_so(bus: Arc<dyn MessageBus>) {
    let mut subscriber = TestSubscriber::on(&*bus, &[ROOM]).await;
    flood(&*bus).await;
    let (lied, _) = judge(&subscriber.rest(&*bus).await);
    assert!(!lied, "something is missing, and no gap says so");
}

pub async fn who_fell_behind_hears_again(bus: Arc<dyn MessageBus>) {
    let mut subscriber = TestSubscriber::on(&*bus, &[ROOM]).await;
    flood(&*bus).await;
    subscriber.rest(&*bus).await;
    for n in 0..100 {
        bus.publish(ROOM, number(n)).await.unwrap();
        assert_eq!(subscriber.envelope().await, (ROOM, number(n)));
    }
}

pub async fn who_does_not_read_holds_up_nobody(bus: Arc<dyn MessageBus>) {
    let other = Topic::User(UserId(8));
    let _never = TestSubscriber::on(&*bus, &[ROOM, other]).await;
    let mut quick = TestSubscriber::on(&*bus, &[other]).await;
    flood(&*bus).await;
    for n in 0..100 {
        bus.publish(other, number(n)).await.unwrap();
        assert_eq!(quick.envelope().await, (other, number(n)));
    }
}

pub async fn a_wait_that_is_given_up_loses_nothing(bus: Arc<dyn MessageBus>) {
    let mut subscriber = TestSubscriber::on(&*bus, &[ROOM]).await;
    let publish = tokio::spawn({
        let bus = Arc::clone(&bus);
        async move {
            for n in 0..500 {
                bus.publish(ROOM, number(n)).await.unwrap();
                tokio::task::yield_now().await;
            }
        }
    });
    let mut seen = HashSet::new();
    let mut note = |delivery| match delivery {
        BusMessage::Envelope(_, bytes) => assert!(seen.insert(read(&bytes)), "it came twice"),
        BusMessage::Gap => panic!("nothing was lost"),
    };
    while !publish.is_finished() {
        for micros in [0, 1, 10, 100] {
            subscriber
                .give_up(Duration::from_micros(micros))
                .await
                .into_iter()
                .for_each(&mut note);
        }
    }
    publish.await.unwrap();
    subscriber.rest(&*bus).await.into_iter().for_each(&mut note);
    assert_eq!(seen.len(), 500);
}
