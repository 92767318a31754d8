//! Check of the database server's settings.

use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use crate::OpenError;

/// Product and settings of a database server.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) is_mariadb: bool,
    /// Descriptions of settings that allow the server to lose or revert acknowledged commits.
    pub(crate) unsafe_settings: Vec<String>,
}

impl Server {
    /// Queries the product and the settings of the server.
    pub(crate) async fn query(conn: &mut Conn) -> Result<Self, OpenError> {
        let sql = "SELECT CONCAT(@@version, ' ', @@version_comment), @@innodb_flush_log_at_trx_commit, @@log_bin, @@sync_binlog";
        let row: Option<(String, u64, u64, u64)> = conn.query_first(sql).await.map_err(OpenError::from_driver)?;
        let Some((version, flush, binlog, sync)) = row else {
            return Err(OpenError::Other(
                "the database server did not report its settings; use MySQL 8 or MariaDB".into(),
            ));
        };
        let checks = [
            (
                flush != 1,
                format!("innodb_flush_log_at_trx_commit is {flush}, must be 1"),
            ),
            (binlog == 0, "log_bin is off, must be on".to_owned()),
            (binlog != 0 && sync != 1, format!("sync_binlog is {sync}, must be 1")),
        ];
        Ok(Self {
            is_mariadb: version.to_ascii_lowercase().contains("mariadb"),
            unsafe_settings: checks
                .into_iter()
                .filter_map(|(is_unsafe, text)| is_unsafe.then_some(text))
                .collect(),
        })
    }
}
