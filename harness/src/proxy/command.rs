//! [`ProxyCommand`]: a command to a [`Proxy`], parsed from a line of text.

use std::fmt;
use std::io;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use super::wire::MAX_DELAY;
use super::{Flow, MAX_LOSS, Proxy, Wire};

/// Help text: all commands and their arguments.
pub const HELP: &str = "\
delay TIME [up|down]    delays all bytes (50ms, 1.5s)
jitter TIME [up|down]   adds a random delay of at most TIME to the delay
rate BYTES [up|down]    limits the bytes a second (64k, 2m)
loss SHARE [up|down]    loses this share of packets, which TCP retransmits (5%; at most 90%)
flip SHARE [up|down]    flips one bit in this share of packets
slice BYTES [up|down]   limits the bytes that arrive at once
cut [BYTES] [up|down]   ends each connection after BYTES more (default 0: with the next byte)
freeze [up|down]        holds all bytes back until heal
drop [up|down]          discards all bytes; heal resets connections that lost some
reset                   resets all connections
forget                  stops forwarding the open connections, without a reset
refuse                  refuses new connections
accept                  accepts new connections again
heal                    ends all impairments, accepts new connections; forgotten ones stay forgotten
status                  prints impairments, numbers of connections, and whether new ones are refused
up: from the connecting side; down: to it; neither word: both directions";

/// Command to a proxy.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum ProxyCommand {
    /// Changes the wires of one or both directions.
    Change(Directions, Change),
    /// Resets all connections.
    Reset,
    /// Forwards no further bytes of the open connections, without a reset.
    Forget,
    /// Refuses new connections.
    Refuse,
    /// Accepts new connections again.
    Accept,
    /// Ends all impairments, and accepts new connections again.
    Heal,
    /// Reports the impairments, numbers of connections, and whether new ones are refused.
    Status,
}

/// Directions that a [`Change`] applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Directions {
    /// From the connecting side to the target.
    Up,
    /// From the target to the connecting side.
    Down,
    /// Both directions.
    Both,
}

/// Change of one field of a [`Wire`].
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs)] // `HELP` and the fields of `Wire` explain them
#[non_exhaustive]
pub enum Change {
    Delay(Duration),
    Jitter(Duration),
    Rate(NonZeroU32),
    Loss(f64),
    Flip(f64),
    Slice(NonZeroU32),
    Cut(u64),
    Freeze,
    Drop,
}

impl Change {
    fn apply(self, wire: &mut Wire) {
        match self {
            Self::Delay(time) => wire.latency = time,
            Self::Jitter(time) => wire.jitter = time,
            Self::Rate(bytes) => wire.bytes_per_second = Some(bytes),
            Self::Loss(share) => wire.loss = share,
            Self::Flip(share) => wire.flips = share,
            Self::Slice(bytes) => wire.slice = Some(bytes),
            Self::Cut(bytes) => wire.cut_after = Some(bytes),
            Self::Freeze => wire.flow = Flow::Frozen,
            Self::Drop => wire.flow = Flow::Dropped,
        }
    }
}

impl ProxyCommand {
    /// Executes the command on `proxy`. Returns the text to print, which is empty except for
    /// [`Status`](Self::Status).
    ///
    /// # Errors
    /// As for [`Proxy::refuse`] and [`Proxy::accept`].
    ///
    /// # Panics
    /// If the value of a [`Change`] is out of the range of its field in [`Wire`]. The value of a
    /// parsed command never is.
    pub fn execute(self, proxy: &Proxy) -> io::Result<String> {
        match self {
            Self::Change(directions, change) => {
                let (mut up, mut down) = proxy.wires();
                if directions != Directions::Down {
                    change.apply(&mut up);
                }
                if directions != Directions::Up {
                    change.apply(&mut down);
                }
                proxy.set(up, down);
            }
            Self::Reset => proxy.reset(),
            Self::Forget => proxy.forget(),
            Self::Refuse => proxy.refuse()?,
            Self::Accept => proxy.accept()?,
            Self::Heal => {
                proxy.clear();
                proxy.accept()?;
            }
            Self::Status => {
                let (up, down) = proxy.wires();
                let (open, accepted) = (proxy.connections(), proxy.accepted());
                let mut text = format!("up: {up}; down: {down}; {open} open connections, {accepted} accepted so far");
                match proxy.forgotten() {
                    0 => {}
                    forgotten => text += &format!(", {forgotten} forgotten"),
                }
                if proxy.refuses() {
                    text += "; new connections are refused";
                }
                return Ok(text);
            }
        }
        Ok(String::new())
    }
}

