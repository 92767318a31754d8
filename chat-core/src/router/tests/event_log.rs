//! Tests of the limits of the pages that a [`StoreEventLog`] returns.

use super::*;

/// Appends messages of these sizes to the group, and returns an event log over the store.
async fn filled(world: &World, sizes: &[usize]) -> StoreEventLog {
    let new_events = sizes.iter().map(|size| NewEvent::message(vec![b'x'; *size])).collect();
    append(&*world.store, world.group, world.alice, new_events)
        .await
        .unwrap();
    StoreEventLog::new(Arc::clone(&world.store))
}

/// Reads a page with at most `limit.0` events and `limit.1` bytes. Returns its sequence numbers,
/// and its [`LogPage::is_end`].
async fn page(log: &StoreEventLog, world: &World, after: u64, limit: (u32, u32)) -> (Vec<u64>, bool) {
    let limit = ReadLimit {
        max_events: limit.0,
        max_bytes: limit.1,
    };
    let page = log.events_after(world.group, Seq(after), limit).await.unwrap();
    (page.events.iter().map(|event| event.seq.0).collect(), page.is_end)
}

#[tokio::test]
async fn event_log_ends_a_page_at_the_event_limit() {
    let world = world().await;
    let log = filled(&world, &[1; 200]).await;
    let seqs = |range: std::ops::RangeInclusive<u64>| range.collect::<Vec<_>>();
    assert_eq!(page(&log, &world, 0, (150, 10_000)).await, (seqs(1..=150), false));
    assert_eq!(page(&log, &world, 150, (150, 10_000)).await, (seqs(151..=200), true));
    assert_eq!(page(&log, &world, 200, (150, 10_000)).await, (Vec::new(), true));
    assert_eq!(page(&log, &world, 199, (0, 0)).await, (vec![200], false));
}

#[tokio::test]
async fn event_log_ends_a_page_before_it_exceeds_the_byte_limit() {
    let world = world().await;
    let log = filled(&world, &[100, 100, 100, 5_000, 100]).await;
    assert_eq!(page(&log, &world, 0, (100, 250)).await, (vec![1, 2], false));
    assert_eq!(
        page(&log, &world, 3, (100, 250)).await,
        (vec![4], false),
        "an event beyond the byte limit is returned alone"
    );
    assert_eq!(page(&log, &world, 4, (100, 250)).await, (vec![5], true));
}
