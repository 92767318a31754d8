//! [`Driver`]: the task of a feed, which executes the work that the feed's
//! [`Machine`](super::machine::Machine) requests.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::sleep_until;

use super::leases::Leases;
use super::machine::{Work, WorkAnswer};
use super::names::OpenName;
use super::reader::FeedReader;
use super::shared::{EndGuard, Shared};
use crate::engine::panics::contain_feed;
use crate::router::CommitWatch;
use crate::time;

/// Executor of the work that the machine requests. After an error or a panic, the machine waits
/// before it requests the work again. [`StoreAccess`](crate::engine::store_access::StoreAccess)
/// logs the errors of reads, and [`Leases`] those of writes that the circuit breaker admitted.
#[derive(Clone, Debug)]
pub(super) struct Io {
    pub(super) reader: Arc<FeedReader>,
    pub(super) leases: Arc<Leases>,
}

impl Io {
    pub(super) async fn execute(self, work: Work) -> WorkAnswer {
        match work {
            Work::Leases(work) => WorkAnswer::Leases(contain_feed(self.leases.round(work)).await),
            Work::LookUp(look_up) => {
                let found = contain_feed(self.reader.look_up(&look_up)).await;
                WorkAnswer::LookUp(look_up, found)
            }
            Work::Read(read) => WorkAnswer::Read(read, contain_feed(self.reader.read(read)).await),
            Work::Record(moves) => {
                let held = contain_feed(self.leases.record(moves.clone())).await;
                WorkAnswer::Record(moves, held)
            }
        }
    }
}

/// The task of a feed on one node.
#[derive(Debug)]
pub(super) struct Driver {
    pub(super) shared: Arc<Shared>,
    pub(super) io: Io,
    pub(super) watch: CommitWatch,
    /// Maximum time for which a closing feed waits for the items that the consumer has.
    pub(super) close_timeout: Duration,
    /// Keeps the name taken until the driver has ended. This field is dropped before `_end`, so
    /// that the consumer can open the feed again once it is notified.
    pub(super) _name: OpenName,
    /// Notifies the consumer when the driver has ended, even if the driver's task is cancelled or
    /// panics.
    pub(super) _end: EndGuard,
}

impl Driver {
    /// Runs until the feed is closed or the engine drains, and then releases the leases. If the
    /// task is cancelled or panics, the leases stay until they expire.
    pub(super) async fn run(self) {
        self.drive().await;
        let leases = self.shared.machine.lock().leases();
        if contain_feed(self.io.leases.release(leases)).await.is_err() {
            tracing::warn!(
                feed = self.io.reader.feed,
                "cannot release the leases of the feed; they expire by themselves"
            );
        }
    }

    async fn drive(&self) {
        let shared = &*self.shared;
        let mut running = FuturesUnordered::new();
        let mut is_closing = false;
        loop {
            let now = time::now();
            let (work, timeout, is_drained) = {
                let mut machine = shared.machine.lock();
                let work = machine.poll_work(now);
                (work, machine.poll_timeout(now), machine.is_drained(now))
            };
            if is_drained {
                return;
            }
            running.extend(work.into_iter().map(|work| self.io.clone().execute(work)));
            let timeout = async {
                match timeout {
                    Some(at) => sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                // Closing is checked first, so that a busy feed closes too; then the results of
                // work, so that frequent acknowledgements and news do not delay them.
                biased;
                () = shared.closing.cancelled(), if !is_closing => {
                    is_closing = true;
                    shared.machine.lock().close(now, now + self.close_timeout);
                }
                Some(answer) = running.next() => {
                    let mut machine = shared.machine.lock();
                    machine.finish(time::now(), answer);
                    if machine.has_ready() {
                        shared.ready.notify_one();
                    }
                }
                () = shared.work.notified() => {}
                news = self.watch.news(), if !is_closing => shared.machine.lock().handle_news(&news),
                () = timeout => {}
            }
        }
    }
}
