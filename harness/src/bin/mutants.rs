//! `mutants`: tests [`chat_harness::check`] with servers that have deliberate faults.
//!
//! `mutants faults FAULTY_SERVER [FAULT...]` runs clusters with each FAULT (by default, with every
//! fault) and fails unless the check reports it within three runs, by a rule that the fault breaks.
//! `mutants clean RUNS SERVER...` runs RUNS clusters of correct servers, with each SERVER in turn,
//! and fails if the check reports anything or less than half of the messages were acknowledged. The
//! exit code is 1 if the test fails, and 2 if the arguments are wrong or a run of correct servers
//! could not be judged.

use std::collections::BTreeSet;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chat_harness::check::{Report, Rule};
use chat_harness::history::Writer;
use chat_harness::swarm::{Options, Swarm};
use chat_harness::{Cluster, Fault, GuardedTempDir, Plan, SeededRng, conclude, inject, pause};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The faults of `faulty-server`, which documents them, and the rules by which the check may find
/// each fault: a violation of one of them is enough.
const FAULTS: [(&str, &[Rule]); 15] = [
    ("ack-unwritten", &[Rule::C1]),
    // A message that is stored under another key looks like a message that no client sent.
    ("key-replaced", &[Rule::C2, Rule::C3, Rule::C11]),
    ("stored-twice", &[Rule::C2, Rule::C3]),
    ("time-back", &[Rule::C15]),
    ("ack-moved", &[Rule::C11]),
    ("ack-other-event", &[Rule::C1]),
    ("stored-refused", &[Rule::C3]),
    ("page-altered", &[Rule::C5]),
    ("page-forged", &[Rule::C5]),
    ("page-short", &[Rule::C4, Rule::C7]),
    ("push-altered", &[Rule::C5]),
    ("removed-receives", &[Rule::C12]),
    ("removed-sends", &[Rule::C12]),
    ("fence-open", &[Rule::C13]),
    ("remote-dropped", &[Rule::C8]),
];
/// Minimum share of acknowledged messages in a run of correct servers.
const MIN_ACKED_SHARE: f64 = 0.5;
/// Maximum number of runs with one fault. The check has to find the fault in one of them.
const MAX_RUNS: u64 = 3;
/// Maximum time for clients to catch up at the end. The clients of correct servers take less time
/// to receive the events that they missed.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(10);
const USAGE: &str = "usage: mutants faults FAULTY_SERVER [FAULT...] | mutants clean RUNS SERVER...";

#[tokio::main]
async fn main() -> ExitCode {
    match run_command().await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("mutants: {error}");
            ExitCode::from(2)
        }
    }
}

async fn run_command() -> Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    // Removes all temporary files, however this process ends.
    let _temp_dir = GuardedTempDir::open()?;
    match arguments[..] {
        ["faults", server, ref names @ ..] => find_faults(Path::new(server), names).await,
        ["clean", runs, ref servers @ ..] if !servers.is_empty() => {
            let servers: Vec<PathBuf> = servers.iter().map(PathBuf::from).collect();
            clean_runs(&servers, runs.parse().map_err(|_| USAGE)?).await
        }
        _ => Err(USAGE.into()),
    }
}

/// Runs clusters with each fault in `names`, or with every fault if `names` is empty, and prints
/// which faults the check finds. Succeeds if it finds all of them.
async fn find_faults(server: &Path, names: &[&str]) -> Result<ExitCode> {
    let is_selected = |fault: &str| names.is_empty() || names.contains(&fault);
    let selected: Vec<_> = FAULTS.iter().filter(|(fault, _)| is_selected(fault)).collect();
    if let Some(unknown) = names.iter().find(|name| FAULTS.iter().all(|(fault, _)| fault != *name)) {
        let known = FAULTS.map(|(fault, _)| fault).join(", ");
        return Err(format!("unknown fault {unknown}; the faults are {known}").into());
    }
    let mut missed = Vec::new();
    for (fault, rules) in &selected {
        if !is_found(server, fault, rules).await {
            missed.push(*fault);
        }
    }
    println!("{} of {} faults found", selected.len() - missed.len(), selected.len());
    if missed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    println!("not found: {}", missed.join(", "));
    Ok(ExitCode::FAILURE)
}

