//! Whether the check finds mistakes in running nodes: `bugs CHAT_SERVER [clean RUNS | BUG...]`. Each mistake of a server that was built
//! with the feature `planted-bugs` has to be found within three runs; with `clean`, none may be found in so many runs. Exit code 1 otherwise.

use std::collections::BTreeSet;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chat_harness::check::{Report, Rule};
use chat_harness::history::Writer;
use chat_harness::swarm::{Options, Swarm};
use chat_harness::{Cluster, Dice, Fault, Plan, Workplace, conclude, inject, pause};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The mistakes that chat-core knows.
const BUGS: [&str; 14] = [
    "ack-unwritten",
    "key-forgotten",
    "stored-twice",
    "time-back",
    "ack-moved",
    "ack-elsewhere",
    "stored-refused",
    "page-altered",
    "page-forged",
    "page-short",
    "push-altered",
    "removed-stays",
    "stranger-sends",
    "fence-open",
];
/// One that does not hear: known by what comes late, or not at all.
const DEAF: &str = "deaf";
const RUNS: u64 = 3;
/// Longer than any repair that works.
const CATCHING_UP: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((server, wanted)) = arguments.split_first() else {
        return Err("usage: bugs CHAT_SERVER [clean RUNS | BUG...]".into());
    };
    // However this ends, nothing is left.
    let _workplace = Workplace::open()?;
    let server = PathBuf::from(server);
    if let [clean, runs] = wanted
        && clean == "clean"
    {
        return clean_runs(&server, runs.parse()?).await;
    }
    let all = BUGS.iter().copied().chain([DEAF]);
    let chosen: Vec<&'static str> = all
        .filter(|bug| wanted.is_empty() || wanted.iter().any(|name| name == bug))
        .collect();
    if chosen.len() < wanted.len() {
        return Err(format!("the bugs are {} and {DEAF}", BUGS.join(", ")).into());
    }
    let mut missed = 0;
    for bug in chosen {
        missed += usize::from(!is_found(&server, bug).await?);
    }
    Ok(ExitCode::from(u8::from(missed > 0)))
}

/// Runs until the mistake is found.
async fn is_found(server: &Path, bug: &'static str) -> Result<bool> {
    for seed in 1..=RUNS {
        let started = Instant::now();
        let report = run(server, Some(bug), seed).await?;
        let rules: BTreeSet<Rule> = report.violations().iter().map(|violation| violation.rule).collect();
        println!("{bug:<18} run {seed}: {rules:?}, {:.0?}", started.elapsed());
        if !rules.is_empty() {
            return Ok(true);
        }
    }
    println!("{bug:<18} was not found");
    Ok(false)
}

async fn clean_runs(server: &Path, runs: u64) -> Result<ExitCode> {
    let (mut acks, mut deliveries) = (0, 0);
    for seed in 1..=runs {
        let report = run(server, None, seed).await?;
        if !report.is_clean() {
            for violation in report.violations() {
                println!("run {seed}: {:?}: {}", violation.rule, violation.text);
            }
            return Ok(ExitCode::FAILURE);
        }
        acks += report.acks;
        deliveries += report.deliveries;
    }
    println!("{runs} runs without a finding: {acks} acknowledgements, {deliveries} deliveries");
    Ok(ExitCode::SUCCESS)
}

/// A short run with a few faults.
async fn run(server: &Path, bug: Option<&'static str>, seed: u64) -> Result<Report> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("history.jsonl");
    let history = Arc::new(Writer::open(&path)?);
    let server = server.to_owned();
    let start = move || {
        let settings: Vec<_> = bug.map(|bug| ("PLANTED_BUG", bug)).into_iter().collect();
        Cluster::configured(&server, 3, &settings)
    };
    let cluster = tokio::task::spawn_blocking(start).await??;
    let options = Options {
        users: 8,
        groups: 2,
        rate: 10.0,
        guests: 3,
        twins: 1,
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
    let notes = Arc::clone(&history);
    let cluster = tokio::task::spawn_blocking(move || -> std::io::Result<Cluster> {
        let (mut cluster, mut dice) = (cluster, Dice::new(seed));
        for fault in plan.sequence() {
            pause(dice.between(Duration::from_millis(300), Duration::from_millis(1000)));
            inject(&mut cluster, fault, &mut dice, &notes)?;
        }
        Ok(cluster)
    })
    .await??;
    let report = conclude(cluster, swarm, history, &path, CATCHING_UP).await?.report;
    if bug.is_none() && !report.is_clean() {
        let kept = std::env::temp_dir().join(format!("history-clean-{seed}.jsonl"));
        std::fs::copy(&path, &kept)?;
        println!("the history is kept in {}", kept.display());
    }
    Ok(report)
}
