//! Formats times for display, in the local time zone: that of the environment variable `TZ`,
//! otherwise that of the system. JSON contains milliseconds since 1970-01-01 00:00 UTC instead.

use std::env;
use std::sync::LazyLock;

use tz::TimeZone;

/// The local time zone; UTC if `TZ` or the time zone of the system cannot be read.
static LOCAL: LazyLock<TimeZone> = LazyLock::new(|| {
    let zone = match env::var("TZ") {
        Ok(name) if !name.is_empty() => TimeZone::from_posix_tz(&name),
        _ => TimeZone::local(),
    };
    zone.unwrap_or_else(|_| TimeZone::utc())
});

/// Returns the local date and time, such as `2026-11-20 22:52`. `time_ms` is the number of
/// milliseconds since 1970-01-01 00:00 UTC.
pub(crate) fn date_time(time_ms: i64) -> String {
    date_time_in(&LOCAL, time_ms)
}

/// Returns the time of day of a [`date_time`], such as `22:52`.
pub(crate) fn time_of_day(time_ms: i64) -> String {
    let date_time = date_time(time_ms);
    date_time.split(' ').nth(1).unwrap_or_default().to_owned()
}

/// Returns the date of a [`date_time`], such as `2026-11-20`.
pub(crate) fn date(time_ms: i64) -> String {
    let date_time = date_time(time_ms);
    date_time.split(' ').next().unwrap_or_default().to_owned()
}

fn date_time_in(zone: &TimeZone, time_ms: i64) -> String {
    let seconds = time_ms.div_euclid(1000);
    let offset = zone
        .find_local_time_type(seconds)
        .map_or(0, |local| i64::from(local.ut_offset()));
    let local = seconds.saturating_add(offset);
    let (year, month, day) = civil_from_days(local.div_euclid(86_400));
    let minutes = local.rem_euclid(86_400) / 60;
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}", minutes / 60, minutes % 60)
}

/// Converts the number of days since 1970-01-01 to year, month and day. The algorithm is
/// `civil_from_days` of H. Hinnant, "chrono-compatible low-level date algorithms".
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utc(time_ms: i64) -> String {
        date_time_in(&TimeZone::utc(), time_ms)
    }

    #[test]
    fn date_time_prints_reference_times() {
        assert_eq!(utc(0), "1970-01-01 00:00");
        assert_eq!(utc(1_790_000_000_000), "2026-09-21 14:13");
        assert_eq!(utc(951_782_400_000), "2000-02-29 00:00");
        assert_eq!(utc(-1), "1969-12-31 23:59");
        // A hostile server may send any number.
        assert!(utc(i64::MAX).ends_with(":12") && utc(i64::MIN).len() > 16);
    }

    #[test]
    fn date_time_follows_the_time_zone_and_its_summer_time() {
        let berlin = TimeZone::from_posix_tz("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        assert_eq!(date_time_in(&berlin, 1_790_000_000_000), "2026-09-21 16:13");
        assert_eq!(date_time_in(&berlin, 1_797_000_000_000), "2026-12-11 15:40");
        let tokyo = TimeZone::from_posix_tz("JST-9").unwrap();
        assert_eq!(date_time_in(&tokyo, 1_790_010_000_000), "2026-09-22 02:00");
    }
}
