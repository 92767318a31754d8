//! Formats each log event as one line of text or JSON. Control characters and those that control
//! the direction of text are escaped, and values are truncated to 256 bytes, because some values
//! come from peers.

use std::fmt::{self, Write as _};

use chat_core::model::escape_for_log;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::flood::FloodGuard;

/// Formatter of events. Span fields are omitted, because the events of a connection contain its
/// id.
#[derive(Debug)]
pub(super) struct LineFormatter {
    /// True for JSON, false for text.
    is_json: bool,
    /// True if the level of a text line is coloured.
    is_coloured: bool,
    guard: FloodGuard,
}

impl LineFormatter {
    pub(super) const fn new(is_json: bool, is_coloured: bool, guard: FloodGuard) -> Self {
        Self {
            is_json,
            is_coloured,
            guard,
        }
    }
}

impl<S, N> FormatEvent<S, N> for LineFormatter
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let metadata = event.metadata();
        let mut fields = Fields::default();
        event.record(&mut fields);
        match self.guard.take_suppressed(metadata) {
            0 => {}
            suppressed => fields.rest.push(("suppressed", Value::Bare(suppressed.to_string()))),
        }
        if self.is_json {
            out.write_str("{\"ts\":\"")?;
            SystemTime.format_time(&mut out)?;
            write!(
                out,
                "\",\"level\":\"{}\",\"target\":\"{}\"",
                metadata.level(),
                metadata.target()
            )?;
            fields.write_json(&mut out)?;
            out.write_str("}\n")
        } else {
            SystemTime.format_time(&mut out)?;
            let (begin, end) = if self.is_coloured {
                colours(metadata.level())
            } else {
                ("", "")
            };
            write!(out, " {begin}{:>5}{end} {}:", metadata.level(), metadata.target())?;
            fields.write_text(&mut out)?;
            out.write_char('\n')
        }
    }
}

/// Returns the escape sequences that begin and end the colour of a level.
const fn colours(level: &Level) -> (&'static str, &'static str) {
    let begin = match *level {
        Level::ERROR => "\x1b[31m",
        Level::WARN => "\x1b[33m",
        Level::INFO => "\x1b[32m",
        Level::DEBUG => "\x1b[34m",
        Level::TRACE => "\x1b[35m",
    };
    (begin, "\x1b[0m")
}

/// Fields of one event, already escaped and truncated.
#[derive(Debug, Default)]
struct Fields {
    message: String,
    /// The fields other than the message.
    rest: Vec<(&'static str, Value)>,
}

#[derive(Debug)]
enum Value {
    /// An integer or boolean, written without quotes.
    Bare(String),
    /// Any other value: a string in JSON; in a text line, in quotes where they are needed.
    Text(String),
}

impl Fields {
    fn add_text(&mut self, field: &Field, text: &str) {
        let text = escape_for_log(text).into_owned();
        if field.name() == "message" {
            self.message = text;
        } else {
            self.rest.push((field.name(), Value::Text(text)));
        }
    }

    fn add_bare(&mut self, field: &Field, value: impl fmt::Display) {
        self.rest.push((field.name(), Value::Bare(value.to_string())));
    }

    fn write_text(&self, out: &mut Writer<'_>) -> fmt::Result {
        if !self.message.is_empty() {
            write!(out, " {}", self.message)?;
        }
        for (name, value) in &self.rest {
            match value {
                Value::Bare(value) => write!(out, " {name}={value}")?,
                Value::Text(text) if text.is_empty() || text.contains([' ', '"', '=', '\\']) => {
                    write!(out, " {name}=\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))?;
                }
                Value::Text(text) => write!(out, " {name}={text}")?,
            }
        }
        Ok(())
    }

    fn write_json(&self, out: &mut Writer<'_>) -> fmt::Result {
        out.write_str(",\"msg\":")?;
        write_json_string(&self.message, out)?;
        for (name, value) in &self.rest {
            write!(out, ",\"{name}\":")?;
            match value {
                Value::Bare(value) => out.write_str(value)?,
                Value::Text(text) => write_json_string(text, out)?,
            }
        }
        Ok(())
    }
}

/// Writes `text` as a JSON string. Its control characters have been escaped by
/// [`Fields::add_text`].
fn write_json_string(text: &str, out: &mut Writer<'_>) -> fmt::Result {
    out.write_char('"')?;
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            out.write_char('\\')?;
        }
        out.write_char(c)?;
    }
    out.write_char('"')
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add_text(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add_text(field, value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut text = value.to_string();
        let mut source = value.source();
        while let Some(cause) = source {
            // Writing to a `String` cannot fail.
            let _infallible = write!(text, ": {cause}");
            source = cause.source();
        }
        self.add_text(field, &text);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add_bare(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add_bare(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add_bare(field, value);
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};

    use super::*;

    /// Writer that keeps the written bytes in memory.
    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Returns the lines that `log` writes.
    fn lines_of(is_json: bool, log: impl FnOnce()) -> String {
        let captured = Captured::default();
        let writer = captured.clone();
        let guard = FloodGuard::default();
        let layer = tracing_subscriber::fmt::layer()
            .event_format(LineFormatter::new(is_json, false, guard.clone()))
            .with_writer(move || writer.clone())
            .with_filter(guard);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log);
        let bytes = captured.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    /// Logs values with characters that must not reach a log unescaped.
    fn log_hostile_values() {
        let peer = "\x1b[31mred\"\n\u{202e}evil";
        tracing::warn!(peer, count = 3_u32, long = "x".repeat(1000), error = ?Some("\u{7}"), "closed: {}", "a\rb");
    }

    #[test]
    fn text_line_is_single_and_escaped() {
        let text = lines_of(false, log_hostile_values);
        assert_eq!(text.lines().count(), 1);
        assert!(
            !text.trim_end().chars().any(|c| c.is_control() || c == '\u{202e}'),
            "{text}"
        );
        assert!(text.contains(" WARN "), "{text}");
        assert!(text.contains("count=3"), "{text}");
        assert!(text.len() < 800, "values are truncated: {text}");
    }

    /// A backslash at the end of a value must not escape the quotation mark that ends it.
    #[test]
    fn text_value_cannot_end_its_quotes() {
        let text = lines_of(false, || tracing::warn!(peer = "a b\\", user = 7_u64, "closed"));
        assert!(text.contains(r#"peer="a b\\" user=7"#), "{text}");
    }

    #[test]
    fn json_line_is_an_object_with_the_documented_names() {
        let text = lines_of(true, log_hostile_values);
        assert_eq!(text.lines().count(), 1);
        let object: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(object["level"], "WARN");
        assert_eq!(object["count"], 3);
        assert!(object["msg"].as_str().unwrap().starts_with("closed: a"));
        assert!(object["ts"].as_str().unwrap().ends_with('Z'));
        assert!(object["peer"].as_str().unwrap().contains("red\""));
    }
}
