//! What a check found.

use std::collections::BTreeMap;
use std::fmt;

use super::facts::Facts;

/// A rule of the [check](super::check).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)] // the module has what they say
pub enum Rule {
    C1,
    C2,
    C3,
    C4,
    C5,
    C6,
    C7,
    C8,
    C9,
    C10,
    C11,
    C12,
    C13,
    C15,
}

/// A rule that was broken, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub rule: Rule,
    /// How.
    pub text: String,
}

/// Violations of one rule that are kept; beyond that they are counted only.
const KEPT: usize = 20;

/// What a check found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Faults that were injected.
    pub faults: u64,
    /// Acknowledgements that were checked.
    pub acks: usize,
    /// Deliveries that were checked.
    pub deliveries: usize,
    /// Events in the logs of one source.
    pub events: usize,
    counts: BTreeMap<Rule, u64>,
    violations: Vec<Violation>,
}

impl Report {
    pub(super) fn new(facts: &Facts<'_>) -> Self {
        Self {
            faults: facts.faults,
            acks: facts.acks.len(),
            deliveries: facts.runs.values().map(|run| run.handed.len()).sum(),
            events: facts.whole().map_or(0, |logs| logs.values().map(BTreeMap::len).sum()),
            ..Self::default()
        }
    }

    pub(super) fn broken(&mut self, rule: Rule, text: impl fmt::Display) {
        let count = self.counts.entry(rule).or_default();
        *count += 1;
        if *count <= KEPT as u64 {
            self.violations.push(Violation {
                rule,
                text: text.to_string(),
            });
        }
    }

    /// How often a rule was broken.
    #[must_use]
    pub fn count(&self, rule: Rule) -> u64 {
        self.counts.get(&rule).copied().unwrap_or(0)
    }

    fn sum(&self, rules: &[Rule]) -> u64 {
        rules.iter().map(|rule| self.count(*rule)).sum()
    }

    /// Acknowledged and gone, or never handed out.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.sum(&[Rule::C1, Rule::C8])
    }

    /// There or handed out more than once.
    #[must_use]
    pub fn doubled(&self) -> u64 {
        self.sum(&[Rule::C3, Rule::C6, Rule::C11])
    }

    /// Out of order, or with holes.
    #[must_use]
    pub fn reordered(&self) -> u64 {
        self.sum(&[Rule::C4, Rule::C5, Rule::C7, Rule::C9, Rule::C10, Rule::C15])
    }

    /// From nobody, or to somebody who may not.
    #[must_use]
    pub fn misrouted(&self) -> u64 {
        self.sum(&[Rule::C2, Rule::C12, Rule::C13])
    }

    /// Whether no rule was broken.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.counts.is_empty()
    }

    /// The first of each rule's violations.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }
}
