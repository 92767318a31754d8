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
    /// What is not known because of it: nothing that was written, or not what was meant.
    pub(crate) unknown: Unknown,
}

/// A part of the configuration of which it is not known what was meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unknown {
    Nothing,
    /// A key, `section.key`.
    Key(String),
    /// Every key of a section, because a key of it may be misspelt.
    Section(String),
    /// Every key.
    Everything,
}

impl Problem {
    pub(crate) fn at(origin: &Origin, text: impl Into<String>) -> Self {
        Self {
            origin: Some(origin.clone()),
            ..Self::anywhere(text)
        }
    }

    /// Of the whole configuration.
    pub(crate) fn anywhere(text: impl Into<String>) -> Self {
        Self {
            origin: None,
            text: text.into(),
            unknown: Unknown::Nothing,
        }
    }

    /// Because of it, this is not known.
    pub(crate) fn leaves(self, unknown: Unknown) -> Self {
        Self { unknown, ..self }
    }
}

impl Unknown {
    pub(crate) fn key(section: &str, key: &str) -> Self {
        Self::Key(format!("{section}.{key}"))
    }

    fn covers(&self, wanted: &str) -> bool {
        match self {
            Self::Nothing => false,
            Self::Key(key) => key == wanted,
            Self::Section(section) => wanted.split('.').next() == Some(section),
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

/// As they are told: of the whole first, then of the file by line, then of the environment, then of flags.
pub(crate) fn sorted(mut problems: Vec<Problem>) -> Vec<Problem> {
    problems.sort_by(|one, other| one.origin.cmp(&other.origin));
    problems
}

/// Where each value that is not a default came from, by `section.key`; and which values are not what was meant.
#[derive(Debug, Clone, Default)]
pub(crate) struct Origins {
    written: BTreeMap<String, Origin>,
    unknown: Vec<Unknown>,
}

impl Origins {
    pub(crate) fn insert(&mut self, key: String, origin: Origin) {
        self.written.insert(key, origin);
    }

    /// Notes what is not known because of these problems.
    pub(crate) fn doubt(&mut self, problems: &[Problem]) {
        self.unknown
            .extend(problems.iter().map(|problem| problem.unknown.clone()));
    }

    /// Whether the values of all these keys are what was meant: only then can they be judged together.
    pub(crate) fn are_known(&self, keys: &[&str]) -> bool {
        let is_known = |key: &&str| !self.unknown.iter().any(|unknown| unknown.covers(key));
        keys.iter().all(is_known)
    }

    /// A problem with the value of `key`, wherever it was written.
    pub(crate) fn problem(&self, key: &str, text: impl fmt::Display) -> Problem {
        Problem {
            origin: self.written.get(key).cloned(),
            ..Problem::anywhere(format!("{key}: {text}"))
        }
    }
}
