//! Finds out whether unconfirmed commits were written. This node announces a commit only once it is
//! confirmed, so this worker checks the logs as long as [`UnconfirmedCommits`] contains them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::model::{ConversationId, Seq, UserId};
use crate::panics;
use crate::router::cluster_link::ClusterLink;
use crate::router::envelope::Doorbell;
use crate::router::event_log::{EventLog, MAX_CONVERSATIONS_PER_QUERY};
use crate::router::local_delivery::LocalDelivery;
use crate::router::unconfirmed::UnconfirmedCommits;
use crate::router::work_set::WorkSet;
use crate::store::StoreError;

/// Worker that checks the logs of conversations with unconfirmed commits, and announces the events
/// that it finds.
#[derive(Debug)]
pub(crate) struct ConfirmCommits {
    pub(crate) commits: UnconfirmedCommits,
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) delivery: Arc<LocalDelivery>,
    pub(crate) joins: WorkSet<(UserId, ConversationId)>,
    pub(crate) link: ClusterLink,
    pub(crate) interval: Duration,
}

impl ConfirmCommits {
    pub(crate) async fn run(self) {
        loop {
            let conversations = self.commits.conversations().await;
            for chunk in conversations.chunks(MAX_CONVERSATIONS_PER_QUERY) {
                if let Err(error) = panics::contain(self.check_all(chunk)).await {
                    let error = &error as &dyn std::error::Error;
                    tracing::debug!(error, "cannot check unconfirmed commits; retrying");
                }
            }
            sleep(self.interval).await;
        }
    }

    async fn check_all(&self, conversations: &[ConversationId]) -> Result<(), StoreError> {
        let ends: HashMap<_, _> = self.log.last_seqs(conversations).await?.into_iter().collect();
        for conversation in conversations {
            self.check(*conversation, ends.get(conversation).copied().unwrap_or(Seq::ZERO));
        }
        Ok(())
    }

    fn check(&self, conversation: ConversationId, last_seq: Seq) {
        let Some(grown) = self.commits.check(conversation, last_seq) else {
            return;
        };
        let doorbell = Doorbell { conversation, last_seq };
        self.delivery.handle_doorbell(doorbell);
        self.link.ring(doorbell);
        for user in grown.joined {
            self.joins.add((user, conversation));
            self.delivery.joined(user, conversation);
            self.link.announce_join(user, conversation);
        }
    }
}