/// Error of parsing a [`ProxyCommand`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ParseProxyCommandError(String);

fn parse_error(text: impl Into<String>) -> ParseProxyCommandError {
    ParseProxyCommandError(text.into())
}

impl FromStr for ProxyCommand {
    type Err = ParseProxyCommandError;

    fn from_str(line: &str) -> Result<Self, ParseProxyCommandError> {
        let mut words: Vec<&str> = line.split_whitespace().collect();
        let directions = match words.last() {
            Some(&"up") => Directions::Up,
            Some(&"down") => Directions::Down,
            _ => Directions::Both,
        };
        if directions != Directions::Both {
            words.pop();
        }
        let change = match words[..] {
            ["delay", time] => Change::Delay(parse_time(time)?),
            ["jitter", time] => Change::Jitter(parse_time(time)?),
            ["rate", bytes] => Change::Rate(parse_nonzero_bytes(bytes)?),
            ["loss", share] => match parse_share(share)? {
                loss if loss <= MAX_LOSS => Change::Loss(loss),
                _ => {
                    let most = MAX_LOSS * 100.0;
                    return Err(parse_error(format!(
                        "a loss of {share} is too high: the maximum is {most}%; drop discards all bytes"
                    )));
                }
            },
            ["flip", share] => Change::Flip(parse_share(share)?),
            ["slice", bytes] => Change::Slice(parse_nonzero_bytes(bytes)?),
            ["cut"] => Change::Cut(0),
            ["cut", bytes] => Change::Cut(parse_bytes(bytes)?),
            ["freeze"] => Change::Freeze,
            ["drop"] => Change::Drop,
            [
                word @ ("delay" | "jitter" | "rate" | "loss" | "flip" | "slice" | "cut" | "freeze" | "drop"),
                ..,
            ] => {
                let line = HELP.lines().find(|line| line.starts_with(word)).unwrap_or_default();
                let usage = line.split("  ").next().unwrap_or_default();
                return Err(parse_error(format!("usage: {usage}")));
            }
            _ => {
                let command = match words[..] {
                    ["reset"] => Self::Reset,
                    ["forget"] => Self::Forget,
                    ["refuse"] => Self::Refuse,
                    ["accept"] => Self::Accept,
                    ["heal"] => Self::Heal,
                    ["status"] => Self::Status,
                    [] => return Err(parse_error("the command is empty")),
                    [word, ..] => {
                        return Err(parse_error(format!(
                            "unknown command \"{word}\"; help lists the commands"
                        )));
                    }
                };
                if directions != Directions::Both {
                    return Err(parse_error(format!("{} has no direction; omit up or down", words[0])));
                }
                return Ok(command);
            }
        };
        Ok(Self::Change(directions, change))
    }
}

/// Parses a time with the unit `ms` or `s`, of at most [`MAX_DELAY`].
fn parse_time(text: &str) -> Result<Duration, ParseProxyCommandError> {
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 0.001),
        None => (text.strip_suffix('s').unwrap_or(""), 1.0),
    };
    let time = number.parse::<f64>().ok().map(|number| number * unit);
    let time = time.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    time.filter(|time| *time <= MAX_DELAY)
        .ok_or_else(|| parse_error(format!("{text} is not a time like 50ms or 1.5s, up to 3600s")))
}

/// Parses a number of bytes, or of KiB (`k`) or MiB (`m`).
fn parse_bytes(text: &str) -> Result<u64, ParseProxyCommandError> {
    let (number, unit) = match text.as_bytes().last() {
        Some(b'k') => (&text[..text.len() - 1], 1 << 10),
        Some(b'm') => (&text[..text.len() - 1], 1 << 20),
        _ => (text, 1),
    };
    let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    bytes.ok_or_else(|| parse_error(format!("{text} is not a number of bytes like 100, 64k or 2m")))
}

fn parse_nonzero_bytes(text: &str) -> Result<NonZeroU32, ParseProxyCommandError> {
    let bytes = u32::try_from(parse_bytes(text)?).ok().and_then(NonZeroU32::new);
    bytes.ok_or_else(|| parse_error(format!("{text} is not a number of bytes from 1 to 4294967295")))
}

