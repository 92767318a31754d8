//! Formats times for display. They are in UTC, which needs no time zone database and is the same on
//! every machine.

/// Returns the date and time in UTC, such as `2026-11-20 22:52`. `time_ms` is the number of
/// milliseconds since 1970-01-01 00:00 UTC.
pub(crate) fn date_time(time_ms: i64) -> String {
    let minutes = time_ms.div_euclid(60_000).rem_euclid(24 * 60);
    format!("{} {:02}:{:02}", date(time_ms), minutes / 60, minutes % 60)
}

/// Returns the time of day of a [`date_time`], such as `22:52`.
pub(crate) fn time_of_day(time_ms: i64) -> String {
    let date_time = date_time(time_ms);
    date_time.split(' ').nth(1).unwrap_or_default().to_owned()
}

/// Returns the date of a [`date_time`], such as `2026-11-20`.
pub(crate) fn date(time_ms: i64) -> String {
    let (year, month, day) = civil_from_days(time_ms.div_euclid(86_400_000));
    format!("{year:04}-{month:02}-{day:02}")
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

    #[test]
    fn date_time_prints_reference_times() {
        assert_eq!(date_time(0), "1970-01-01 00:00");
        assert_eq!(date_time(1_790_000_000_000), "2026-09-21 14:13");
        assert_eq!(date_time(951_782_400_000), "2000-02-29 00:00");
        assert_eq!(date_time(-1), "1969-12-31 23:59");
    }
}
