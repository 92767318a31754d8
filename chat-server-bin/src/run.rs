//! Runs the server until a signal stops it.

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::compose::{Composition, compose};
use crate::config::CheckedConfig;
use crate::failure::Failure;
use crate::next_steps::{StartedServer, next_steps};
use crate::output::print;
use crate::signals::{Signals, StopSignal};
use crate::telemetry::Telemetry;

/// Maximum time to stop the engine and close the store after the connections are drained.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(30);

/// Time after the first signal in which another one does not count as the second. The command
/// `timeout`, for example, sends the same signal to the process and to its process group, so the
/// process receives it twice.
const REPEATED_SIGNAL_WINDOW: Duration = Duration::from_millis(500);

/// Serves until SIGTERM or SIGINT, then drains the connections. A second signal ends the process at
/// once, unless it follows within [`REPEATED_SIGNAL_WINDOW`]. At SIGHUP, the files of the TLS
/// certificate are read again.
pub(crate) async fn run(config: CheckedConfig, telemetry: &Telemetry) -> Result<ExitCode, Failure> {
    // The handlers are installed before any slow step, so that no signal is missed.
    let mut signals =
        Signals::install().map_err(|error| Failure::Failed(format!("cannot install signal handlers: {error}")))?;
    match &config.file {
        Some(file) => tracing::info!(file = %file.display(), "the configuration was read"),
        None => tracing::info!("no configuration file was given or found"),
    }
    let composition = compose(&config).await?;
    print_ready(&composition, &config)?;
    let stop = signals.stopped(|| composition.reload_certificate(&config)).await;
    tracing::info!(signal = stop.name(), "draining: asking clients to reconnect");
    tokio::select! {
        () = drain(composition, config.settings.server.drain_timeout.0) => {
            tracing::info!("stopped");
            Ok(ExitCode::SUCCESS)
        }
        second = second_signal(&mut signals) => {
            tracing::warn!(signal = second.name(), "stopped before the drain ended; acknowledged messages are stored");
            telemetry.flush();
            exit_now(second)
        }
    }
}

/// Waits for a signal that ends the drain.
async fn second_signal(signals: &mut Signals) -> StopSignal {
    let start = Instant::now();
    loop {
        let signal = signals
            .stopped(|| tracing::info!("SIGHUP is ignored while the server stops"))
            .await;
        if start.elapsed() >= REPEATED_SIGNAL_WINDOW {
            return signal;
        }
    }
}

/// Prints to standard output: the listeners, `ready`, and the fingerprints that clients pin, which
/// are those of the identity key and of the key of the configured TLS certificate. On a terminal,
/// also prints how to connect; a program that starts the server needs no such text.
fn print_ready(composition: &Composition, config: &CheckedConfig) -> Result<(), Failure> {
    let mut lines = String::new();
    for (protocol, address) in composition.server.addresses() {
        lines.push_str(&format!("listening {protocol} {address}\n"));
    }
    lines.push_str(&format!("ready\nfingerprint {}\n", composition.fingerprint));
    if let Some(acceptor) = &composition.certificate_acceptor {
        lines.push_str(&format!("tls-fingerprint {}\n", acceptor.fingerprint()));
    }
    if std::io::stdout().is_terminal() {
        lines.push_str(&next_steps(&started_server(composition, config)));
    }
    match print(lines.as_bytes()) {
        // The parent process has closed the pipe. The server keeps running.
        Err(Failure::ReaderGone) => Ok(()),
        written => written,
    }
}

fn started_server<'a>(composition: &'a Composition, config: &CheckedConfig) -> StartedServer<'a> {
    let addresses = composition.server.addresses().iter().zip(&config.listen);
    let direct = addresses.filter(|(_, listen)| !listen.is_behind_proxy);
    let acceptor = composition.certificate_acceptor.as_ref();
    StartedServer {
        listeners: direct.map(|(address, _)| *address).collect(),
        fingerprint: &composition.fingerprint,
        tls_fingerprint: acceptor.map(|acceptor| acceptor.fingerprint().to_string()),
        is_registration_open: config.settings.accounts.allow_registration,
    }
}

/// Drains the connections for at most `timeout`, then stops the engine and closes the store.
async fn drain(composition: Composition, timeout: Duration) {
    let Composition {
        store,
        engine,
        server,
        admin_socket,
        ..
    } = composition;
    engine.announce_drain();
    server.drain(timeout).await;
    // The admin socket is open until here, so that operators can watch the drain.
    drop(admin_socket);
    let finished = tokio::time::timeout(SHUTDOWN_TIMEOUT, async {
        engine.shutdown().await;
        drop(engine);
        store.close().await;
    });
    if finished.await.is_err() {
        tracing::warn!("the engine or the store did not stop in time; acknowledged messages are stored");
    }
}

fn exit_now(signal: StopSignal) -> ! {
    std::process::exit(signal.exit_code().into())
}
