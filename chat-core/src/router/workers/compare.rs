//! Compares the conversation feeds on this node with the ends of their logs.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::model::ConversationId;
use crate::panics;
use crate::router::envelope::Doorbell;
use crate::router::event_log::{EventLog, MAX_CONVERSATIONS_PER_QUERY};
use crate::router::local_delivery::LocalDelivery;
use crate::router::work_set::WorkSet;
use crate::store::StoreError;

/// Worker that reads the ends of many logs at once. It handles each end like a doorbell, so that
/// feeds that are behind their logs catch up.
#[derive(Debug)]
pub(crate) struct Compare {
    pub(crate) conversations: WorkSet<ConversationId>,
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) delivery: Arc<LocalDelivery>,
    pub(crate) retry_interval: Duration,
}

impl Compare {
    pub(crate) async fn run(self) {
        let mut delay = self.retry_interval;
        loop {
            let conversations = Vec::from_iter(self.conversations.take().await);
            for chunk in conversations.chunks(MAX_CONVERSATIONS_PER_QUERY) {
                match panics::contain(self.compare(chunk)).await {
                    Ok(()) => delay = self.retry_interval,
                    Err(error) => {
                        tracing::warn!(
                            error = &error as &dyn std::error::Error,
                            "cannot compare conversations with the store; retrying"
                        );
                        self.conversations.add_all(chunk.iter().copied());
                        sleep(delay).await;
                        delay = (delay * 2).min(self.retry_interval * 10);
                    }
                }
            }
        }
    }

    async fn compare(&self, conversations: &[ConversationId]) -> Result<(), StoreError> {
        for (conversation, last_seq) in self.log.last_seqs(conversations).await? {
            self.delivery.handle_doorbell(Doorbell { conversation, last_seq });
        }
        Ok(())
    }
}
