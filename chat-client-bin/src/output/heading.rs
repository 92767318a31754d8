//! The names of the columns of lists, which are printed on terminals.

use super::{ContactLine, ConversationLine, DeviceLine, GroupLine, MemberLine, Show, UserLine, pad};

/// A line of a list.
pub(crate) trait Row: Show {
    /// Returns the names of the columns.
    fn heading() -> String;
}

fn of_users(last: &str) -> String {
    format!("{} {:>6} {last}", pad("name", 20), "id")
}

impl Row for UserLine {
    fn heading() -> String {
        of_users("display name")
    }
}

impl Row for ContactLine {
    fn heading() -> String {
        of_users("display name, state")
    }
}

impl Row for MemberLine {
    fn heading() -> String {
        of_users("display name, role")
    }
}

impl Row for ConversationLine {
    fn heading() -> String {
        format!("{} {} unread", pad("conversation", 24), pad("last event", 16))
    }
}

impl Row for GroupLine {
    fn heading() -> String {
        format!("{} id, members, who may join, your role, description", pad("group", 24))
    }
}

impl Row for DeviceLine {
    fn heading() -> String {
        format!("{} {} last login", pad("device", 36), pad("name", 32))
    }
}
