//! `histcheck`: checks that the observations of clients agree with each other and with the final
//! logs.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use chat_core::secure::Fingerprint;
use chat_core::testkit::{PASSWORD, Peer};
use chat_harness::check::{Report, check};
use chat_harness::history::{History, HistoryError, Observation, Writer};
use chat_harness::{Database, dump_as, with_deadline};
use clap::Parser;

/// Checks histories, which swarm or the project's tests wrote, against the rules C1 to C13 and C15,
/// and prints a report
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, after_long_help = EXAMPLES)]
struct Cli {
    /// Files of one history: one from each process that took part, all from one machine
    #[arg(required = true, value_name = "FILE")]
    histories: Vec<PathBuf>,
    /// Also reads the final logs from this database: mysql://USER:PASSWORD@HOST:PORT/DATABASE
    #[arg(long, value_name = "URL")]
    database: Option<Database>,
    /// Also reads from this node the final logs that --user may read completely; repeat the option
    /// for more nodes
    #[arg(long, value_name = "HOST:PORT", requires = "user")]
    server: Vec<SocketAddr>,
    /// User who reads the logs, with the password in CHAT_PASSWORD [default: the password of the
    /// users of swarm]
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Fingerprint of the servers' key, as the servers print it [default: the key of the server
    /// that is read first]
    #[arg(long, value_name = "FINGERPRINT")]
    pin: Option<Fingerprint>,
    /// Also checks histories without final logs, by the rules that need none
    #[arg(long)]
    partial: bool,
}

const EXAMPLES: &str = "\
Examples:
  swarm --server 127.0.0.1:7400 --history h.jsonl    writes a history, with the final logs of the servers
  histcheck h.jsonl                                  checks it
  histcheck h.jsonl --database mysql://root@127.0.0.1:7406/chat
  histcheck a.jsonl b.jsonl --server 127.0.0.1:7401 --user person-0

Exit codes: 0 no rule is violated; 1 at least one is; 2 the history cannot be judged: wrong usage, unreadable
files or logs, no logs (without --partial), or no acknowledgement and no delivery.";

#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error(transparent)]
    History(#[from] HistoryError),
    #[error("the logs cannot be read: {0}")]
    Logs(#[source] io::Error),
    #[error("the history has no acknowledgement and no delivery: there is nothing to check")]
    NothingToCheck,
    #[error(
        "the history has no final logs; name --database or --server, let swarm write them, or check without them (--partial)"
    )]
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
        Err(Problem::NothingToCheck)
    } else if report.sources().is_empty() && !cli.partial {
        Err(Problem::NoLogs)
    } else {
        Ok(report)
    }
}

/// Returns the ids of the conversations that the clients sent to or received from. Only their logs
/// are read, because the service may have more conversations.
fn conversations(history: &History) -> BTreeSet<u64> {
    let conversation_of = |observation: &Observation| match observation {
        Observation::Send { conversation, .. } => Some(*conversation),
        Observation::Acked { position, .. } => Some(position.conversation),
        Observation::Delivered { event, .. } => Some(event.position.conversation),
        _ => None,
    };
    history
        .records()
        .iter()
        .filter_map(|record| conversation_of(&record.observation))
        .collect()
}

async fn read_logs(cli: &Cli, only: &BTreeSet<u64>, writer: &Writer) -> io::Result<()> {
    if let Some(user) = &cli.user {
        let password = std::env::var("CHAT_PASSWORD").unwrap_or_else(|_| PASSWORD.to_owned());
        let mut pin = cli.pin;
        for server in BTreeSet::from_iter(&cli.server) {
            let pin = match pin {
                Some(pin) => pin,
                None => *pin.insert(with_deadline(server, Peer::connect_unpinned(*server)).await?.1),
            };
            dump_as(*server, pin, (user, &password), Some(only), writer).await?;
        }
    }
    if let Some(database) = &cli.database {
        database.dump(Some(only), writer)?;
    }
    Ok(())
}
