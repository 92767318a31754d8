//! Problems of a configuration, and the origins of its values.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// Place where a value was configured.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Origin {
    /// A file, and the number of the line in it.
    File(PathBuf, usize),
    /// The environment variable of this name.
    Environment(String),
    /// This flag on the command line.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::Flag(flag) => write!(f, "{flag}"),
        }
    }
}

/// A problem with a configuration. Its text never contains a secret value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// Origin of the wrong value or key; `None` if it is unknown, or if the problem is that of a
    /// value that is not configured.
    pub(crate) origin: Option<Origin>,
    /// Description of the problem, often with its remedy.
    pub(crate) text: String,
    /// Part of the configuration whose intended value cannot be determined because of this problem.
    pub(crate) undetermined: Undetermined,
}

/// A part of the configuration whose intended value cannot be determined. Checks that depend on it
/// are skipped, so that one mistake is not reported twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Undetermined {
    Nothing,
    /// One key, as `section.key`.
    Key(String),
    /// Every key of a section, because one of its keys may be misspelt.
    Section(String),
    /// Every key of every section.
    Everything,
}

impl Problem {
    pub(crate) fn at(origin: &Origin, text: impl Into<String>) -> Self {
        Self {
            origin: Some(origin.clone()),
            ..Self::without_origin(text)
        }
    }

    /// Creates a problem without an origin.
    pub(crate) fn without_origin(text: impl Into<String>) -> Self {
        Self {
            origin: None,
            text: text.into(),
            undetermined: Undetermined::Nothing,
        }
    }

    /// Sets the part of the configuration that is undetermined because of this problem.
    pub(crate) fn with_undetermined(self, undetermined: Undetermined) -> Self {
        Self { undetermined, ..self }
    }
}

impl Undetermined {
    pub(crate) fn key(section: &str, key: &str) -> Self {
        Self::Key(format!("{section}.{key}"))
    }

    /// Returns `true` if the value of `key`, a `section.key`, is undetermined.
    fn covers(&self, key: &str) -> bool {
        match self {
            Self::Nothing => false,
            Self::Key(undetermined) => undetermined == key,
            Self::Section(section) => key.split('.').next() == Some(section),
            Self::Everything => true,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Some(origin) => write!(f, "{origin}: {}", self.text),
            None => f.write_str(&self.text),
        }
    }
}

/// Sorts problems for display: first those without an origin, then those of the file by line, of
/// the environment, and of flags.
pub(crate) fn sorted(mut problems: Vec<Problem>) -> Vec<Problem> {
    problems.sort_by(|a, b| a.origin.cmp(&b.origin));
    problems
}

/// Origins of all values that were configured, by `section.key`, and the undetermined parts of the
/// configuration.
#[derive(Debug, Clone, Default)]
pub(crate) struct Origins {
    configured: BTreeMap<String, Origin>,
    undetermined: Vec<Undetermined>,
}

impl Origins {
    pub(crate) fn insert(&mut self, key: String, origin: Origin) {
        self.configured.insert(key, origin);
    }

    /// Records the parts of the configuration that are undetermined because of these problems.
    pub(crate) fn mark_undetermined(&mut self, problems: &[Problem]) {
        self.undetermined
            .extend(problems.iter().map(|problem| problem.undetermined.clone()));
    }

    /// Returns `true` if the intended values of all these keys are known, so that checks may depend
    /// on them.
    pub(crate) fn intended_values_are_known(&self, keys: &[&str]) -> bool {
        let is_determined = |key: &&str| !self.undetermined.iter().any(|part| part.covers(key));
        keys.iter().all(is_determined)
    }

    /// Creates a problem with the value of `key`, a `section.key`, at its origin.
    pub(crate) fn problem(&self, key: &str, text: impl fmt::Display) -> Problem {
        Problem {
            origin: self.configured.get(key).cloned(),
            ..Problem::without_origin(format!("{key}: {text}"))
        }
    }
}
