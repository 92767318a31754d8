//! [`Report`]: the result of a check.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use super::facts::Facts;

/// A rule of the [check](super::check).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)] // the documentation of the module describes the rules
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
    /// All rules, with their content.
    pub const ALL: [(Self, &'static str); 14] = [
        (
            Self::C1,
            "every acknowledged message is in the log of its conversation, at the acknowledged position",
        ),
        (Self::C2, "every message in a log was sent"),
        (
            Self::C3,
            "no message is in a log twice, and no refused message is in a log",
        ),
        (Self::C4, "each log is numbered from 1 to its end without holes"),
        (Self::C5, "all sources and clients see the same event at a position"),
        (
            Self::C6,
            "no position is delivered twice in one run, unless a reset or a rewind was reported before",
        ),
        (Self::C7, "positions are delivered to a device in order, without holes"),
        (
            Self::C8,
            "at the end, every position that a device may read has been delivered to it",
        ),
        (
            Self::C9,
            "messages of one run to one conversation are in the order of sending",
        ),
        (
            Self::C10,
            "a message sent after an acknowledgement of another one in its conversation follows that one",
        ),
        (Self::C11, "all acknowledgements of one message are the same"),
        (
            Self::C12,
            "senders were members at the positions of their messages; users receive only events that they may read",
        ),
        (
            Self::C13,
            "messages that a session sends after it was replaced are not acknowledged",
        ),
        (Self::C15, "times never go back within a log"),
    ];

    /// Returns `true` if the rule can be checked only with the final logs.
    const fn needs_logs(self) -> bool {
        matches!(
            self,
            Self::C1 | Self::C2 | Self::C3 | Self::C4 | Self::C8 | Self::C12 | Self::C15
        )
    }
}

/// Violation of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The rule that is violated.
    pub rule: Rule,
    /// Description of the violation.
    pub text: String,
}

/// Maximum number of violations of one rule that are kept. Further violations are only counted.
const MAX_KEPT_VIOLATIONS: usize = 20;

/// Violations that a check found, and the numbers of records that it checked.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Faults that were injected.
    pub faults: u64,
    /// Acknowledgements that were checked.
    pub acks: usize,
    /// Deliveries that were checked, and reports of clients that positions will not be delivered or
    /// that earlier deliveries are void (`Observation::Skipped`, `Reset`, `Rewound`).
    pub deliveries: usize,
    /// Positions in the logs of the source that has the most conversations.
    pub events: usize,
    /// Messages that were sent.
    pub sends: usize,
    /// Messages that were acknowledged.
    pub acked: usize,
    /// Messages that were refused.
    pub refused: usize,
    /// Runs that ended as planned, and for which the check knows which events they had to receive.
    pub finished_runs: usize,
    /// Runs of users whose memberships are known.
    pub(super) runs_with_memberships: usize,
    sources: Vec<String>,
    counts: BTreeMap<Rule, u64>,
    violations: Vec<Violation>,
}

impl Report {
    pub(super) fn new(facts: &Facts<'_>) -> Self {
        Self {
            faults: facts.faults,
            acks: facts.acks.len(),
            deliveries: facts.runs.values().map(|run| run.deliveries.len()).sum(),
            sends: facts.sends.len(),
            acked: facts.acks.iter().map(|ack| ack.message).collect::<HashSet<_>>().len(),
            refused: facts.refused.len(),
            events: facts
                .most_complete_logs()
                .map_or(0, |logs| logs.values().map(BTreeMap::len).sum()),
            sources: facts.logs.keys().map(|source| (*source).to_owned()).collect(),
            ..Self::default()
        }
    }

    /// Returns the names of the sources of the logs.
    #[must_use]
    pub fn sources(&self) -> &[String] {
        &self.sources
    }

    /// Returns whether the history has records that the rule applies to, and the final logs if the
    /// rule needs them. Without them, the absence of violations proves nothing.
    #[must_use]
    pub fn could_check(&self, rule: Rule) -> bool {
        let has_any = match rule {
            Rule::C1 | Rule::C9 | Rule::C10 | Rule::C11 | Rule::C13 => self.acks > 0,
            Rule::C6 | Rule::C7 => self.deliveries > 0,
            Rule::C8 => self.finished_runs > 0,
            Rule::C12 => self.runs_with_memberships > 0,
            Rule::C2 | Rule::C3 | Rule::C4 | Rule::C5 | Rule::C15 => self.events + self.deliveries > 0,
        };
        has_any && (!rule.needs_logs() || !self.sources.is_empty())
    }

    /// Returns the rules for which [`could_check`](Self::could_check) returns `false`.
    #[must_use]
    pub fn unchecked(&self) -> Vec<Rule> {
        let rules = Rule::ALL.iter().map(|(rule, _)| *rule);
        rules.filter(|rule| !self.could_check(*rule)).collect()
    }

    /// Returns the share (0 to 1) of messages that were acknowledged; 0 if no message was sent.
    /// With a small share, a report without violations proves little, because a cluster that
    /// refuses everything violates no rule.
    #[must_use]
    pub fn acked_share(&self) -> f64 {
        self.acked as f64 / self.sends.max(1) as f64
    }

    pub(super) fn add_violation(&mut self, rule: Rule, text: impl fmt::Display) {
        let count = self.counts.entry(rule).or_default();
        *count += 1;
        if *count <= MAX_KEPT_VIOLATIONS as u64 {
            self.violations.push(Violation {
                rule,
                text: text.to_string(),
            });
        }
    }

    /// Returns the number of violations of a rule.
    #[must_use]
    pub fn count(&self, rule: Rule) -> u64 {
        self.counts.get(&rule).copied().unwrap_or(0)
    }

    fn sum(&self, rules: &[Rule]) -> u64 {
        rules.iter().map(|rule| self.count(*rule)).sum()
    }

    /// Returns the number of violations by loss: acknowledged messages that a log lacks or has in
    /// another form, or events that were never delivered.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.sum(&[Rule::C1, Rule::C8])
    }

    /// Returns the number of violations by duplication: events that were stored or delivered more
    /// than once, messages that were stored although they were refused, or acknowledgements of one
    /// message that differ.
    #[must_use]
    pub fn duplicated(&self) -> u64 {
        self.sum(&[Rule::C3, Rule::C6, Rule::C11])
    }

    /// Returns the number of violations of the order: events that are out of order or differ
    /// between observers, times that go back within a log, positions that are missing in a log or
    /// in deliveries, or clients that reported a rewind, or a reset without a new store epoch.
    #[must_use]
    pub fn reordered(&self) -> u64 {
        self.sum(&[Rule::C4, Rule::C5, Rule::C7, Rule::C9, Rule::C10, Rule::C15])
    }

    /// Returns the number of violations of rights: messages that no client sent in this form,
    /// messages of users or sessions that were not allowed to send them, or events delivered to
    /// users who may not read them.
    #[must_use]
    pub fn misrouted(&self) -> u64 {
        self.sum(&[Rule::C2, Rule::C12, Rule::C13])
    }

    /// Returns whether no rule was violated.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.counts.is_empty()
    }

    /// Returns the first violations, at most 20 of each rule.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }
}
