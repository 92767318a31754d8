//! The configuration. Flags override the environment, the environment overrides the file, and the
//! file overrides the defaults.
//!
//! [`load`] validates each value alone and merges the valid values. [`CheckedConfig::new`] then
//! checks the merged configuration as a whole. The problems that both find are reported together; a
//! problem of a configured value is reported with the origin of the value.

mod check;
mod layers;
mod mask;
mod problem;
mod settings;
mod units;
mod url;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use toml::Table;

use crate::files;

pub(crate) use check::CheckedConfig;
pub(crate) use layers::Setting;
pub(crate) use problem::{Origins, Problem, Undetermined};
pub(crate) use settings::{LimitsSection, LogFormat, SessionPolicySetting, Settings};
pub(crate) use url::{ListenUrl, Scheme, StoreUrl};

/// Paths of the configuration file if neither `--config` nor `CHAT_CONFIG` is given. The first file
/// that exists is read; if that fails, the configuration has a problem.
const SEARCH_PATHS: [&str; 2] = ["./chat-server.toml", "/etc/chat-server/chat-server.toml"];

/// The documented example file, which `config default` prints.
pub(crate) const EXAMPLE: &str = include_str!("../../chat-server.example.toml");

/// Sources of the configuration.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    /// The file given with `--config` or `CHAT_CONFIG`.
    pub(crate) file: Option<PathBuf>,
    /// Environment variables of the process.
    pub(crate) environment: Vec<(String, String)>,
    /// Settings given as flags.
    pub(crate) flags: Vec<Setting>,
}

/// The merged configuration, with the origin of its values.
#[derive(Debug)]
pub(crate) struct LoadedConfig {
    pub(crate) settings: Settings,
    pub(crate) origins: Origins,
    /// The configuration file, if one was given or found.
    pub(crate) file: Option<PathBuf>,
    /// Problems of the sources, such as invalid values. In place of an invalid value, `settings`
    /// contains the value that it would have overridden.
    pub(crate) problems: Vec<Problem>,
}

impl LoadedConfig {
    /// Returns the settings without checking them as a whole.
    ///
    /// # Errors
    /// All problems of the sources.
    pub(crate) fn into_settings(self) -> Result<Settings, Vec<Problem>> {
        if self.problems.is_empty() {
            Ok(self.settings)
        } else {
            Err(problem::sorted(self.problems))
        }
    }
}

/// Reads and merges the sources. An invalid value becomes a problem; all other values are still
/// merged, so that they can be checked too.
pub(crate) fn load(sources: Sources) -> LoadedConfig {
    let defaults = default_table();
    let (file, mut configured, mut problems) = read_file(sources.file);
    let (from_environment, invalid) = layers::from_environment(sources.environment, &defaults);
    problems.extend(invalid);
    configured.extend(from_environment);
    configured.extend(sources.flags);

    let mut merged = defaults.clone();
    let mut origins = Origins::default();
    for setting in configured {
        match validate_alone(&setting, &defaults) {
            Ok(()) => {
                origins.insert(format!("{}.{}", setting.section, setting.key), setting.origin);
                set(&mut merged, &setting.section, setting.key, setting.value);
            }
            Err(problem) => problems.push(problem),
        }
    }
    let settings = merged.try_into().unwrap_or_else(|error: toml::de::Error| {
        problems.push(Problem::without_origin(error.message()).with_undetermined(Undetermined::Everything));
        Settings::default()
    });
    origins.mark_undetermined(&problems);
    LoadedConfig {
        settings,
        origins,
        file,
        problems,
    }
}

fn default_table() -> Table {
    Table::try_from(Settings::default()).expect("the defaults are plain values")
}

/// Checks that the key of a setting exists, and that its value has the right type and form.
fn validate_alone(setting: &Setting, defaults: &Table) -> Result<(), Problem> {
    let (section, key) = (&setting.section, &setting.key);
    let default = defaults.get(section).and_then(|section| section.get(key));
    if default.is_none() {
        return Err(layers::unknown_key(&setting.origin, section, key, defaults));
    }
    let mut candidate = defaults.clone();
    set(&mut candidate, section, key.clone(), setting.value.clone());
    let parsed: Result<Settings, _> = candidate.try_into();
    parsed.map(drop).map_err(|error| {
        let reason = error.message().trim_end();
        Problem::at(&setting.origin, format!("{section}.{key}: {reason}"))
            .with_undetermined(Undetermined::key(section, key))
    })
}

fn set(table: &mut Table, section: &str, key: String, value: toml::Value) {
    if let Some(section) = table.get_mut(section).and_then(toml::Value::as_table_mut) {
        section.insert(key, value);
    }
}

/// Reads the configuration file: `given`, or the first of [`SEARCH_PATHS`] that exists. Returns its
/// path, or `None` if no file is given or found, with its settings and problems. A file that cannot
/// be read is a problem.
fn read_file(given: Option<PathBuf>) -> (Option<PathBuf>, Vec<Setting>, Vec<Problem>) {
    // A file that cannot be reached counts as existing, so that its error is reported. The working
    // directory is an exception: it may be unreadable for the server's user, for example if root
    // runs `sudo -u chat chat-server` in its own home.
    let exists = |path: &PathBuf| path.try_exists().unwrap_or_else(|_| path.is_absolute());
    let path = given.or_else(|| SEARCH_PATHS.iter().map(PathBuf::from).find(exists));
    let Some(path) = path else {
        return (None, Vec::new(), Vec::new());
    };
    let (settings, problems) = match files::read_text(&path, files::MAX_CONFIG_FILE_BYTES) {
        Ok(text) => layers::from_file(&path, &text),
        Err(error) => (Vec::new(), vec![unreadable(&path, &error)]),
    };
    (Some(path), settings, problems)
}

fn unreadable(path: &Path, error: &std::io::Error) -> Problem {
    Problem::without_origin(format!(
        "cannot read the configuration file {}: {error}",
        path.display()
    ))
    .with_undetermined(Undetermined::Everything)
}

/// Returns the configuration as TOML, with secrets masked.
pub(crate) fn show(settings: &Settings) -> String {
    let mut shown = settings.clone();
    shown.store.url = mask::masked(&shown.store.url);
    shown.bus.url = mask::masked(&shown.bus.url);
    toml::to_string(&shown).expect("settings are plain values")
}
