//! Log lines on standard error: bounded in size and memory, from `info` up also in rate, and safe
//! to print on a terminal.

mod flood;
mod lines;
mod sink;

use std::io::IsTerminal as _;

use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};

use crate::config::{LogFormat, Settings};
use flood::FloodGuard;
use lines::LineFormatter;
use sink::Sink;

/// Handle of the log. Dropping it [flushes](Self::flush) the queued lines.
#[derive(Debug)]
pub(crate) struct Telemetry {
    sink: Sink,
}

impl Telemetry {
    /// Waits until the queued lines are written, for at most 500 ms; does not wait if the queue is
    /// full. Call this before an exit that runs no destructors.
    pub(crate) fn flush(&self) {
        self.sink.flush();
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        self.flush();
    }
}

/// Starts logging as configured, and logs panics too, in place of their usual text on standard
/// error. Fails if the filter is invalid, if the log thread cannot be started, or if logging was
/// started before in this process.
pub(crate) fn start(settings: &Settings) -> Result<Telemetry, String> {
    let filter = parse_filter(&settings.log.level)?;
    let is_terminal = std::io::stderr().is_terminal();
    let is_json = match settings.log.format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !is_terminal,
    };
    let is_coloured = is_terminal && !is_json && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let sink = Sink::start().map_err(|error| format!("cannot start the log thread: {error}"))?;
    let guard = FloodGuard::default();
    let layer = tracing_subscriber::fmt::layer()
        .event_format(LineFormatter::new(is_json, is_coloured, guard.clone()))
        .with_writer(sink.clone())
        .with_filter(guard);
    let subscriber = tracing_subscriber::registry().with(filter).with(layer);
    tracing::subscriber::set_global_default(subscriber).map_err(|error| error.to_string())?;
    std::panic::set_hook(Box::new(log_panic));
    Ok(Telemetry { sink })
}

/// Parses a filter such as `info,chat_core::server=debug`.
pub(crate) fn parse_filter(text: &str) -> Result<EnvFilter, String> {
    let invalid = || {
        format!(
            "{text:?} is not a log filter; write error, warn, info, debug, trace, or a filter such as \
             info,chat_core::server=debug"
        )
    };
    // The parser accepts any word as a target, so a misspelt level would disable all logging.
    let directives = text.split(',').map(str::trim);
    let bare_words = directives.filter(|directive| !directive.contains(['=', '[', ':']));
    for word in bare_words {
        let level = word.parse::<tracing_subscriber::filter::LevelFilter>();
        if word.is_empty() || level.is_err() {
            return Err(invalid());
        }
    }
    EnvFilter::builder().parse(text).map_err(|_| invalid())
}

fn log_panic(info: &std::panic::PanicHookInfo<'_>) {
    let text = info.payload_as_str().unwrap_or("(the panic has no text)");
    let location = info.location().map(ToString::to_string).unwrap_or_default();
    tracing::error!(location, panic = text, "panic: this is a bug, please report it");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filter_accepts_levels_and_targets_only() {
        for text in [
            "info",
            "WARN",
            "off",
            "info,chat_core=debug",
            "chat_core::server=trace,warn",
        ] {
            assert!(parse_filter(text).is_ok(), "{text}");
        }
        for text in ["", "verbose", "info,loud", "chat_core=loud"] {
            assert!(parse_filter(text).is_err(), "{text}");
        }
    }
}
