//! Accounts, groups and audit records as lines of text.

use chat_core::engine::operator::{AccountDetails, AccountInfo, GroupDetails, GroupListing, SessionListing};
use chat_core::model::{DeviceInfo, escape_for_log};
use chat_core::store::AuditRecord;

pub(super) const fn account_state(account: &AccountInfo) -> &'static str {
    match (account.deleted, account.disabled) {
        (Some(_), _) => "deleted",
        (None, true) => "disabled",
        (None, false) => "active",
    }
}

pub(super) fn account_row(account: &AccountInfo) -> String {
    format!("#{}\t{}\t{}", account.id, account.name, account_state(account))
}

pub(super) fn describe_account(details: &AccountDetails) -> String {
    let account = &details.account;
    let mut lines = vec![
        format!("id {}", account.id),
        format!("name {}", account.name),
        format!("display name {}", escape_for_log(&account.display_name)),
        format!("state {}", account_state(account)),
        format!("password {}", if account.has_password { "set" } else { "none" }),
        format!("created {} (ms since 1970)", account.created.0),
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
    let (id, last_login, name) = (device.id, device.last_login.0, escape_for_log(&device.name));
    format!("device {id} last login {last_login} (ms since 1970) {name}")
}

pub(super) fn session_row(session: &SessionListing) -> String {
    let name = session.name.as_deref().unwrap_or("deleted user");
    let device = session.device.map(|device| device.to_string()).unwrap_or_default();
    let address = session
        .address
        .map_or("local".to_owned(), |address| address.to_string());
    let state = format!("{:?}", session.state).to_lowercase();
    let (id, user, started) = (session.id, session.user, session.started.0);
    format!("{id}\t#{user} {name}\t{device}\t{state}\t{address}\tstarted {started} (ms since 1970)")
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
        lines.push(format!("user #{} {} {role}", member.user.id, member.user.name));
    }
    lines.join("\n")
}

pub(super) fn audit_row(entry: &AuditRecord) -> String {
    let record = &entry.record;
    let (operator, detail) = (escape_for_log(&record.operator), escape_for_log(&record.detail));
    let (id, time, source) = (entry.id.0, record.time.0, escape_for_log(&record.source));
    format!(
        "{id}\t{time}\t{operator}\t{}\t{}\t{detail}\t{source}",
        record.action, record.target
    )
}

#[cfg(test)]
mod tests {
    use chat_core::model::{DeviceId, Timestamp};

    use super::*;

    #[test]
    fn last_login_of_a_device_has_a_unit() {
        let mut device = DeviceInfo::new(DeviceId([1; 16]), "phone".to_owned());
        device.last_login = Timestamp(7);
        let text = device_row(&device);
        assert!(text.contains("last login 7 (ms since 1970) phone"), "{text}");
    }
}
