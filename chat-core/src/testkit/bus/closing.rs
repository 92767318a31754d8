//! How it ends.

use std::sync::Arc;

use super::subscriber::{ROOM, TestSubscriber, number};
use crate::bus::{BusError, MessageBus};

pub async fn a_dropped_subscriber_disturbs_nobody(bus: Arc<dyn MessageBus>) {
    let mut stays = TestSubscriber::on(&*bus, &[ROOM]).await;
    for n in 0..20 {
        drop(TestSubscriber::on(&*bus, &[ROOM]).await);
        bus.publish(ROOM, number(n)).await.unwrap();
        assert_eq!(stays.envelope().await, (ROOM, number(n)));
    }
}

pub async fn closing_ends_those_who_wait(bus: Arc<dyn MessageBus>) {
    let mut subscriber = TestSubscriber::on(&*bus, &[ROOM]).await;
    let waiting = tokio::spawn(async move { while subscriber.delivery().await.is_some() {} });
    tokio::task::yield_now().await;
    bus.close().await;
    waiting.await.unwrap();
}

pub async fn a_closed_bus_refuses(bus: Arc<dyn MessageBus>) {
    let subscriber = TestSubscriber::on(&*bus, &[]).await;
    bus.close().await;
    assert!(matches!(bus.publish(ROOM, number(1)).await, Err(BusError::Closed)));
    assert!(matches!(bus.connect().await, Err(BusError::Closed)));
    assert!(matches!(subscriber.topics.subscribe(ROOM).await, Err(BusError::Closed)));
}

pub async fn closing_twice_is_as_good_as_once(bus: Arc<dyn MessageBus>) {
    let mut subscriber = TestSubscriber::on(&*bus, &[ROOM]).await;
    tokio::join!(bus.close(), bus.close());
    bus.close().await;
    while subscriber.delivery().await.is_some() {}
    assert_eq!(subscriber.delivery().await, None);
}
