//! Test of how much a page of a log reads.

#![allow(clippy::unwrap_used)] // these are tests

mod support;

use chat_core::model::{Page, PageFrom, Seq};
use chat_core::store::{MessageStore as _, Store as _};
use chat_core::testkit::store::append_edited_messages;
use support::{rows_read, server, status_sum, world};

/// Number of messages. Each has an edit.
const MESSAGES: u64 = 320;
/// Size of the body of an edit.
const EDIT_BYTES: usize = 4096;

/// All edits together have 1.25 MiB. A page of 16 KiB whose limit was applied to the bodies after
/// they were read would cost about 100 times as much as it returns.
#[tokio::test]
async fn page_of_messages_with_large_edits_reads_few_other_edits() {
    let (server, url) = server(&[]);
    let (world, store) = world(&url).await;
    let group = world.group;
    append_edited_messages(&world, MESSAGES, EDIT_BYTES).await.unwrap();

    for from in [PageFrom::After(Seq::ZERO), PageFrom::Before(Seq(MESSAGES + 1))] {
        // Returns the bytes that the server sent, the rows that it read, the size of the bodies in
        // the page, and the number of its events.
        let cost_of = async |max_bytes| {
            let page = Page {
                from,
                max_events: 500,
                max_bytes,
            };
            let before = (status_sum(&server, &["BYTES_SENT"]), rows_read(&server));
            let page = store.events_for(world.bob, group, page).await.unwrap().unwrap();
            let sent = status_sum(&server, &["BYTES_SENT"]) - before.0;
            let rows = rows_read(&server) - before.1;
            let bodies = page.events.iter().chain(&page.edits).map(|event| event.body.len());
            (sent, rows, bodies.sum::<usize>() as u64, page.events.len())
        };
        let (sent, rows, returned, events) = cost_of(16 * 1024).await;
        // Four edits and their messages have more than 16 KiB.
        assert_eq!(events, 3, "{from:?}");
        assert!(
            sent > returned && sent < 3 * returned,
            "{from:?}: {sent} bytes sent, {returned} returned"
        );
        // To measure bodies, the database reads them. The store measures a few at a time, so a
        // small page reads few rows.
        let (all_sent, all_rows, all_returned, _) = cost_of(u32::MAX).await;
        assert!(
            all_sent > all_returned && rows * 5 < all_rows,
            "{from:?}: {rows} rows of {all_rows}"
        );
    }
    store.close().await;
}
