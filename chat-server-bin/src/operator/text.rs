//! Accounts, sessions, groups and audit records as lines of text. Text that others wrote is escaped
//! and truncated by [`escape_for_log`], so that it cannot add a row or a column. This includes
//! names: another program may have written them into the store.

use std::borrow::Cow;

use chat_core::engine::operator::{AccountDetails, AccountInfo, GroupDetails, GroupListing, SessionListing};
use chat_core::model::{DeviceInfo, Timestamp, escape_for_log};
use chat_core::store::AuditRecord;

pub(super) const fn account_state(account: &AccountInfo) -> &'static str {
    match (account.deleted, account.disabled) {
        (Some(_), _) => "deleted",
        (None, true) => "disabled",
        (None, false) => "active",
    }
}

/// Returns the name of an account, escaped.
pub(super) fn account_name(account: &AccountInfo) -> Cow<'_, str> {
    escape_for_log(&account.name)
}

pub(super) fn account_row(account: &AccountInfo) -> String {
    let (id, name, state) = (account.id, account_name(account), account_state(account));
    format!("#{id}\t{name}\t{state}")
}

pub(super) fn describe_account(details: &AccountDetails) -> String {
    let account = &details.account;
    let mut lines = vec![
        format!("id {}", account.id),
        format!("name {}", account_name(account)),
        format!("display name {}", escape_for_log(&account.display_name)),
        format!("state {}", account_state(account)),
        format!("password {}", if account.has_password { "set" } else { "none" }),
        format!("created {}", utc(account.created)),
    ];
    if let Some(subject) = &account.subject {
        lines.push(format!("subject {}", escape_for_log(subject)));
    }
    if account.subject_reserved {
        lines.push("subject reserved: no other account can get it".to_owned());
    }
    lines.extend(details.devices.iter().map(device_row));
    lines.join("\n")
}

fn device_row(device: &DeviceInfo) -> String {
    let (id, last_login, name) = (device.id, utc(device.last_login), escape_for_log(&device.name));
    format!("device {id} last login {last_login} {name}")
}

pub(super) fn session_row(session: &SessionListing) -> String {
    let name = escape_for_log(session.name.as_deref().unwrap_or("deleted user"));
    let device = session.device.map(|device| device.to_string()).unwrap_or_default();
    let address = session
        .address
        .map_or("local".to_owned(), |address| address.to_string());
    let state = format!("{:?}", session.state).to_lowercase();
    let (id, user, started) = (session.id, session.user, utc(session.started));
    format!("{id}\t#{user} {name}\t{device}\t{state}\t{address}\tstarted {started}")
}

pub(super) fn group_row(group: &GroupListing) -> String {
    let state = match (group.deleted, group.orphaned) {
        (true, _) => "deleted",
        (false, true) => "orphaned",
        (false, false) => "active",
    };
    let info = &group.group;
    let name = escape_for_log(&info.profile.name);
    format!(
        "#{}\t{name}\t{state}\t{} members\t{} messages",
        info.id, info.member_count, group.messages
    )
}

pub(super) fn describe_group(details: &GroupDetails) -> String {
    let mut lines = vec![group_row(&details.group)];
    for member in &details.members {
        let role = format!("{:?} {:?}", member.state, member.role).to_lowercase();
        let (id, name) = (member.user.id, escape_for_log(&member.user.name));
        lines.push(format!("user #{id} {name} {role}"));
    }
    lines.join("\n")
}

pub(super) fn audit_row(entry: &AuditRecord) -> String {
    let record = &entry.record;
    let (operator, detail) = (escape_for_log(&record.operator), escape_for_log(&record.detail));
    let (action, target) = (escape_for_log(&record.action), escape_for_log(&record.target));
    let (id, time, source) = (entry.id.0, utc(record.time), escape_for_log(&record.source));
    format!("{id}\t{time}\t{operator}\t{action}\t{target}\t{detail}\t{source}")
}

/// Returns a date and time in the form of RFC 3339, in UTC, without fractions of a second.
fn utc(time: Timestamp) -> String {
    let seconds = time.0.div_euclid(1000);
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = date(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Returns year, month and day of a number of days since 1970. The year of this calculation begins
/// in March, so that the leap day is its last day; 400 such years have 146,097 days, and five
/// months from March on have 153.
fn date(days: i64) -> (i64, i64, i64) {
    // Days since 1 March of the year 0.
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    // Subtracting the leap days that have passed leaves 365 days for each year.
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = 400 * era + year_of_era + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use chat_core::model::DeviceId;

    use super::*;

    #[test]
    fn times_are_utc() {
        for (milliseconds, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59Z"),
            (951_782_399_000, "2000-02-28T23:59:59Z"),
            (951_868_800_000, "2000-03-01T00:00:00Z"),
            (1_709_208_000_500, "2024-02-29T12:00:00Z"),
            (4_107_542_399_000, "2100-02-28T23:59:59Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00Z"),
            (1_796_083_467_232, "2026-12-01T00:04:27Z"),
        ] {
            assert_eq!(utc(Timestamp(milliseconds)), expected);
        }
    }

    #[test]
    fn last_login_of_a_device_is_a_date() {
        let mut device = DeviceInfo::new(DeviceId([1; 16]), "phone".to_owned());
        device.last_login = Timestamp(7);
        let text = device_row(&device);
        assert!(text.contains("last login 1970-01-01T00:00:00Z phone"), "{text}");
    }
}
