//! The layers of the configuration before they are merged: settings from a file, from the
//! environment, and from flags.

use std::path::Path;

use serde::Deserialize as _;
use toml::de::{DeTable, DeValue, ValueDeserializer};
use toml::{Spanned, Table, Value};

use super::mask::masked_value;
use super::problem::{Origin, Problem, Undetermined};

/// One configured value with its key and origin.
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    pub(crate) section: String,
    pub(crate) key: String,
    pub(crate) value: Value,
    pub(crate) origin: Origin,
}

impl Setting {
    /// Creates a setting that the flag `name` gives.
    pub(crate) fn flag(name: &'static str, section: &str, key: &str, value: impl Into<Value>) -> Self {
        Self {
            section: section.to_owned(),
            key: key.to_owned(),
            value: value.into(),
            origin: Origin::Flag(name),
        }
    }
}

/// Returns the settings in `text`, the content of the file at `path`, and a problem for each part
/// that is not valid TOML, or is outside of any section.
pub(crate) fn from_file(path: &Path, text: &str) -> (Vec<Setting>, Vec<Problem>) {
    let origin_at = |span: std::ops::Range<usize>| Origin::File(path.to_owned(), line_of(text, span.start));
    let (document, errors) = DeTable::parse_recoverable(text);
    let mut problems: Vec<Problem> = errors
        .iter()
        .map(|error| {
            Problem::at(&origin_at(error.span().unwrap_or(0..0)), error.message())
                .with_undetermined(Undetermined::Everything)
        })
        .collect();
    let mut settings = Vec::new();
    for (section, content) in document.into_inner() {
        let origin = origin_at(section.span());
        let DeValue::Table(content) = content.into_inner() else {
            let key = section.get_ref();
            let problem = Problem::at(
                &origin,
                format!("{key} is outside of any section; every key belongs to a section such as [server]"),
            );
            problems.push(problem.with_undetermined(Undetermined::Everything));
            continue;
        };
        for (key, value) in content {
            let origin = origin_at(key.span());
            let (section, key) = (section.get_ref().to_string(), key.into_inner().into_owned());
            match to_value(value) {
                Ok(value) => settings.push(Setting {
                    section,
                    key,
                    value,
                    origin,
                }),
                Err(error) => {
                    let problem = Problem::at(&origin, format!("{section}.{key}: {}", error.message()));
                    problems.push(problem.with_undetermined(Undetermined::key(&section, &key)));
                }
            }
        }
    }
    (settings, problems)
}

fn to_value(value: Spanned<DeValue<'_>>) -> Result<Value, toml::de::Error> {
    Value::deserialize(ValueDeserializer::from(value))
}

/// Returns the number of the line that contains this byte; the first line is 1.
fn line_of(text: &str, offset: usize) -> usize {
    let before = text.get(..offset).unwrap_or(text);
    1 + before.bytes().filter(|byte| *byte == b'\n').count()
}

/// Returns the settings in environment variables named `CHAT_SECTION__KEY`, and a problem for each
/// such variable with an unknown key or a value of the wrong type. A value is parsed as the type
/// that its key has in `defaults`, so that a name made of digits stays a string. Other variables,
/// such as `CHAT_PASSWORD` without the double underscore, are ignored, because they are not
/// settings.
pub(crate) fn from_environment(
    variables: impl IntoIterator<Item = (String, String)>,
    defaults: &Table,
) -> (Vec<Setting>, Vec<Problem>) {
    let (mut settings, mut problems) = (Vec::new(), Vec::new());
    let mut variables: Vec<_> = variables.into_iter().collect();
    variables.sort_unstable();
    for (name, text) in variables {
        let Some((section, key)) = name.strip_prefix("CHAT_").and_then(|path| path.split_once("__")) else {
            continue;
        };
        let (section, key) = (section.to_ascii_lowercase(), key.to_ascii_lowercase());
        let origin = Origin::Environment(name);
        let default = defaults.get(&section).and_then(|section| section.get(&key));
        let Some(default) = default else {
            problems.push(unknown_key(&origin, &section, &key, defaults));
            continue;
        };
        match parse_like(default, &text) {
            Ok(value) => settings.push(Setting {
                section,
                key,
                value,
                origin,
            }),
            Err(expected) => {
                let shown = masked_value(&text);
                let problem = Problem::at(&origin, format!("{section}.{key} must be {expected}, not {shown:?}"));
                problems.push(problem.with_undetermined(Undetermined::key(&section, &key)));
            }
        }
    }
    (settings, problems)
}

/// Parses `text` as the type of `default`. An array is a list separated by commas. The error says
/// what is expected.
fn parse_like(default: &Value, text: &str) -> Result<Value, &'static str> {
    match default {
        Value::Integer(_) => text.trim().parse().map(Value::Integer).map_err(|_| "a whole number"),
        Value::Boolean(_) => text.trim().parse().map(Value::Boolean).map_err(|_| "true or false"),
        Value::Float(_) => text.trim().parse().map(Value::Float).map_err(|_| "a number"),
        Value::Array(_) => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            Ok(Value::Array(items.map(Value::from).collect()))
        }
        _ => Ok(Value::from(text)),
    }
}

/// Creates the problem for an unknown key or section. Its text lists the known keys or sections.
pub(crate) fn unknown_key(origin: &Origin, section: &str, key: &str, defaults: &Table) -> Problem {
    let names = |table: &Table| table.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
    match defaults.get(section).and_then(Value::as_table) {
        Some(known) => {
            let text = format!("unknown key {section}.{key}; section {section} has: {}", names(known));
            Problem::at(origin, text).with_undetermined(Undetermined::Section(section.to_owned()))
        }
        None => {
            let text = format!("unknown section {section}; the sections are: {}", names(defaults));
            Problem::at(origin, text).with_undetermined(Undetermined::Everything)
        }
    }
}
