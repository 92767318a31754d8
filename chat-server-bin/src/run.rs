//! Runs the server until a signal ends it.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use crate::compose::{Composition, compose};
use crate::config::Checked;
use crate::failure::Failure;
use crate::signals::{Signals, Stop};
use crate::telemetry::Telemetry;

/// How long the engine and the store get after the last connection to finish what was begun.
const FINISH: Duration = Duration::from_secs(30);

/// Serves until SIGTERM or SIGINT, then drains. A second one ends the process at once. SIGHUP changes nothing.
pub(crate) async fn run(config: Checked, telemetry: &Telemetry) -> Result<ExitCode, Failure> {
    // Before anything that takes time, so that no signal is missed.
    let mut signals = Signals::install().map_err(|error| Failure::Failed(format!("cannot catch signals: {error}")))?;
    match &config.file {
        Some(file) => tracing::info!(file = %file.display(), "configuration read"),
        None => tracing::info!("no configuration file: defaults"),
    }
    let composition = compose(&config).await?;
    announce(&composition)?;
    let stop = signals.next().await;
    tracing::info!(signal = stop.name(), "draining: clients are told to come back");
    tokio::select! {
        () = finish(composition, config.settings.server.drain_timeout.0) => {
            tracing::info!("stopped");
            Ok(ExitCode::SUCCESS)
        }
        again = signals.next() => {
            tracing::warn!(signal = again.name(), "stopped at once; what was acknowledged is safe");
            telemetry.flush();
            at_once(again)
        }
    }
}

/// Says on standard output where the server listens, that it is ready, and what clients pin.
fn announce(composition: &Composition) -> Result<(), Failure> {
    let mut lines = String::new();
    for (protocol, address) in composition.server.addresses() {
        lines.push_str(&format!("listening {protocol} {address}\n"));
    }
    lines.push_str(&format!("ready\nfingerprint {}\n", composition.fingerprint));
    let mut output = std::io::stdout().lock();
    let written = output.write_all(lines.as_bytes()).and_then(|()| output.flush());
    match written {
        // Whoever started the server does not listen: it serves all the same.
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::Failed(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

async fn finish(composition: Composition, patience: Duration) {
    let Composition {
        store, engine, server, ..
    } = composition;
    engine.announce_drain();
    server.drain(patience).await;
    let finished = tokio::time::timeout(FINISH, async {
        engine.shutdown().await;
        drop(engine);
        store.close().await;
    });
    if finished.await.is_err() {
        tracing::warn!("not everything was finished in time; what was acknowledged is safe");
    }
}

fn at_once(signal: Stop) -> ! {
    std::process::exit(signal.exit_code().into())
}
