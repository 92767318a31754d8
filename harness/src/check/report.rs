//! What a check found.

use std::collections::{BTreeMap, HashSet};
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

impl Rule {
    /// All, with what they say.
    pub const ALL: [(Self, &'static str); 14] = [
        (
            Self::C1,
            "what was acknowledged is in every log, where and as it was acknowledged",
        ),
        (Self::C2, "nothing is in a log that nobody sent"),
        (
            Self::C3,
            "nothing is there twice, and nothing that was refused is there",
        ),
        (Self::C4, "each log is numbered from 1 to its end without holes"),
        (Self::C5, "one place holds one event, whoever looks, whenever"),
        (Self::C6, "a device is handed no place twice"),
        (Self::C7, "a device is handed places in order, without holes"),
        (Self::C8, "in the end each device was handed everything it may read"),
        (
            Self::C9,
            "what one run sent to one conversation is in the order in which it was sent",
        ),
        (
            Self::C10,
            "what was sent after something had been acknowledged comes after it",
        ),
        (Self::C11, "all acknowledgements of one message are the same"),
        (
            Self::C12,
            "senders were members when they sent; nobody is handed what they may not read",
        ),
        (
            Self::C13,
            "a session that another one of its device took over from is acknowledged nothing more",
        ),
        (Self::C15, "times never go back within a log"),
    ];

    /// Whether it says nothing without the logs as they are in the end.
    const fn needs_logs(self) -> bool {
        matches!(
            self,
            Self::C1 | Self::C2 | Self::C3 | Self::C4 | Self::C8 | Self::C12 | Self::C15
        )
    }
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
    /// Messages that were sent.
    pub sends: usize,
    /// Those of them that were acknowledged.
    pub acked: usize,
    /// Those of them that were refused.
    pub refused: usize,
    /// Runs that were followed to their end, and may have lacked something there.
    pub endings: usize,
    /// Runs of users of whom it is known what they may read.
    pub(super) readers: usize,
    sources: Vec<String>,
    counts: BTreeMap<Rule, u64>,
    violations: Vec<Violation>,
}

impl Report {
    pub(super) fn new(facts: &Facts<'_>) -> Self {
        Self {
            faults: facts.faults,
            acks: facts.acks.len(),
            deliveries: facts.runs.values().map(|run| run.handed.len()).sum(),
            sends: facts.sends.len(),
            acked: facts.acks.iter().map(|ack| ack.message).collect::<HashSet<_>>().len(),
            refused: facts.refused.len(),
            events: facts.whole().map_or(0, |logs| logs.values().map(BTreeMap::len).sum()),
            sources: facts.logs.keys().map(|source| (*source).to_owned()).collect(),
            ..Self::default()
        }
    }

    /// Who told the logs.
    #[must_use]
    pub fn sources(&self) -> &[String] {
        &self.sources
    }

    /// Whether everything was there that this rule looks at. If not, that it was not broken means
    /// nothing.
    #[must_use]
    pub fn could_check(&self, rule: Rule) -> bool {
        let has_any = match rule {
            Rule::C1 | Rule::C9 | Rule::C10 | Rule::C11 | Rule::C13 => self.acks > 0,
            Rule::C6 | Rule::C7 => self.deliveries > 0,
            Rule::C8 => self.endings > 0,
            Rule::C12 => self.readers > 0,
            Rule::C2 | Rule::C3 | Rule::C4 | Rule::C5 | Rule::C15 => self.events + self.deliveries > 0,
        };
        has_any && (!rule.needs_logs() || !self.sources.is_empty())
    }

    /// Rules for which there was nothing to look at.
    #[must_use]
    pub fn unchecked(&self) -> Vec<Rule> {
        let rules = Rule::ALL.iter().map(|(rule, _)| *rule);
        rules.filter(|rule| !self.could_check(*rule)).collect()
    }

    /// The share (0 to 1) of messages that were acknowledged. Who refuses everything breaks no
    /// rule.
    #[must_use]
    pub fn acked_share(&self) -> f64 {
        self.acked as f64 / self.sends.max(1) as f64
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
