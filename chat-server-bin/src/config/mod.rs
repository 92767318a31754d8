//! The configuration: flags over environment over file over defaults.
//!
//! Every value is judged by itself before anything is merged, and what is left as a whole, so that all problems are reported in
//! one go, each with the place where it was written.

mod check;
mod leaves;
mod problem;
mod settings;
mod units;
mod url;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use toml::Table;

pub(crate) use check::Checked;
pub(crate) use leaves::Leaf;
pub(crate) use problem::{Origins, Problem, Unknown};
pub(crate) use settings::{LimitsSection, LogFormat, Sessions, Settings};
pub(crate) use url::{Listen, Scheme, StoreUrl};

/// Where a file is looked for when none is named.
const PLACES: [&str; 2] = ["./chat-server.toml", "/etc/chat-server/chat-server.toml"];

/// The documented example: what `config default` prints.
pub(crate) const EXAMPLE: &str = include_str!("../../chat-server.example.toml");

/// Everything that can say something about the configuration.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    /// The file somebody named.
    pub(crate) file: Option<PathBuf>,
    /// The process's environment.
    pub(crate) environment: Vec<(String, String)>,
    /// What flags said.
    pub(crate) flags: Vec<Leaf>,
}

/// The configuration in force, and where it came from.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) settings: Settings,
    pub(crate) origins: Origins,
    /// The file that was read.
    pub(crate) file: Option<PathBuf>,
    /// What could not be read, and is not in the settings therefore.
    pub(crate) problems: Vec<Problem>,
}

impl Loaded {
    /// The settings, if all of them could be read.
    ///
    /// # Errors
    /// What could not.
    pub(crate) fn whole(self) -> Result<Settings, Vec<Problem>> {
        if self.problems.is_empty() {
            Ok(self.settings)
        } else {
            Err(problem::sorted(self.problems))
        }
    }
}

/// Reads and merges everything that can be read; what remains is judged all the same.
pub(crate) fn load(sources: Sources) -> Loaded {
    let defaults = default_table();
    let (file, mut leaves, mut problems) = read_file(sources.file);
    let (from_environment, wrong) = leaves::from_environment(sources.environment, &defaults);
    problems.extend(wrong);
    leaves.extend(from_environment);
    leaves.extend(sources.flags);

    let mut merged = defaults.clone();
    let mut origins = Origins::default();
    for leaf in leaves {
        match judge(&leaf, &defaults) {
            Ok(()) => {
                origins.insert(format!("{}.{}", leaf.section, leaf.key), leaf.origin);
                put(&mut merged, &leaf.section, leaf.key, leaf.value);
            }
            Err(problem) => problems.push(problem),
        }
    }
    let settings = merged.try_into().unwrap_or_else(|error: toml::de::Error| {
        problems.push(Problem::anywhere(error.message()).leaves(Unknown::Everything));
        Settings::default()
    });
    origins.doubt(&problems);
    Loaded {
        settings,
        origins,
        file,
        problems,
    }
}

fn default_table() -> Table {
    Table::try_from(Settings::default()).expect("the defaults are plain values")
}

/// Whether this value, alone among defaults, makes a configuration.
fn judge(leaf: &Leaf, defaults: &Table) -> Result<(), Problem> {
    let (section, key) = (&leaf.section, &leaf.key);
    let known = defaults.get(section).and_then(|section| section.get(key));
    if known.is_none() {
        return Err(leaves::unknown_key(&leaf.origin, section, key, defaults));
    }
    let mut candidate = defaults.clone();
    put(&mut candidate, section, key.clone(), leaf.value.clone());
    let judged: Result<Settings, _> = candidate.try_into();
    judged.map(drop).map_err(|error| {
        let what = error.message().trim_end();
        Problem::at(&leaf.origin, format!("{section}.{key}: {what}")).leaves(Unknown::key(section, key))
    })
}

fn put(table: &mut Table, section: &str, key: String, value: toml::Value) {
    if let Some(section) = table.get_mut(section).and_then(toml::Value::as_table_mut) {
        section.insert(key, value);
    }
}

fn read_file(named: Option<PathBuf>) -> (Option<PathBuf>, Vec<Leaf>, Vec<Problem>) {
    let found = named.or_else(|| PLACES.iter().map(PathBuf::from).find(|path| path.exists()));
    let Some(path) = found else {
        return (None, Vec::new(), Vec::new());
    };
    let (leaves, problems) = match std::fs::read_to_string(&path) {
        Ok(text) => leaves::from_file(&path, &text),
        Err(error) => (Vec::new(), vec![unreadable(&path, &error)]),
    };
    (Some(path), leaves, problems)
}

fn unreadable(path: &Path, error: &std::io::Error) -> Problem {
    Problem::anywhere(format!(
        "cannot read the configuration file {}: {error}",
        path.display()
    ))
    .leaves(Unknown::Everything)
}

/// The configuration as TOML, without secrets.
pub(crate) fn show(settings: &Settings) -> String {
    let mut shown = settings.clone();
    shown.store.url = url::masked(&shown.store.url);
    shown.bus.url = url::masked(&shown.bus.url);
    toml::to_string(&shown).expect("settings are plain values")
}
