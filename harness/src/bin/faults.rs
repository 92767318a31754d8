//! Runs a cluster under load, injects every kind of [`Fault`], and checks promises of
//! docs/reliability.md: `faults CHAT_SERVER (short|long) [SEED]`, by default with the seed 1. The
//! exit code is 1 if a promise was broken, too few messages were acknowledged, or deliveries were
//! late or missing in the time without faults. It is 2 if the arguments are wrong, the run failed,
//! or a rule of the check could not be checked.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chat_harness::check::Report;
use chat_harness::history::{History, Observation, Writer};
use chat_harness::swarm::{Options, Swarm};
use chat_harness::{
    BlockedDirection, Cluster, Delays, Fault, GuardedTempDir, Impairment, Peers, Plan, SeededRng, conclude, heads,
    inject, inject_network, pause,
};

/// Minimum share of acknowledged messages. The servers rightly refuse messages of users outside a
/// group and of replaced sessions, but those are less than half of all messages.
const MIN_ACKED_SHARE: f64 = 0.5;

/// Maximum 99th percentile of the delays of deliveries in the time without faults. It follows from
/// promise P6 of docs/reliability.md, by which a lost push is detected within 3 s.
const MAX_DELIVERY_DELAY: Duration = Duration::from_secs(3);
/// Name of the time window without faults, in the table of delays.
const NO_FAULTS: &str = "no faults";

/// Maximum time for clients to receive the events that they missed.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(60);

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Faults and load of a run.
struct RunSpec {
    /// Number of injections of each fault of processes or of their data.
    process_faults: Vec<(Fault, u32)>,
    /// Number of injections of each fault of the network, on a second thread at the same time.
    network_faults: Vec<(Fault, u32)>,
    /// Durations of the outage of Redis and of the outage of the database, which follows it.
    outage_durations: (Duration, Duration),
    /// Users and load.
    options: Options,
}

fn parse_run_spec(name: &str) -> Option<RunSpec> {
    let (kills, redis, database, freezes, network, outage_seconds, users) = match name {
        "short" => (20_u32, 10_u32, 5_u32, 5_u32, 1_u32, 10, 12),
        "long" => (100, 50, 30, 30, 10, 60, 24),
        _ => return None,
    };
    let process_faults = vec![
        (Fault::KillNode, kills),
        (Fault::FreezeNode, freezes),
        (Fault::KillRedis, redis),
        (Fault::FlushRedis, redis / 5),
        (Fault::DropSubscribers, redis / 2),
        (Fault::KillDatabase, database),
        (Fault::FreezeDatabase, database.div_ceil(2)),
        (Fault::LockConversation, database.div_ceil(2)),
    ];
    Some(RunSpec {
        process_faults,
        network_faults: network_faults(network),
        outage_durations: (
            Duration::from_secs(outage_seconds),
            Duration::from_secs(outage_seconds.min(20)),
        ),
        options: Options {
            users,
            groups: 3,
            rate: 5.0,
            churn: users / 4,
            takeovers: users / 6,
            ..Options::default()
        },
    })
}

/// Returns network faults with every kind of impairment. Each of them is to be injected `times`
/// times.
fn network_faults(times: u32) -> Vec<(Fault, u32)> {
    let directions = [BlockedDirection::Both, BlockedDirection::In, BlockedDirection::Out];
    let mut faults = vec![(
        Fault::Everywhere(Peers::Redis, Impairment::Blocked(BlockedDirection::Both)),
        times,
    )];
    for peers in [Peers::Redis, Peers::Database] {
        faults.extend(directions.map(|direction| (Fault::Network(peers, Impairment::Blocked(direction)), times)));
    }
    for peers in [Peers::RedisAndDatabase, Peers::Clients] {
        faults.push((
            Fault::Network(peers, Impairment::Blocked(BlockedDirection::Both)),
            times,
        ));
    }
    for impairment in [
        Impairment::Slow,
        Impairment::Lossy,
        Impairment::Narrow,
        Impairment::Sliced,
        Impairment::Cut,
        Impairment::Forgotten,
        Impairment::Refused,
    ] {
        faults.extend(
            [Peers::Redis, Peers::Database, Peers::Clients].map(|peers| (Fault::Network(peers, impairment), times)),
        );
    }
    // Only the connections to clients detect flipped bits.
    faults.push((Fault::Network(Peers::Clients, Impairment::Flipped), times));
    faults
}

