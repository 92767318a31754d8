//! Whether the check finds mistakes in running nodes: `bugs CHAT_SERVER [clean RUNS | BUG...]`. Each mistake of a server that was built
//! with the feature `planted-bugs` has to be found within three runs, by a rule that it breaks; with `clean`, none may be found in so many
//! runs. Exit code 1 otherwise, 2 if that cannot be judged.

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

/// The mistakes that chat-core knows, and rules of which each breaks at least one.
const BUGS: [(&str, &[Rule]); 15] = [
    ("ack-unwritten", &[Rule::C1]),
    // What is stored under another key is a message that nobody sent.
    ("key-forgotten", &[Rule::C2, Rule::C3, Rule::C11]),
    ("stored-twice", &[Rule::C2, Rule::C3]),
    ("time-back", &[Rule::C15]),
    ("ack-moved", &[Rule::C11]),
    ("ack-elsewhere", &[Rule::C1]),
    ("stored-refused", &[Rule::C3]),
    ("page-altered", &[Rule::C5]),
    ("page-forged", &[Rule::C5]),
    ("page-short", &[Rule::C4, Rule::C7]),
    ("push-altered", &[Rule::C5]),
    ("removed-stays", &[Rule::C12]),
    ("stranger-sends", &[Rule::C12]),
    ("fence-open", &[Rule::C13]),
    // One that does not hear: known by what comes late, or not at all.
    ("deaf", &[Rule::C8]),
];
/// Less than this share of messages is acknowledged only if something is wrong.
const LEAST_ACKED: f64 = 0.5;
const RUNS: u64 = 3;
/// Longer than any repair that works.
const CATCHING_UP: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() -> ExitCode {
    match judge().await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("bugs: {error}");
            ExitCode::from(2)
        }
    }
}

async fn judge() -> Result<ExitCode> {
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
    let is_wanted = |bug: &str| wanted.is_empty() || wanted.iter().any(|name| name == bug);
    let chosen: Vec<_> = BUGS.iter().filter(|(bug, _)| is_wanted(bug)).collect();
    if chosen.len() < wanted.len() {
        return Err(format!("the bugs are {}", BUGS.map(|(bug, _)| bug).join(", ")).into());
    }
    let mut missed = 0;
    for (bug, rules) in chosen {
        missed += usize::from(!is_found(&server, bug, rules).await);
    }
    Ok(ExitCode::from(u8::from(missed > 0)))
}

/// Runs until the mistake is found: one of these rules is broken.
async fn is_found(server: &Path, bug: &'static str, expected: &[Rule]) -> bool {
    for seed in 1..=RUNS {
        let started = Instant::now();
        // A run that cannot be judged has found nothing.
        let found = match run(server, Some(bug), seed).await {
            Ok(report) => {
                let rules: BTreeSet<Rule> = report.violations().iter().map(|violation| violation.rule).collect();
                println!("{bug:<18} run {seed}: {rules:?}, {:.0?}", started.elapsed());
                expected.iter().any(|rule| rules.contains(rule))
            }
            Err(error) => {
                println!("{bug:<18} run {seed}: cannot be judged: {error}");
                false
            }
        };
        if found {
            return true;
        }
    }
    println!("{bug:<18} was not found by any of {expected:?}");
    false
}

async fn clean_runs(server: &Path, runs: u64) -> Result<ExitCode> {
    let (mut sends, mut acks, mut deliveries) = (0, 0, 0);
    for seed in 1..=runs {
        let report = run(server, None, seed).await?;
        if !report.is_clean() {
            for violation in report.violations() {
                println!("run {seed}: {:?}: {}", violation.rule, violation.text);
            }
            return Ok(ExitCode::FAILURE);
        }
        let (unchecked, share) = (report.unchecked(), report.acked_share());
        if !unchecked.is_empty() {
            return Err(format!("run {seed}: there was nothing to judge by {unchecked:?}").into());
        }
        if share < LEAST_ACKED {
            println!("run {seed}: too little was acknowledged, {:.0} %", 100.0 * share);
            return Ok(ExitCode::FAILURE);
        }
        sends += report.sends;
        acks += report.acks;
        deliveries += report.deliveries;
    }
    println!("{runs} runs without a finding: {sends} messages, {acks} acknowledgements, {deliveries} deliveries");
    Ok(ExitCode::SUCCESS)
}

/// A short run with a few faults.
async fn run(server: &Path, bug: Option<&'static str>, seed: u64) -> Result<Report> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("history.jsonl");
    let history = Arc::new(Writer::open(&path)?);
    let report = run_into(server, bug, seed, Arc::clone(&history), &path).await;
    let is_well = |report: &Report| report.is_clean() && report.acked_share() >= LEAST_ACKED;
    if bug.is_none() && !report.as_ref().is_ok_and(is_well) {
        history.flush()?;
        let kept = std::env::temp_dir().join(format!("history-clean-{seed}.jsonl"));
        std::fs::copy(&path, &kept)?;
        println!("the history is kept in {}", kept.display());
    }
    report
}

async fn run_into(
    server: &Path,
    bug: Option<&'static str>,
    seed: u64,
    history: Arc<Writer>,
    path: &Path,
) -> Result<Report> {
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
    Ok(conclude(cluster, swarm, history, path, CATCHING_UP).await?.report)
}
