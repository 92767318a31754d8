//! `swarm`: puts load on running servers, through the client library or the bare protocol, and
//! writes a history of what its clients observed.

use std::collections::HashSet;
use std::fmt::Display;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use chat_core::model::DeviceId;
use chat_core::secure::Fingerprint;
use chat_core::testkit::Peer;
use chat_harness::history::{Observation, Record, Writer, each_record};
use chat_harness::swarm::{Options, Swarm};
use chat_harness::wire_client::{WireSwarm, WireSwarmOptions};
use chat_harness::with_deadline;
use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser};
use tokio::net::lookup_host;
use tokio::time::{Instant, timeout};

/// Lets many users chat on running servers and writes a history of their observations, which
/// histcheck checks
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, after_long_help = EXAMPLES)]
struct Cli {
    /// Address of a node that listens for sc1; repeat it for more nodes of the same service
    #[arg(long, required = true, value_name = "HOST:PORT")]
    server: Vec<String>,
    /// Fingerprint of the servers' key, as the servers print it [default: the key of the first
    /// server]
    #[arg(long, value_name = "FINGERPRINT")]
    pin: Option<Fingerprint>,
    /// File to write the history to; it must not exist
    #[arg(long, value_name = "FILE")]
    history: PathBuf,
    /// Uses the bare protocol instead of the client library: each connection then needs less CPU
    /// time
    #[arg(long)]
    wire: bool,
    /// Number of users, each with one connection
    #[arg(long, default_value = "8", value_name = "N")]
    users: NonZeroUsize,
    /// Messages per second that each user sends
    #[arg(long, default_value_t = 5.0, value_name = "N", value_parser = parse_rate)]
    rate: f64,
    /// Time during which users send messages, in seconds
    #[arg(long, default_value_t = 10, value_name = "N")]
    seconds: u64,
    /// Maximum time after the load until every message has its outcome, and after that until users
    /// have received all events, in seconds
    #[arg(long, default_value_t = 60, value_name = "N")]
    catch_up_timeout: u64,
    /// Prefix of the names of users and groups, different for each run on the same service
    /// [default: a random one]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Number of groups that all users are members of; with 0, users chat in pairs only, so their
    /// number must be even
    #[arg(long, default_value_t = 2, value_name = "N", conflicts_with = "wire")]
    groups: usize,
    /// Number of users who are repeatedly removed from an additional group and join it again
    #[arg(long, default_value_t = 0, value_name = "N", conflicts_with = "wire")]
    churn: usize,
    /// Number of additional users with one device each, whose sessions replace each other
    #[arg(long, default_value_t = 0, value_name = "N", conflicts_with = "wire")]
    takeovers: usize,
    /// Maximum number of users in a group; each user is in one group
    #[arg(long, default_value = "8", value_name = "N", requires = "wire")]
    group_size: NonZeroUsize,
    /// Number of messages in one write
    #[arg(long, default_value = "1", value_name = "N", requires = "wire")]
    burst: NonZeroUsize,
    /// Number of unanswered messages at which a connection pauses sending
    #[arg(long, default_value = "128", value_name = "N", requires = "wire")]
    window: NonZeroUsize,
}

const EXAMPLES: &str = "\
Examples:
  swarm --server 127.0.0.1:7400 --history h.jsonl && histcheck h.jsonl
  swarm --server 127.0.0.1:7401 --server 127.0.0.1:7402 --users 12 --churn 3 --takeovers 1 --seconds 60 --history h.jsonl
  swarm --server 127.0.0.1:7400 --wire --users 500 --group-size 10 --rate 20 --burst 4 --history load.jsonl

The server must allow the registrations, logins and messages of all users from one address: --users 500 needs, for example,
CHAT_ACCOUNTS__LOGIN_RATE=100000/1s, CHAT_LIMITS__MESSAGE_RATE_PER_CONNECTION=100000/1s and
CHAT_LIMITS__MAX_AUTHENTICATED_PER_SOURCE=100000.

Exit codes: 0 every user, apart from those of --takeovers, received every event; 1 one did not, the service failed,
it acknowledged less than a quarter of the messages, or the history cannot be written; 2 wrong usage. histcheck
checks which events they received.";

