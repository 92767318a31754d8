//! Cases about closing a bus and dropping subscribers.

use std::sync::Arc;

use super::subscriber::{TOPIC, TestSubscriber, number};
use crate::bus::{BusError, MessageBus};

pub async fn dropped_subscriber_affects_no_other(bus: Arc<dyn MessageBus>) {
    let mut remaining = TestSubscriber::on(&*bus, &[TOPIC]).await;
    for n in 0..20 {
        drop(TestSubscriber::on(&*bus, &[TOPIC]).await);
        bus.publish(TOPIC, number(n)).await.unwrap();
        assert_eq!(remaining.envelope().await, (TOPIC, number(n)));
    }
}

pub async fn close_ends_waiting_subscribers(bus: Arc<dyn MessageBus>) {
    let mut subscriber = TestSubscriber::on(&*bus, &[TOPIC]).await;
    let waiting = tokio::spawn(async move { while subscriber.message().await.is_some() {} });
    tokio::task::yield_now().await;
    bus.close().await;
    waiting.await.unwrap();
}

pub async fn closed_bus_refuses_to_publish_connect_and_subscribe(bus: Arc<dyn MessageBus>) {
    let subscriber = TestSubscriber::on(&*bus, &[]).await;
    bus.close().await;
    assert!(matches!(bus.publish(TOPIC, number(1)).await, Err(BusError::Closed)));
    assert!(matches!(bus.connect().await, Err(BusError::Closed)));
    assert!(matches!(
        subscriber.topics.subscribe(TOPIC).await,
        Err(BusError::Closed)
    ));
}

pub async fn close_is_idempotent(bus: Arc<dyn MessageBus>) {
    let mut subscriber = TestSubscriber::on(&*bus, &[TOPIC]).await;
    tokio::join!(bus.close(), bus.close());
    bus.close().await;
    while subscriber.message().await.is_some() {}
    assert_eq!(subscriber.message().await, None);
}
