//! Publishes queued envelopes on the bus.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::time::timeout;

use crate::bus::{BusError, MessageBus, Topic};
use crate::panics::{self, Failure};
use crate::router::envelope::EnvelopeCodec;
use crate::router::publish_queue::PublishQueue;

/// Maximum number of calls to the bus in progress at the same time. With one call at a time and an
/// answer after 0.5 ms, a node could publish only 2,000 envelopes a second.
const MAX_CONCURRENT: usize = 64;

/// Worker that publishes the envelopes of one queue. It starts the calls in queue order.
#[derive(Debug)]
pub(crate) struct Publisher {
    pub(crate) queue: PublishQueue,
    pub(crate) codec: EnvelopeCodec,
    pub(crate) bus: Arc<dyn MessageBus>,
    pub(crate) call_timeout: Duration,
}

impl Publisher {
    pub(crate) async fn run(self) {
        let mut running = FuturesUnordered::new();
        let mut is_failing = false;
        loop {
            while running.len() < MAX_CONCURRENT {
                let Some((topic, envelope)) = self.queue.next(&self.codec) else {
                    break;
                };
                running.push(panics::contain(self.publish(topic, envelope)));
            }
            tokio::select! {
                // Finished calls are handled first, because they make room for new calls.
                biased;
                Some(result) = running.next() => {
                    self.queue.done(result.is_ok());
                    log_first_failure(&mut is_failing, &result);
                }
                () = self.queue.added(), if running.len() < MAX_CONCURRENT => {}
            }
        }
    }

    async fn publish(&self, topic: Topic, envelope: Bytes) -> Result<(), BusError> {
        let result = timeout(self.call_timeout, self.bus.publish(topic, envelope)).await;
        result.unwrap_or_else(|_| Err(BusError::timed_out(self.call_timeout)))
    }
}

/// Logs the first of consecutive failures. A failed envelope is not retried here, because its
/// announcements are repeated: by the next successful heartbeat, or, in a program that announces
/// commits and sends no heartbeats, by `ClusterLink::flush`. Notices may be lost.
fn log_first_failure(is_failing: &mut bool, result: &Result<(), Failure<BusError>>) {
    if let Err(error) = result
        && !*is_failing
    {
        let error = error as &dyn std::error::Error;
        tracing::warn!(error, "cannot publish on the bus");
    }
    *is_failing = result.is_err();
}
