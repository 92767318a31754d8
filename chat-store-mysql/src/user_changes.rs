//! Recent changes of users' devices and memberships.

use chat_core::model::UserId;
use chat_core::store::sql_support::int;
use chat_core::store::{StoreError, UserChange};
use mysql_async::prelude::Queryable;

use crate::MysqlStore;
use crate::batch::{MAX_KEYS_PER_STATEMENT, joined};
use crate::clock::NOW;
use crate::error::store_error;
use crate::tx::MysqlTx;

/// Maximum number of changes that one read returns, so that a read costs little even while many
/// users log in again after an outage.
const MAX_CHANGES: usize = 20_000;

impl MysqlTx<'_> {
    /// Records that this transaction has changed the devices or memberships of the users in
    /// `changed_users`, and empties that set.
    ///
    /// This is the last write of a transaction, and locks the rows in ascending order, so that it
    /// causes no deadlock.
    pub(crate) async fn write_user_changes(&mut self) -> Result<(), StoreError> {
        let changed: Vec<UserId> = std::mem::take(&mut self.changed_users).into_iter().collect();
        for users in changed.chunks(MAX_KEYS_PER_STATEMENT) {
            let rows = joined(users.iter().map(|user| format!("({}, 1, {NOW})", int(user.0))), ", ");
            let sql = format!(
                "INSERT INTO user_change (user_id, number, time) VALUES {rows}
                 ON DUPLICATE KEY UPDATE number = number + 1, time = VALUES(time)"
            );
            self.query_unprepared(sql).await?;
        }
        Ok(())
    }
}

impl MysqlStore {
    /// Returns the changes of the last [`UserChange::WINDOW`], or `None` if they are more than
    /// [`MAX_CHANGES`].
    pub(crate) async fn recent_user_changes(&self) -> Result<Option<Vec<UserChange>>, StoreError> {
        let window = UserChange::WINDOW.as_millis();
        let work = async {
            let mut conn = self.connections.reader().await?;
            let sql = format!(
                "SELECT user_id, number FROM user_change WHERE time >= {NOW} - {window} LIMIT {}",
                MAX_CHANGES + 1
            );
            let rows: Vec<(u64, u64)> = conn.query(sql).await.map_err(store_error)?;
            if rows.len() > MAX_CHANGES {
                return Ok(None);
            }
            Ok(Some(
                rows.into_iter()
                    .map(|(user, number)| UserChange::new(UserId(user), number))
                    .collect(),
            ))
        };
        self.connections.with_deadline(work).await
    }
}
