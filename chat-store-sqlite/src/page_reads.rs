//! Test of how many bytes the read of a page of a log takes from the files.

use std::sync::Arc;

use chat_core::model::{Page, PageFrom, Seq};
use chat_core::store::Store;
use chat_core::testkit::store::{World, append_edited_messages};

use crate::messages::events_for;
use crate::{Options, SqliteStore};

/// Number of messages. Each has an edit.
const MESSAGES: u64 = 320;
/// Size of the body of an edit.
const EDIT_BYTES: usize = 4096;

/// Returns the number of bytes that system calls of this thread have read.
fn bytes_read() -> u64 {
    let counters = std::fs::read_to_string("/proc/thread-self/io").unwrap();
    let read = counters.lines().find_map(|line| line.strip_prefix("rchar: "));
    read.unwrap().parse().unwrap()
}

/// Returns the number of bytes that reading the counter itself adds to it.
fn cost_of_measuring() -> u64 {
    let before = bytes_read();
    bytes_read() - before
}

/// All edits together have 1.25 MiB. A page of 16 KiB that read them all before it applied its
/// limit would read about 100 times as much as it returns.
#[tokio::test]
async fn page_of_messages_with_large_edits_reads_few_other_edits() {
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(SqliteStore::open(directory.path(), Options::default()).await.unwrap());
    let world = World::new(store.clone() as Arc<dyn Store>).await;
    append_edited_messages(&world, MESSAGES, EDIT_BYTES).await.unwrap();
    store.close().await;
    let (bob, group, direct) = (world.bob, world.group, world.direct);
    drop((store, world));

    // The queries run on this thread, on connections whose caches hold no page of the group's log.
    let opened = crate::open::open(directory.path(), &Options::default()).unwrap();
    for (conn, from) in opened
        .readers
        .iter()
        .zip([PageFrom::After(Seq::ZERO), PageFrom::Before(Seq(MESSAGES + 1))])
    {
        let page = |max_bytes| Page {
            from,
            max_events: 500,
            max_bytes,
        };
        // Reads the schema, and compiles the statements.
        events_for(conn, bob, direct, page(u32::MAX)).unwrap().unwrap();
        let cost_of = |max_bytes| {
            let cost = cost_of_measuring();
            let before = bytes_read() + cost;
            let page = events_for(conn, bob, group, page(max_bytes)).unwrap().unwrap();
            let read = bytes_read() - before;
            let bodies = page.events.iter().chain(&page.edits).map(|event| event.body.len());
            (read, bodies.sum::<usize>() as u64, page.events.len())
        };
        let (read, returned, events) = cost_of(16 * 1024);
        // Four edits and their messages have more than 16 KiB.
        assert_eq!(events, 3, "{from:?}");
        assert!(
            read > 0 && read < 8 * returned,
            "{from:?}: {read} bytes read, {returned} returned"
        );
        // An unlimited page reads the edits, so the measurement would see it if the limited page
        // did.
        let (read, _, _) = cost_of(u32::MAX);
        assert!(read > MESSAGES * EDIT_BYTES as u64 / 2, "{from:?}: {read} bytes read");
    }
}