#[tokio::main]
async fn main() -> ExitCode {
    match run_from_arguments().await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("faults: {error}");
            ExitCode::from(2)
        }
    }
}

async fn run_from_arguments() -> Result<bool> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let usage = "usage: faults CHAT_SERVER (short|long) [SEED]";
    let (Some(server), Some(spec)) = (
        arguments.first(),
        arguments.get(1).and_then(|name| parse_run_spec(name)),
    ) else {
        return Err(usage.into());
    };
    let seed = arguments.get(2).map_or(Ok(1), |seed| seed.parse::<u64>());
    let seed = seed.map_err(|_| usage)?;
    // Printed first, so that the seed is known however the run ends.
    println!("seed {seed}");
    // Removes all temporary files, however this process ends.
    let _temp_dir = GuardedTempDir::open()?;
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("history.jsonl");
    let history = Arc::new(Writer::open(&path)?);
    let verdict = run(PathBuf::from(server), spec, seed, Arc::clone(&history), &path).await;
    if !matches!(verdict, Ok(true)) {
        let kept = std::env::temp_dir().join(format!("history-{seed}.jsonl"));
        match history.flush().and_then(|()| std::fs::copy(&path, &kept)) {
            Ok(_) => println!("the history is kept in {}", kept.display()),
            Err(error) => eprintln!("faults: the history cannot be kept: {error}"),
        }
    }
    verdict
}

/// Runs the cluster, the load and the faults. Returns whether neither the check nor
/// [`other_failures`] found a failure.
async fn run(server: PathBuf, spec: RunSpec, seed: u64, history: Arc<Writer>, path: &Path) -> Result<bool> {
    let started = Instant::now();
    let cluster = tokio::task::spawn_blocking(move || Cluster::linked(&server, 3, &[])).await??;
    let swarm = Swarm::start(
        &cluster.addresses(),
        cluster.fingerprint(),
        &spec.options,
        Arc::clone(&history),
    )
    .await?;

    let cluster = inject_faults(cluster, spec.process_faults, spec.network_faults, seed, &history).await?;
    // A client that sends nothing notices a connection that the network forgot only when it gets no
    // answer to its next ping: after up to 50 s (a ping after 30 s, and 20 s for the answer). Until
    // then, the time is not one without faults.
    swarm.catch_up(&heads(&cluster)?, CATCH_UP_TIMEOUT).await;
    let (cluster, windows) = outages(cluster, spec.outage_durations, &history).await?;

    let ending = conclude(cluster, swarm, history, path, CATCH_UP_TIMEOUT).await?;
    let (history, report) = (ending.history, ending.report);
    print(&history, &report, &windows);
    println!(
        "time to all outcomes after the last fault  {:.1?}",
        ending.settling_time
    );
    println!(
        "time to all deliveries after that          {:.1?}",
        ending.catch_up_time
    );
    println!("duration of the run                        {:.0?}", started.elapsed());
    for violation in report.violations() {
        println!("{:?}: {}", violation.rule, violation.text);
    }
    let unchecked = report.unchecked();
    if !unchecked.is_empty() {
        return Err(
            format!("the rules {unchecked:?} could not be checked: the history has no records for them").into(),
        );
    }
    let other_failures = other_failures(&report, &Delays::of(&history), &windows);
    other_failures.iter().for_each(|failure| println!("{failure}"));
    Ok(report.is_clean() && other_failures.is_empty())
}

/// Returns failures that no rule of the check covers, for example of a cluster that refuses all
/// messages.
fn other_failures(report: &Report, delays: &Delays, windows: &[Window]) -> Vec<String> {
    let mut other_failures = Vec::new();
    if report.acked_share() < MIN_ACKED_SHARE {
        other_failures.push(format!(
            "too few messages were acknowledged: {:.0} %, at least {:.0} % are expected",
            100.0 * report.acked_share(),
            100.0 * MIN_ACKED_SHARE
        ));
    }
    for window in windows.iter().filter(|window| window.name == NO_FAULTS) {
        let inside = delays.between(window.from, window.to);
        let late = inside.quantile(0.99);
        if inside.is_empty() {
            other_failures.push("no message that was acknowledged in the time without faults was delivered".to_owned());
        } else if late > MAX_DELIVERY_DELAY {
            other_failures.push(format!(
                "the 99th percentile of the delivery delays was {late:.1?} in the time without faults; at most {MAX_DELIVERY_DELAY:.0?} is expected (P6)"
            ));
        }
    }
    other_failures
}

