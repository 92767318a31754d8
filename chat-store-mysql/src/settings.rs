//! Settings that a server must have.

use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use crate::OpenError;

/// Product and settings of a server.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) is_mariadb: bool,
    /// Settings with which the server may lose or take back what it acknowledged.
    pub(crate) unsafe_settings: Vec<String>,
}

impl Server {
    pub(crate) async fn ask(conn: &mut Conn) -> Result<Self, OpenError> {
        let asked = "SELECT CONCAT(@@version, ' ', @@version_comment), @@innodb_flush_log_at_trx_commit, @@log_bin, @@sync_binlog";
        let row: Option<(String, u64, u64, u64)> = conn.query_first(asked).await.map_err(OpenError::other)?;
        let Some((version, flush, binlog, sync)) = row else {
            return Err(OpenError::Other("the server does not report its settings".into()));
        };
        let wrong = [
            (
                flush != 1,
                format!("innodb_flush_log_at_trx_commit is {flush}, must be 1"),
            ),
            (binlog == 0, "log_bin is off, must be on".to_owned()),
            (binlog != 0 && sync != 1, format!("sync_binlog is {sync}, must be 1")),
        ];
        Ok(Self {
            is_mariadb: version.to_ascii_lowercase().contains("mariadb"),
            unsafe_settings: wrong
                .into_iter()
                .filter_map(|(is_wrong, text)| is_wrong.then_some(text))
                .collect(),
        })
    }
}