/// Parses a share from 0 to 1, or a percentage up to `100%`.
fn parse_share(text: &str) -> Result<f64, ParseProxyCommandError> {
    let share = match text.strip_suffix('%') {
        Some(percent) => percent.parse::<f64>().map(|percent| percent / 100.0),
        None => text.parse(),
    };
    let share = share.ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| parse_error(format!("{text} is not a share from 0 to 1, like 0.05 or 5%")))
}

impl fmt::Display for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        match self.flow {
            Flow::Passes => {}
            Flow::Frozen => parts.push("frozen".to_owned()),
            Flow::Dropped => parts.push("dropped".to_owned()),
        }
        if !self.latency.is_zero() {
            parts.push(format!("delay {:?}", self.latency));
        }
        if !self.jitter.is_zero() {
            parts.push(format!("jitter {:?}", self.jitter));
        }
        if let Some(bytes) = self.bytes_per_second {
            parts.push(format!("rate {bytes}"));
        }
        if self.loss > 0.0 {
            parts.push(format!("loss {}%", self.loss * 100.0));
        }
        if self.flips > 0.0 {
            parts.push(format!("flip {}%", self.flips * 100.0));
        }
        if let Some(bytes) = self.slice {
            parts.push(format!("slice {bytes}"));
        }
        if let Some(bytes) = self.cut_after {
            parts.push(format!("cut {bytes}"));
        }
        if parts.is_empty() {
            parts.push("clear".to_owned());
        }
        f.write_str(&parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_parsed() {
        let both = |change| Ok(ProxyCommand::Change(Directions::Both, change));
        let number = |number| NonZeroU32::new(number).unwrap();
        for (line, expected) in [
            ("delay 50ms", both(Change::Delay(Duration::from_millis(50)))),
            (" jitter  1.5s ", both(Change::Jitter(Duration::from_millis(1500)))),
            ("rate 64k", both(Change::Rate(number(65536)))),
            ("loss 5%", both(Change::Loss(0.05))),
            ("loss 90%", both(Change::Loss(0.9))),
            ("flip 0.5", both(Change::Flip(0.5))),
            (
                "slice 3 down",
                Ok(ProxyCommand::Change(Directions::Down, Change::Slice(number(3)))),
            ),
            ("cut", both(Change::Cut(0))),
            (
                "cut 2m up",
                Ok(ProxyCommand::Change(Directions::Up, Change::Cut(2 << 20))),
            ),
            ("freeze up", Ok(ProxyCommand::Change(Directions::Up, Change::Freeze))),
            ("drop", both(Change::Drop)),
            ("heal", Ok(ProxyCommand::Heal)),
        ] {
            assert_eq!(line.parse::<ProxyCommand>(), expected, "{line}");
        }
    }

    #[test]
    fn parse_error_explains_the_command() {
        for (line, expected) in [
            ("", "the command is empty"),
            ("delay", "usage: delay TIME [up|down]"),
            ("delay up", "usage: delay TIME [up|down]"),
            ("cut 1 2", "usage: cut [BYTES] [up|down]"),
            ("delay fast", "fast is not a time like 50ms or 1.5s, up to 3600s"),
            ("delay -1s", "-1s is not a time like 50ms or 1.5s, up to 3600s"),
            ("loss 120%", "120% is not a share from 0 to 1, like 0.05 or 5%"),
            (
                "loss 0.91",
                "a loss of 0.91 is too high: the maximum is 90%; drop discards all bytes",
            ),
            ("slice 0", "0 is not a number of bytes from 1 to 4294967295"),
            ("rate 5x", "5x is not a number of bytes like 100, 64k or 2m"),
            ("heal up", "heal has no direction; omit up or down"),
            ("melt", "unknown command \"melt\"; help lists the commands"),
        ] {
            assert_eq!(
                line.parse::<ProxyCommand>().unwrap_err().to_string(),
                expected,
                "{line}"
            );
        }
    }

    #[test]
    fn wire_is_displayed_as_its_impairments() {
        assert_eq!(Wire::clear().to_string(), "clear");
        let mut wire = Wire::slow(Duration::from_millis(50), Duration::from_millis(5));
        Change::Freeze.apply(&mut wire);
        Change::Loss(0.25).apply(&mut wire);
        assert_eq!(wire.to_string(), "frozen, delay 50ms, jitter 5ms, loss 25%");
    }
}