/// Runs clusters with a fault until the check reports a violation of one of the `expected` rules.
/// Returns whether it did within [`MAX_RUNS`] runs.
async fn is_found(server: &Path, fault: &'static str, expected: &[Rule]) -> bool {
    for seed in 1..=MAX_RUNS {
        let started = Instant::now();
        // A run that cannot be judged counts as a run in which the fault was not found.
        let found = match run(server, Some(fault), seed).await {
            Ok(report) => {
                let rules: BTreeSet<Rule> = report.violations().iter().map(|violation| violation.rule).collect();
                println!("{fault:<16} run {seed}: {rules:?}, {:.0?}", started.elapsed());
                expected.iter().any(|rule| rules.contains(rule))
            }
            Err(error) => {
                println!("{fault:<16} run {seed}: cannot be judged: {error}");
                false
            }
        };
        if found {
            return true;
        }
    }
    println!("{fault:<16} not found by any of {expected:?}");
    false
}

/// Runs `runs` clusters of correct servers, with each of `servers` in turn. Returns a failure after
/// the first run of which the check reports anything or too few messages were acknowledged.
async fn clean_runs(servers: &[PathBuf], runs: u64) -> Result<ExitCode> {
    let (mut sends, mut acks, mut deliveries) = (0, 0, 0);
    for (seed, server) in (1..=runs).zip(servers.iter().cycle()) {
        let report = run(server, None, seed).await?;
        if !report.is_clean() {
            for violation in report.violations() {
                println!("run {seed}: {:?}: {}", violation.rule, violation.text);
            }
            return Ok(ExitCode::FAILURE);
        }
        let (unchecked, share) = (report.unchecked(), report.acked_share());
        if !unchecked.is_empty() {
            return Err(format!(
                "run {seed}: the rules {unchecked:?} could not be checked: the history has no records for them"
            )
            .into());
        }
        if share < MIN_ACKED_SHARE {
            println!(
                "run {seed}: only {:.0} % of the messages were acknowledged",
                100.0 * share
            );
            return Ok(ExitCode::FAILURE);
        }
        sends += report.sends;
        acks += report.acks;
        deliveries += report.deliveries;
    }
    println!("{runs} clean runs, nothing reported: {sends} messages, {acks} acknowledgements, {deliveries} deliveries");
    Ok(ExitCode::SUCCESS)
}

/// Runs a cluster for a short time under load and a few injected faults, and checks its history.
/// `fault` is the deliberate fault of its servers. Without one, keeps the history if the check
/// reports anything, too few messages were acknowledged, or the run failed.
async fn run(server: &Path, fault: Option<&'static str>, seed: u64) -> Result<Report> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("history.jsonl");
    let history = Arc::new(Writer::open(&path)?);
    let report = run_cluster(server, fault, seed, Arc::clone(&history), &path).await;
    let passes = |report: &Report| report.is_clean() && report.acked_share() >= MIN_ACKED_SHARE;
    if fault.is_none() && !report.as_ref().is_ok_and(passes) {
        history.flush()?;
        let kept = std::env::temp_dir().join(format!("history-clean-{seed}.jsonl"));
        std::fs::copy(&path, &kept)?;
        println!("the history is kept in {}", kept.display());
    }
    report
}

async fn run_cluster(
    server: &Path,
    fault: Option<&'static str>,
    seed: u64,
    history: Arc<Writer>,
    path: &Path,
) -> Result<Report> {
    let server = server.to_owned();
    let start = move || {
        let settings: Vec<_> = fault.map(|fault| ("FAULT", fault)).into_iter().collect();
        Cluster::configured(&server, 3, &settings)
    };
    let cluster = tokio::task::spawn_blocking(start).await??;
    let options = Options {
        users: 8,
        groups: 2,
        rate: 10.0,
        churn: 3,
        takeovers: 1,
        ..Options::default()
    };
    let swarm = Swarm::start(
        &cluster.addresses(),
        cluster.fingerprint(),
        &options,
        Arc::clone(&history),
    )
    .await?;
    let plan = Plan {
        counts: vec![
            (Fault::KillNode, 4),
            (Fault::DropSubscribers, 2),
            (Fault::FreezeDatabase, 1),
            (Fault::KillDatabase, 2),
        ],
        seed,
    };
    let writer = Arc::clone(&history);
    let cluster = tokio::task::spawn_blocking(move || -> std::io::Result<Cluster> {
        let (mut cluster, mut rng) = (cluster, SeededRng::new(seed));
        for fault in plan.sequence() {
            pause(rng.between(Duration::from_millis(300), Duration::from_millis(1000)));
            inject(&mut cluster, fault, &mut rng, &writer)?;
        }
        Ok(cluster)
    })
    .await??;
    Ok(conclude(cluster, swarm, history, path, CATCH_UP_TIMEOUT).await?.report)
}
