//! Durations, sizes and rates in configuration files: `"30s"`, `"64KiB"`, `"30/10s burst 60"`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use chat_core::rate;
use serde::{Deserialize, Serialize};

/// Error of a text that is not a valid duration, size or rate. The message says what is valid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct UnitError(String);

/// A duration that is written with a unit, such as `30s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct HumanDuration(pub(crate) Duration);

/// A number of bytes that is written with a unit, such as `64KiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Size(pub(crate) u64);

/// A rate limit that is written as `30/10s burst 60`: 30 events per 10 s on average, and at most 60
/// at once. Without `burst`, the first number also limits the events at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Rate(pub(crate) rate::Rate);

/// Units of durations with their milliseconds, largest first.
const DURATION_UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];
/// Units of sizes with their bytes, largest first.
const SIZE_UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

impl HumanDuration {
    pub(crate) const fn millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    pub(crate) const fn secs(secs: u64) -> Self {
        Self(Duration::from_secs(secs))
    }
}

impl Size {
    pub(crate) const fn kib(kib: u64) -> Self {
        Self(kib << 10)
    }

    /// Returns the number of bytes; `usize::MAX` if it does not fit.
    pub(crate) fn bytes(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl Rate {
    pub(crate) const fn new(count: u32, per: HumanDuration, burst: u32) -> Self {
        Self(rate::Rate::new(count, per.0).with_burst(burst))
    }
}

impl FromStr for HumanDuration {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let invalid = || {
            UnitError(format!(
                "{text:?} is not a duration; write for example \"500ms\", \"30s\", \"5m\" or \"24h\""
            ))
        };
        let millis = parse_with_unit(text, &DURATION_UNITS).ok_or_else(invalid)?;
        Ok(Self(Duration::from_millis(millis)))
    }
}

impl FromStr for Size {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let invalid = || {
            UnitError(format!(
                "{text:?} is not a size; write for example \"512B\", \"64KiB\" or \"1MiB\""
            ))
        };
        parse_with_unit(text, &SIZE_UNITS).map(Self).ok_or_else(invalid)
    }
}

impl FromStr for Rate {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let invalid = || {
            UnitError(format!(
                "{text:?} is not a rate; write for example \"30/10s\" or \"30/10s burst 60\""
            ))
        };
        let (rate, burst) = match text.split_once(" burst ") {
            Some((rate, burst)) => (rate, Some(burst.trim().parse().map_err(|_| invalid())?)),
            None => (text, None),
        };
        let (count, per) = rate.split_once('/').ok_or_else(invalid)?;
        let count = count.trim().parse().map_err(|_| invalid())?;
        let per: HumanDuration = per.trim().parse().map_err(|_| invalid())?;
        if per.0.is_zero() || burst == Some(0) {
            return Err(UnitError(format!(
                "{text:?}: the period and the burst of a rate must be greater than 0"
            )));
        }
        Ok(Self::new(count, per, burst.unwrap_or(count)))
    }
}

/// Parses a whole number followed by one of `units`. Returns the value in the smallest unit, or
/// `None` if the text has another form or the value does not fit.
fn parse_with_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let unit_start = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(unit_start);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim_start())?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

/// Writes `value` in the largest unit that represents it exactly, and zero in `unit_of_zero`.
fn write_with_unit(value: u64, units: &[(&str, u64)], unit_of_zero: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let largest_exact = units
        .iter()
        .find(|(_, factor)| value != 0 && value.is_multiple_of(*factor));
    match largest_exact {
        Some((name, factor)) => write!(f, "{}{name}", value / factor),
        None => write!(f, "{value}{unit_of_zero}"),
    }
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        write_with_unit(millis, &DURATION_UNITS, "s", f)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_with_unit(self.0, &SIZE_UNITS, "B", f)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate = self.0;
        write!(f, "{}/{}", rate.count, HumanDuration(rate.per))?;
        if rate.burst != rate.count {
            write!(f, " burst {}", rate.burst)?;
        }
        Ok(())
    }
}

/// Implements the conversions by which serde reads and writes these types as text.
macro_rules! serialize_as_text {
    ($($kind:ty),*) => {$(
        impl TryFrom<String> for $kind {
            type Error = UnitError;

            fn try_from(text: String) -> Result<Self, UnitError> {
                text.parse()
            }
        }

        impl From<$kind> for String {
            fn from(value: $kind) -> Self {
                value.to_string()
            }
        }
    )*};
}

serialize_as_text!(HumanDuration, Size, Rate);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_round_trip_and_reject_invalid_text() {
        for (text, millis) in [
            ("500ms", 500),
            ("30s", 30_000),
            ("5m", 300_000),
            ("24h", 86_400_000),
            ("0s", 0),
            ("2 s", 2000),
        ] {
            assert_eq!(
                text.parse::<HumanDuration>().unwrap(),
                HumanDuration::millis(millis),
                "{text}"
            );
        }
        for text in [
            "",
            "s",
            "30",
            "-1s",
            "1.5s",
            "30 sec",
            "99999999999999999999s",
            "18446744073709551615d",
        ] {
            assert!(text.parse::<HumanDuration>().is_err(), "{text}");
        }
        for text in ["500ms", "30s", "90s", "5m", "1d", "36h", "0s"] {
            assert_eq!(text.parse::<HumanDuration>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn sizes_round_trip_and_reject_invalid_text() {
        for (text, bytes) in [
            ("512B", 512),
            ("64KiB", 65_536),
            ("1MiB", 1 << 20),
            ("3GiB", 3 << 30),
            ("0B", 0),
        ] {
            assert_eq!(text.parse::<Size>().unwrap(), Size(bytes));
            assert_eq!(Size(bytes).to_string(), text);
        }
        for text in ["", "64", "64kb", "64KB", "1e3B"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }

    #[test]
    fn rates_round_trip_and_reject_invalid_text() {
        assert_eq!(
            "30/10s burst 60".parse::<Rate>().unwrap(),
            Rate::new(30, HumanDuration::secs(10), 60)
        );
        assert_eq!(
            "20/1m".parse::<Rate>().unwrap(),
            Rate::new(20, HumanDuration::secs(60), 20)
        );
        for text in [
            "",
            "30",
            "30/",
            "/10s",
            "x/10s",
            "30/10s burst",
            "30/10s burst x",
            "1/0s",
            "1/10s burst 0",
        ] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
        for text in ["30/10s burst 60", "3/1h"] {
            assert_eq!(text.parse::<Rate>().unwrap().to_string(), text);
        }
    }
}