/// Injects faults into processes and into the network while the load continues, on one thread for
/// each of the two, because the calls block.
async fn inject_faults(
    mut cluster: Cluster,
    process_faults: Vec<(Fault, u32)>,
    network_faults: Vec<(Fault, u32)>,
    seed: u64,
    history: &Arc<Writer>,
) -> Result<Cluster> {
    let pause_before_next =
        |rng: &mut SeededRng| pause(rng.between(Duration::from_millis(300), Duration::from_millis(1500)));
    let (links, writer) = (Arc::clone(&cluster.links), Arc::clone(history));
    let network = tokio::task::spawn_blocking(move || -> std::io::Result<()> {
        let mut rng = SeededRng::new(seed.wrapping_add(1));
        for fault in (Plan {
            counts: network_faults,
            seed,
        })
        .sequence()
        {
            pause_before_next(&mut rng);
            inject_network(&links, fault, &mut rng, &writer)?;
        }
        Ok(())
    });
    let writer = Arc::clone(history);
    let processes = tokio::task::spawn_blocking(move || -> std::io::Result<Cluster> {
        let mut rng = SeededRng::new(seed);
        for fault in (Plan {
            counts: process_faults,
            seed,
        })
        .sequence()
        {
            pause_before_next(&mut rng);
            inject(&mut cluster, fault, &mut rng, &writer)?;
        }
        Ok(cluster)
    });
    let (network, cluster) = tokio::try_join!(network, processes)?;
    network?;
    Ok(cluster?)
}

/// Interval `from..to` of the history's clock (nanoseconds), with a name for the output.
struct Window {
    name: &'static str,
    from: u64,
    to: u64,
}

/// Waits until the effects of earlier faults should be over, and then for a window without faults.
/// Then kills Redis and restarts it after the first of `durations`, and does the same with the
/// database and the second of `durations`. Returns the windows for the table of delays.
async fn outages(
    cluster: Cluster,
    durations: (Duration, Duration),
    history: &Arc<Writer>,
) -> Result<(Cluster, Vec<Window>)> {
    let history = Arc::clone(history);
    let window_duration = Duration::from_secs(5);
    let done = tokio::task::spawn_blocking(move || -> std::io::Result<(Cluster, Vec<Window>)> {
        let mut cluster = cluster;
        let mut windows = Vec::new();
        let mut window = |name, from: u64| {
            windows.push(Window {
                name,
                from,
                to: history.now(),
            })
        };
        let note = |begins, name: &str| {
            history.note(Observation::Fault {
                name: name.to_owned(),
                begins,
            })
        };
        pause(4 * window_duration);
        let from = history.now();
        pause(window_duration);
        window(NO_FAULTS, from);
        note(true, "Redis down")?;
        let from = history.now();
        cluster.redis.kill();
        pause(durations.0);
        cluster.redis.restart()?;
        note(false, "Redis down")?;
        window("Redis down", from);
        pause(window_duration);
        let from = history.now();
        pause(window_duration);
        window("5 s after Redis came back", from);
        note(true, "MariaDB down")?;
        let from = history.now();
        cluster.database.kill();
        pause(durations.1);
        cluster.database.restart()?;
        note(false, "MariaDB down")?;
        window("MariaDB down", from);
        Ok((cluster, windows))
    });
    Ok(done.await??)
}

fn print(history: &History, report: &Report, windows: &[Window]) {
    let mut faults: Vec<(&str, u32)> = Vec::new();
    for record in history.records() {
        if let Observation::Fault { name, begins: true } = &record.observation {
            match faults.iter_mut().find(|(known, _)| known == name) {
                Some((_, count)) => *count += 1,
                None => faults.push((name, 1)),
            }
        }
    }
    for (name, count) in faults {
        println!("{name:<40} {count:>6}");
    }
    for (name, value) in report.totals() {
        println!("{name:<40} {value:>6}");
    }
    let delays = Delays::of(history);
    println!(
        "slowest delivery after its acknowledgement {:.1?}",
        delays.quantile(1.0)
    );
    for window in windows {
        let inside = delays.between(window.from, window.to);
        println!(
            "{:<26} {:>6} deliveries, p50 {:.1?}, p99 {:.1?}",
            window.name,
            inside.len(),
            inside.quantile(0.5),
            inside.quantile(0.99)
        );
    }
}
