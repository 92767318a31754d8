//! Operator action that reads the audit log.

use super::Operator;
use super::accounts::MAX_PAGE;
use crate::engine::error::CommandError;
use crate::store::{AuditPage, AuditRecord};

impl Operator {
    /// Returns up to `limit` records (1 to 500) of the audit log, from the start and in the
    /// direction that `page` names. Reading the audit log is not recorded in it.
    ///
    /// # Errors
    /// [`CommandError`]: the store failed.
    pub async fn audit_log(&self, page: AuditPage, limit: u32) -> Result<Vec<AuditRecord>, CommandError> {
        let access = &self.parts.access;
        let records = access.store().audit_log(page, limit.clamp(1, MAX_PAGE));
        access.read(records).await
    }
}
