//! Judges histories: whether what clients were told and handed agrees with itself, and with the
//! logs as they are in the end.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use chat_core::secure::Fingerprint;
use chat_core::testkit::{PASSWORD, Peer};
use chat_harness::check::{Report, check};
use chat_harness::history::{History, HistoryError, What, Writer};
use chat_harness::{Database, dump_as, with_deadline};
use clap::Parser;

/// Judges histories that swarm (or the project's tests) wrote: rules C1 to C13 and C15, one table
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, after_long_help = EXAMPLES)]
struct Cli {
    /// Files of one history: all of the processes that took part, on one machine
    #[arg(required = true, value_name = "FILE")]
    histories: Vec<PathBuf>,
    /// Reads the logs from this database too: mysql://USER:PASSWORD@HOST:PORT/NAME; password and
    /// port may be left out
    #[arg(long, value_name = "URL")]
    database: Option<Database>,
    /// Reads the logs from this node too, those that --user may read whole; repeat for more
    #[arg(long, value_name = "HOST:PORT", requires = "user")]
    server: Vec<SocketAddr>,
    /// Who reads them; their password comes from CHAT_PASSWORD, if it is not the one of swarm's
    /// people
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// The servers' key, as they print it [default: whatever the first one shows]
    #[arg(long, value_name = "FINGERPRINT")]
    pin: Option<Fingerprint>,
    /// Judges without the logs as well, by the rules that need none
    #[arg(long)]
    partial: bool,
}

const EXAMPLES: &str = "\
Examples:
  swarm --server 127.0.0.1:7400 --history h.jsonl    writes a history, with the logs as the servers tell them
  histcheck h.jsonl                                  judges it
  histcheck h.jsonl --database mysql://root@127.0.0.1:7406/chat
  histcheck a.jsonl b.jsonl --server 127.0.0.1:7401 --user person-0

Exit codes: 0 no rule was broken, 1 at least one was, 2 it could not be judged: wrong usage, unreadable files, no logs, or
nobody to whom anything happened.";

#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error(transparent)]
    History(#[from] HistoryError),
    #[error("the logs cannot be read: {0}")]
    Logs(#[source] io::Error),
    #[error("nothing was acknowledged, and nothing was handed to anybody: there is nothing to judge")]
    Nothing,
    #[error("nobody told the logs: name --database or --server, or let swarm write them; --partial judges without")]
    NoLogs,
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    match judge(&cli).await {
        Ok(report) => {
            print!("{report}");
            ExitCode::from(u8::from(!report.is_clean()))
        }
        Err(problem) => {
            eprintln!("histcheck: {problem}");
            ExitCode::from(2)
        }
    }
}

async fn judge(cli: &Cli) -> Result<Report, Problem> {
    let mut history = History::read(&cli.histories)?;
    if cli.database.is_some() || !cli.server.is_empty() {
        let logs = tempfile::NamedTempFile::new().map_err(Problem::Logs)?;
        let writer = Writer::open(logs.path()).map_err(Problem::Logs)?;
        read_logs(cli, &conversations(&history), &writer)
            .await
            .map_err(Problem::Logs)?;
        writer.flush().map_err(Problem::Logs)?;
        history.add(History::read(&[logs.path().to_owned()])?);
    }
    let report = check(&history);
    if report.acks + report.deliveries == 0 {
        Err(Problem::Nothing)
    } else if report.sources().is_empty() && !cli.partial {
        Err(Problem::NoLogs)
    } else {
        Ok(report)
    }
}

/// Those that the history is about: a database may hold others.
fn conversations(history: &History) -> BTreeSet<u64> {
    let of = |what: &What| match what {
        What::Send { conversation, .. } => Some(*conversation),
        What::Acked { place, .. } => Some(place.conversation),
        What::Delivered { event, .. } => Some(event.place.conversation),
        _ => None,
    };
    history.records().iter().filter_map(|record| of(&record.what)).collect()
}

async fn read_logs(cli: &Cli, only: &BTreeSet<u64>, writer: &Writer) -> io::Result<()> {
    if let Some(user) = &cli.user {
        let password = std::env::var("CHAT_PASSWORD").unwrap_or_else(|_| PASSWORD.to_owned());
        let mut pin = cli.pin;
        for server in BTreeSet::from_iter(&cli.server) {
            let pin = match pin {
                Some(pin) => pin,
                None => *pin.insert(with_deadline(server, Peer::meet(*server)).await?.1),
            };
            dump_as(*server, pin, (user, &password), Some(only), writer).await?;
        }
    }
    if let Some(database) = &cli.database {
        database.dump(Some(only), writer)?;
    }
    Ok(())
}