fn parse_rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate > 0.0 && rate <= 10_000.0 => Ok(rate),
        _ => Err("write a number above 0, up to 10000".into()),
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("swarm: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Minimum share of acknowledged messages of a working service. Its servers refuse messages of
/// users outside a group and of replaced sessions, so the share may be well below 1.
const MIN_ACKED_SHARE: f64 = 0.25;

/// Runs the swarm. Returns whether all users, apart from those of `--takeovers`, received all
/// events, and enough messages were acknowledged.
async fn run(cli: &Cli) -> io::Result<bool> {
    let options = options(cli);
    if !cli.wire && options.has_isolated_users() {
        let text = "without groups, the number of users must be even and there can be no takeovers";
        Cli::command().error(ErrorKind::ValueValidation, text).exit();
    }
    let mut servers = Vec::new();
    for server in &cli.server {
        servers.extend(
            lookup_host(server)
                .await
                .map_err(|error| with_context(server, &error))?
                .next(),
        );
    }
    let pin = match cli.pin {
        Some(pin) => pin,
        None => {
            let greeting = with_deadline("the key of the server", Peer::connect_unpinned(servers[0])).await;
            greeting.map_err(|error| with_context(&servers[0], &error))?.1
        }
    };
    let file = std::fs::File::create_new(&cli.history).map_err(|error| with_context(&cli.history.display(), &error))?;
    drop(file);
    let history = Arc::new(Writer::open(&cli.history)?);
    let started = Instant::now();
    let result = if cli.wire {
        run_with_protocol(cli, &servers, pin, Arc::clone(&history)).await?
    } else {
        run_with_library(cli, &options, &servers, pin, Arc::clone(&history)).await?
    };
    history.flush()?;
    let share = print(cli, started.elapsed(), &result)?;
    Ok(result.incomplete_users == 0 && share >= MIN_ACKED_SHARE)
}

fn with_context(context: &dyn Display, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{context}: {error}"))
}

/// Durations and result of a run.
struct RunResult {
    /// Time during which users sent messages.
    sending_time: Duration,
    /// Time after that until every message had its outcome.
    settling_time: Duration,
    /// Time that users then took to receive all events, or the maximum time. With the library, it
    /// begins after the final logs were read.
    catch_up_time: Duration,
    /// Number of users who did not receive all events. Users of `--takeovers` do not count.
    incomplete_users: usize,
}

fn options(cli: &Cli) -> Options {
    Options {
        users: cli.users.get(),
        groups: cli.groups,
        rate: cli.rate,
        churn: cli.churn,
        takeovers: cli.takeovers,
        name: name(cli),
    }
}

async fn run_with_library(
    cli: &Cli,
    options: &Options,
    servers: &[SocketAddr],
    pin: Fingerprint,
    history: Arc<Writer>,
) -> io::Result<RunResult> {
    let catch_up_timeout = Duration::from_secs(cli.catch_up_timeout);
    let mut swarm = Swarm::start(servers, pin, options, history).await?;
    let sending_time = wait_while_sending(cli).await;
    let settling_time = swarm.stop_sending(catch_up_timeout).await?;
    let heads = swarm.heads().await?;
    swarm.dump().await?;
    let started = Instant::now();
    let incomplete_users = swarm.catch_up(&heads, catch_up_timeout).await;
    let catch_up_time = started.elapsed();
    swarm.finish(&heads, Duration::ZERO).await?;
    Ok(RunResult {
        sending_time,
        settling_time,
        catch_up_time,
        incomplete_users,
    })
}

async fn run_with_protocol(
    cli: &Cli,
    servers: &[SocketAddr],
    pin: Fingerprint,
    history: Arc<Writer>,
) -> io::Result<RunResult> {
    let options = WireSwarmOptions {
        users: cli.users.get(),
        group_size: cli.group_size,
        rate: cli.rate / cli.burst.get() as f64,
        burst: cli.burst.get(),
        window: cli.window.get(),
        name: name(cli),
    };
    let catch_up_timeout = Duration::from_secs(cli.catch_up_timeout);
    let mut swarm = WireSwarm::start(servers, pin, &options, history).await?;
    let sending_time = wait_while_sending(cli).await;
    let settling_time = swarm.stop_sending(catch_up_timeout).await?;
    let started = Instant::now();
    let incomplete_users = swarm.finish(catch_up_timeout).await?;
    let catch_up_time = started.elapsed();
    swarm.dump().await?;
    Ok(RunResult {
        sending_time,
        settling_time,
        catch_up_time,
        incomplete_users,
    })
}

/// Waits while users send messages, until the time is over or Ctrl-C is pressed. Returns the time
/// that passed.
async fn wait_while_sending(cli: &Cli) -> Duration {
    let started = Instant::now();
    let _ = timeout(Duration::from_secs(cli.seconds), tokio::signal::ctrl_c()).await;
    started.elapsed()
}

fn name(cli: &Cli) -> String {
    let random = || {
        let [a, b, c, d, ..] = DeviceId::random().0;
        format!("swarm{:08x}", u32::from_be_bytes([a, b, c, d]))
    };
    cli.name.clone().unwrap_or_else(random)
}

/// Prints the counts and durations of a run. Returns the share of messages that were acknowledged.
fn print(cli: &Cli, total: Duration, result: &RunResult) -> io::Result<f64> {
    // In the order in which they are printed below.
    let mut counts = [0_u64; 5];
    let mut acked = HashSet::new();
    let count = |record: Record| {
        let index = match record.observation {
            Observation::Send { .. } => 0,
            Observation::Acked { message, .. } => {
                // A message that is sent again is acknowledged again.
                counts[1] += u64::from(acked.insert(message));
                return Ok(());
            }
            Observation::Refused { .. } => 2,
            Observation::Unknown { .. } => 3,
            Observation::Delivered { .. } => 4,
            _ => return Ok(()),
        };
        counts[index] += 1;
        Ok(())
    };
    each_record(&cli.history, count).map_err(io::Error::other)?;
    for (name, count) in ["sent", "acknowledged", "refused", "unknown", "delivered"]
        .iter()
        .zip(counts)
    {
        println!("{name:<14} {count}");
    }
    println!(
        "acknowledged   {:.0} per second of sending",
        counts[1] as f64 / result.sending_time.as_secs_f64().max(0.001)
    );
    println!(
        "every message had its outcome {:.1?} after the end of sending",
        result.settling_time
    );
    if result.incomplete_users == 0 {
        println!(
            "all events delivered {:.1?} later; {:.0?} in total",
            result.catch_up_time, total
        );
    } else {
        println!(
            "{} users had not received all events {:.1?} later; {:.0?} in total",
            result.incomplete_users, result.catch_up_time, total
        );
    }
    let share = counts[1] as f64 / counts[0].max(1) as f64;
    if share < MIN_ACKED_SHARE {
        println!(
            "too few messages were acknowledged: {:.0} %, at least {:.0} % are expected",
            100.0 * share,
            100.0 * MIN_ACKED_SHARE
        );
    }
    Ok(share)
}
