//! What is wrong with a configuration, and where it was written.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Origin {
    /// In a file, on this line.
    File(PathBuf, usize),
    /// In this environment variable.
    Environment(String),
    /// On the command line.
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

/// One thing that is wrong. Never holds a secret value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// Where; absent for defaults and what is missing.
    pub(crate) origin: Option<Origin>,
    /// What, and what to do.
    pub(crate) text: String,
}

impl Problem {
    pub(crate) fn at(origin: &Origin, text: impl Into<String>) -> Self {
        Self {
            origin: Some(origin.clone()),
            text: text.into(),
        }
    }

    /// Of the whole configuration.
    pub(crate) fn anywhere(text: impl Into<String>) -> Self {
        Self {
            origin: None,
            text: text.into(),
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

/// Where each value that is not a default came from, by `section.key`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Origins(BTreeMap<String, Origin>);

impl Origins {
    pub(crate) fn insert(&mut self, key: String, origin: Origin) {
        self.0.insert(key, origin);
    }

    /// A problem with the value of `key`, wherever it was written.
    pub(crate) fn problem(&self, key: &str, text: impl fmt::Display) -> Problem {
        Problem {
            origin: self.0.get(key).cloned(),
            text: format!("{key}: {text}"),
        }
    }
}
