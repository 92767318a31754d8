//! Test of how much a page of a log reads.

#![allow(clippy::unwrap_used)] // these are tests

mod support;

use bytes::Bytes;
use chat_core::model::{EventKind, Page, PageFrom, Seq};
use chat_core::store::{MessageStore as _, Store as _};
use chat_core::testkit::store::{NewEvent, append_to, transact};
use support::{rows_read, server, status_sum, world};

/// Number of messages. Each has an edit.
const MESSAGES: u64 = 320;
/// Size of the body of an edit.
const EDIT_BYTES: usize = 4096;

/// All edits together have 1.25 MiB. A page of 16 KiB whose limit was applied to the bodies after
/// they were read would cost about 80 times as much as it returns.
#[tokio::test]
async fn page_of_messages_with_large_edits_reads_about_as_much_as_it_returns() {
    let (server, url) = server(&[]);
    let (world, store) = world(&url).await;
    let (group, alice) = (world.group, world.alice);
    // The messages have the positions 1 to 320, and their edits follow.
    let work = transact(&*store, move |tx| {
        Box::pin(async move {
            let messages: Vec<_> = (0..MESSAGES).map(|_| NewEvent::message("short")).collect();
            append_to(tx, group, alice, &messages).await?;
            let edits: Vec<_> = (1..=MESSAGES)
                .map(|target| NewEvent {
                    body: Bytes::from(vec![b'e'; EDIT_BYTES]),
                    ..NewEvent::of(EventKind::Edit, Some(Seq(target)))
                })
                .collect();
            for edit in append_to(tx, group, alice, &edits).await? {
                let target = edit.target.expect("an edit has a target");
                tx.mark_edited(group, target, edit.seq).await?;
            }
            Ok(())
        })
    });
    work.await.unwrap();

    for from in [PageFrom::After(Seq::ZERO), PageFrom::Before(Seq(MESSAGES + 1))] {
        // Returns the bytes that the server sent, the rows that it read, and the size of the page.
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
        assert_eq!(events, 3, "{from:?}");
        assert!(
            sent > returned && sent < 3 * returned,
            "{from:?}: {sent} bytes sent, {returned} returned"
        );
        // To measure bodies, the database reads them, in parts.
        let (all_sent, all_rows, all_returned, _) = cost_of(u32::MAX).await;
        assert!(
            all_sent > all_returned && rows * 5 < all_rows,
            "{from:?}: {rows} rows of {all_rows}"
        );
    }
    store.close().await;
}
