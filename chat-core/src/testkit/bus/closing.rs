//! How it ends.

use std::sync::Arc;

use super::ear::{Ear, ROOM, number};
use crate::bus::{BusError, MessageBus};

pub async fn a_dropped_subscriber_disturbs_nobody(bus: Arc<dyn MessageBus>) {
    let mut stays = Ear::on(&*bus, &[ROOM]).await;
    for n in 0..20 {
        drop(Ear::on(&*bus, &[ROOM]).await);
        bus.publish(ROOM, number(n)).await.unwrap();
        assert_eq!(stays.envelope().await, (ROOM, number(n)));
    }
}

pub async fn closing_ends_those_who_wait(bus: Arc<dyn MessageBus>) {
    let mut ear = Ear::on(&*bus, &[ROOM]).await;
    let waiting = tokio::spawn(async move { while ear.delivery().await.is_some() {} });
    tokio::task::yield_now().await;
    bus.close().await;
    waiting.await.unwrap();
}

pub async fn a_closed_bus_refuses(bus: Arc<dyn MessageBus>) {
    let ear = Ear::on(&*bus, &[]).await;
    bus.close().await;
    assert!(matches!(bus.publish(ROOM, number(1)).await, Err(BusError::Closed)));
    assert!(matches!(bus.connect().await, Err(BusError::Closed)));
    assert!(matches!(ear.topics.subscribe(ROOM).await, Err(BusError::Closed)));
}

pub async fn closing_twice_is_as_good_as_once(bus: Arc<dyn MessageBus>) {
    let mut ear = Ear::on(&*bus, &[ROOM]).await;
    tokio::join!(bus.close(), bus.close());
    bus.close().await;
    while ear.delivery().await.is_some() {}
    assert_eq!(ear.delivery().await, None);
}
