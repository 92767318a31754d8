//! Fills gaps: reads the missing events of a conversation feed from the log.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::model::ConversationId;
use crate::router::event_log::{EventLog, ReadLimit};
use crate::router::local_delivery::LocalDelivery;
use crate::router::registry::Registry;
use crate::router::work_set::{WorkSet, WorkerOptions};
use crate::store::StoreError;

/// Worker that brings conversation feeds up to the ends of their logs.
#[derive(Debug)]
pub(crate) struct CatchUp {
    pub(crate) conversations: WorkSet<ConversationId>,
    pub(crate) options: WorkerOptions,
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) limit: ReadLimit,
    pub(crate) registry: Arc<Registry>,
    pub(crate) delivery: Arc<LocalDelivery>,
    /// Number of reads that found events.
    pub(crate) repairs: Arc<AtomicU64>,
}

impl CatchUp {
    pub(crate) async fn run(self) {
        let catch_up = |conversation| self.catch_up(conversation);
        self.conversations.drain_forever(self.options, catch_up).await;
    }

    /// Delivers the events that follow the head of the conversation feed. Never skips an event: a
    /// failed read is retried.
    async fn catch_up(&self, conversation: ConversationId) -> Result<(), StoreError> {
        while let Some(head) = self.registry.head(conversation) {
            let page = self.log.events_after(conversation, head, self.limit).await?;
            if page.events.is_empty() {
                return Ok(());
            }
            self.repairs.fetch_add(1, Ordering::Relaxed);
            self.delivery.deliver(conversation, &page.events);
            if self.registry.head(conversation) == Some(head) {
                let text = format!("the log of conversation {conversation} has a gap after {head}");
                return Err(StoreError::Corrupt(text));
            }
            // Events that are committed after this read have their own doorbells.
            if page.is_end {
                return Ok(());
            }
        }
        Ok(())
    }
}
