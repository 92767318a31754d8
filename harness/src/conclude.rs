//! [`conclude`]: ends a test run and checks its history.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::check::{Report, check};
use crate::history::{History, Writer};
use crate::swarm::Swarm;
use crate::{Cluster, dump};

/// Maximum wait for the outcomes of all messages.
const OUTCOME_TIMEOUT: Duration = Duration::from_secs(120);

/// Results of a test run.
#[derive(Debug)]
pub struct Conclusion {
    /// History of the test run.
    pub history: History,
    /// Result of the check.
    pub report: Report,
    /// Time after the end of the load until every message had its outcome and removed users had
    /// joined again.
    pub settling_time: Duration,
    /// Time after that until all clients had received everything, or the maximum time.
    pub catch_up_time: Duration,
}

/// Returns the last sequence number of each conversation, by its id, as the database has it.
///
/// # Errors
/// The database does not answer.
pub fn heads(cluster: &Cluster) -> io::Result<HashMap<u64, u64>> {
    let rows = cluster.database.sql("SELECT id, last_seq FROM chat.conversation")?;
    let mut heads = HashMap::new();
    for (id, last) in rows.lines().filter_map(|line| line.split_once('\t')) {
        let number = |text: &str| text.parse().map_err(io::Error::other);
        heads.insert(number(id)?, number(last)?);
    }
    Ok(heads)
}

/// Ends a test run: stops the load, lets clients catch up for at most `catch_up_timeout`, records
/// the logs of the groups, as every node returns them, and all logs of the database, ends the
/// cluster, and checks the history, which `history` writes to the file `path`.
///
/// # Errors
/// The cluster does not answer, messages have no outcome after two minutes, a removed user cannot
/// join again, or the history cannot be written or read.
pub async fn conclude(
    cluster: Cluster,
    mut swarm: Swarm,
    history: Arc<Writer>,
    path: &Path,
    catch_up_timeout: Duration,
) -> io::Result<Conclusion> {
    let settling_time = swarm.stop_sending(OUTCOME_TIMEOUT).await?;
    let heads = heads(&cluster)?;
    let (reader_name, groups) = (swarm.member_of_all_groups().to_owned(), swarm.groups().to_vec());
    let catch_up_time = swarm.finish(&heads, catch_up_timeout).await?;
    dump(&cluster, &reader_name, &groups, &history).await?;
    history.flush()?;
    drop(cluster);
    let history = History::read(&[path.to_owned()]).map_err(io::Error::other)?;
    let report = check(&history);
    Ok(Conclusion {
        history,
        report,
        settling_time,
        catch_up_time,
    })
}
