//! Tests of the program `swarm`, whose histories `histcheck` checks.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chat_harness::check::{Rule, check};
use chat_harness::history::{History, Observation, Writer};
use chat_harness::proxy::Proxy;
use chat_harness::wire_client::{WireSwarm, WireSwarmOptions};
use tokio::process::Command;
use tokio::time::timeout;

use super::service::Service;
use super::utf8;

/// Maximum time to wait for an expected event.
const WAIT_TIMEOUT: Duration = Duration::from_secs(120);

/// Runs a program to its end, while this process runs the nodes that the program connects to.
/// Returns the exit code and the output.
async fn run(program: &str, arguments: Vec<String>) -> (Option<i32>, String) {
    let output = Command::new(program).args(arguments).kill_on_drop(true).output();
    let output = timeout(WAIT_TIMEOUT, output).await.unwrap().unwrap();
    (output.status.code(), utf8(&output.stdout) + &utf8(&output.stderr))
}

/// Runs `swarm`, which writes its history to `history`.
async fn swarm(servers: &[SocketAddr], history: &Path, options: &str) -> (Option<i32>, String) {
    let servers = servers
        .iter()
        .flat_map(|server| ["--server".to_owned(), server.to_string()]);
    let history = ["--history".to_owned(), history.display().to_string()];
    let options = options.split_whitespace().map(str::to_owned);
    run(
        env!("CARGO_BIN_EXE_swarm"),
        servers.chain(history).chain(options).collect(),
    )
    .await
}

async fn histcheck(history: &Path, options: &[String]) -> (Option<i32>, String) {
    histcheck_of(&[history], options).await
}

async fn histcheck_of(histories: &[&Path], options: &[String]) -> (Option<i32>, String) {
    let histories = histories.iter().map(|history| history.display().to_string());
    let arguments = histories.chain(options.iter().cloned()).collect();
    run(env!("CARGO_BIN_EXE_histcheck"), arguments).await
}

