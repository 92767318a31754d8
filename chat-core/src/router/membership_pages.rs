//! [`MembershipPages`]: reads all memberships of a user in pages.

use super::event_log::EventLog;
use crate::model::{ConversationId, DeviceId, UserId};
use crate::store::{MembershipView, StoreError};

/// Number of memberships in a page. Reads of other users run between the pages, so that a user with
/// many conversations does not delay them.
const PAGE_LEN: u32 = 500;

/// Reads all memberships of a user, as seen from a device, in pages ordered by conversation id.
#[derive(Debug)]
pub(in crate::router) struct MembershipPages<'a> {
    log: &'a dyn EventLog,
    user: UserId,
    device: DeviceId,
    /// Greatest conversation id of the pages so far; `None` after the last page.
    after: Option<ConversationId>,
}

impl<'a> MembershipPages<'a> {
    pub(in crate::router) const fn new(log: &'a dyn EventLog, user: UserId, device: DeviceId) -> Self {
        Self {
            log,
            user,
            device,
            after: Some(ConversationId(0)),
        }
    }

    /// Returns the next page, or `None` after the last one.
    ///
    /// # Errors
    /// The page cannot be read; the next call tries again.
    pub(in crate::router) async fn next(&mut self) -> Result<Option<Vec<MembershipView>>, StoreError> {
        let Some(after) = self.after else { return Ok(None) };
        let page = self.log.memberships(self.user, self.device, after, PAGE_LEN).await?;
        let last = page.iter().map(|membership| membership.conversation.id).max();
        self.after = last.filter(|_| page.len() >= PAGE_LEN as usize);
        Ok(Some(page))
    }
}
