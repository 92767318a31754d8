//! How a run ends, and what is found.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::check::{Report, check};
use crate::history::{History, Writer};
use crate::swarm::Swarm;
use crate::{Cluster, dump};

/// Everything that was said has its outcome after so long, or never.
const OUTCOMES: Duration = Duration::from_secs(120);

/// The end of a run.
#[derive(Debug)]
pub struct Ending {
    /// What happened.
    pub history: History,
    /// What is wrong with it.
    pub report: Report,
    /// How long it took until everything that was said had its outcome.
    pub settled: Duration,
    /// How long it took after that until everybody had everything.
    pub caught_up: Duration,
}

/// Lets everybody fall silent and get what they have missed, for at most `patience`; writes down the logs as every node and the database tell
/// them into the history at `path`, and checks it.
///
/// # Errors
/// The cluster does not answer, or the history cannot be written.
pub async fn conclude(
    cluster: Cluster,
    mut swarm: Swarm,
    history: Arc<Writer>,
    path: &Path,
    patience: Duration,
) -> io::Result<Ending> {
    let settled = swarm.hush(OUTCOMES).await?;
    let rows = cluster.database.sql("SELECT id, last_seq FROM chat.conversation")?;
    let mut heads = HashMap::new();
    for (id, last) in rows.lines().filter_map(|line| line.split_once('\t')) {
        let number = |text: &str| text.parse().map_err(io::Error::other);
        heads.insert(number(id)?, number(last)?);
    }
    let (reader, groups) = (swarm.reader().to_owned(), swarm.groups().to_vec());
    let caught_up = swarm.finish(&heads, patience).await?;
    dump(&cluster, &reader, &groups, &history).await?;
    history.flush()?;
    drop(cluster);
    let history = History::read(&[path.to_owned()]).map_err(io::Error::other)?;
    let report = check(&history);
    Ok(Ending {
        history,
        report,
        settled,
        caught_up,
    })
}