/// Returns the number of observations in a history for which `is` returns true.
fn count(history: &Path, is: impl Fn(&Observation) -> bool) -> usize {
    let history = History::read(&[history.to_owned()]).unwrap();
    history
        .records()
        .iter()
        .filter(|record| is(&record.observation))
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn swarm_through_the_library_passes_the_check() {
    let service = Service::start().await;
    let directory = tempfile::tempdir().unwrap();
    let history = directory.path().join("history");
    let options = "--users 6 --churn 2 --takeovers 1 --seconds 3 --rate 10 --name crew";
    let (code, printed) = swarm(&service.addresses(), &history, options).await;
    assert_eq!(code, Some(0), "{printed}");
    assert!(printed.contains("acknowledged   "), "{printed}");
    // Messages of removed users were refused, and sessions were replaced. Each new session is a
    // run. Without replaced sessions, there would be ten runs: of the six users, of the first
    // messages of the three pairs, and of the first session of the additional user.
    assert!(
        count(&history, |observation| matches!(
            observation,
            Observation::Refused { .. }
        )) > 0
    );
    assert!(count(&history, |observation| matches!(observation, Observation::Run { .. })) > 10);

    let (code, printed) = histcheck(&history, &[]).await;
    assert_eq!(code, Some(0), "{printed}");
    for server in service.addresses() {
        assert!(
            printed.lines().next().unwrap().contains(&server.to_string()),
            "{printed}"
        );
    }
    assert!(!printed.contains("not checked"), "{printed}");

    // The check also passes if `histcheck` itself reads the logs from a node, as a user of the
    // swarm.
    let server_options = [
        "--server",
        &service.addresses()[1].to_string(),
        "--user",
        "crew-0",
        "--pin",
        &service.pin,
    ];
    let (code, printed) = histcheck(&history, &server_options.map(str::to_owned)).await;
    assert_eq!(code, Some(0), "{printed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn users_of_the_bare_protocol_reconnect_and_miss_no_event() {
    let service = Service::start().await;
    let directory = tempfile::tempdir().unwrap();
    let history = directory.path().join("history");
    let proxy = Proxy::start(service.addresses()[0]).unwrap();
    let servers = [proxy.address(), service.addresses()[1]];
    let options = format!(
        "--wire --users 12 --group-size 4 --burst 4 --rate 80 --seconds 3 --pin {}",
        service.pin
    );
    let load = swarm(&servers, &history, &options);
    let resetting = async {
        // Resets the connections through the proxy twice, after at least 200 and 400 deliveries.
        let mut checks = tokio::time::interval(Duration::from_millis(50));
        for round in 1..=2 {
            let delivered = || {
                count(&history, |observation| {
                    matches!(observation, Observation::Delivered { .. })
                })
            };
            while !history.exists() || delivered() < 200 * round {
                checks.tick().await;
            }
            proxy.reset();
        }
        std::future::pending().await
    };
    let (code, printed) = tokio::select! {
        ended = load => ended,
        () = resetting => unreachable!("this future never completes"),
    };
    assert_eq!(code, Some(0), "{printed}");
    assert!(
        count(&history, |observation| matches!(observation, Observation::Run { .. })) > 12,
        "no user has reconnected"
    );
    assert!(
        count(&history, |observation| matches!(observation, Observation::Acked { .. })) > 100,
        "{printed}"
    );
    let (code, printed) = histcheck(&history, &[]).await;
    assert_eq!(code, Some(0), "{printed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn histories_of_two_processes_are_checked_together() {
    let service = Service::start().await;
    let directory = tempfile::tempdir().unwrap();
    let [library, wire] = ["library", "wire"].map(|name| directory.path().join(name));
    let servers = service.addresses();
    let (by_library, by_wire) = tokio::join!(
        swarm(&servers, &library, "--users 2 --groups 1 --takeovers 1 --seconds 2"),
        swarm(&servers, &wire, "--users 2 --wire --seconds 2"),
    );
    assert_eq!(by_library.0, Some(0), "{}", by_library.1);
    assert_eq!(by_wire.0, Some(0), "{}", by_wire.1);
    let (code, printed) = histcheck_of(&[&library, &wire], &[]).await;
    assert_eq!(code, Some(0), "{printed}");
    let acked = |history| count(history, |observation| matches!(observation, Observation::Acked { .. }));
    let all = format!("acknowledgements checked    {}\n", acked(&library) + acked(&wire));
    assert!(printed.contains(&all), "{printed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn users_who_are_offline_at_the_end_are_checked_too() {
    let service = Service::start().await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("history");
    let history = Arc::new(Writer::open(&path).unwrap());
    let proxy = Proxy::start(service.addresses()[0]).unwrap();
    let options = WireSwarmOptions {
        users: 2,
        ..WireSwarmOptions::default()
    };
    let pin = service.pin.parse().unwrap();
    let mut swarm = WireSwarm::start(&[proxy.address()], pin, &options, history)
        .await
        .unwrap();
    while count(&path, |observation| matches!(observation, Observation::Send { .. })) < 4 {
        tokio::task::yield_now().await;
    }
    swarm.stop_sending(WAIT_TIMEOUT).await.unwrap();
    proxy.refuse().unwrap();
    proxy.reset();
    assert_eq!(swarm.finish(Duration::from_millis(300)).await.unwrap(), 2);
    proxy.accept().unwrap();
    swarm.dump().await.unwrap();
    let report = check(&History::read(&[path]).unwrap());
    assert_eq!((report.finished_runs, report.could_check(Rule::C8)), (2, true));
}

#[tokio::test]
async fn swarm_that_cannot_start_sets_its_exit_code() {
    let directory = tempfile::tempdir().unwrap();
    let history = directory.path().join("history");
    let unused_address = SocketAddr::from(([127, 0, 0, 1], 1));
    let (code, printed) = swarm(&[unused_address], &history, "").await;
    assert_eq!(code, Some(1), "{printed}");
    assert!(printed.starts_with("swarm: 127.0.0.1:1: "), "{printed}");
    for options in [
        "--rate 0",
        "--wire --churn 1",
        "--burst 2",
        "--users many",
        "--users 0",
        "--wire --users 0",
        "--users 3 --groups 0",
        "--users 2 --groups 0 --takeovers 1",
        "--pin sha256:short",
    ] {
        let (code, printed) = swarm(&[unused_address], &history, options).await;
        assert_eq!(code, Some(2), "{options}: {printed}");
    }
    let service = Service::start().await;
    std::fs::write(&history, "kept").unwrap();
    let (code, printed) = swarm(&service.addresses(), &history, "").await;
    assert_eq!(code, Some(1), "{printed}");
    assert!(printed.contains("File exists"), "{printed}");
    assert_eq!(std::fs::read_to_string(&history).unwrap(), "kept");
}
