//! Groups to create, and changes of groups and profiles.

use super::{ClientMessageId, Description, DirectPolicy, DisplayName, GroupName, JoinPolicy};

/// Group that a user wants to create.
///
/// ```
/// # use chat_core::model::{Description, GroupName, JoinPolicy, NewGroup};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut group = NewGroup::new(GroupName::parse("rust")?);
/// group.description = Description::new("all about crabs")?;
/// group.join_policy = JoinPolicy::Approval;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NewGroup {
    /// Idempotency key: a retry with the same key finds the group that was created.
    pub client_message_id: ClientMessageId,
    /// Name, unique among groups.
    pub name: GroupName,
    /// Description; default: empty.
    pub description: Description,
    /// Rule by which users become members; default: open.
    pub join_policy: JoinPolicy,
    /// True if new members may read the events from before they joined; default: false.
    pub history_visible: bool,
    /// True if no search by name finds the group, and only its members, invited users and users who
    /// have asked to join find it, by its id or its full name; default: false.
    pub unlisted: bool,
}

impl NewGroup {
    /// Returns an open, listed group of this name, with a fresh idempotency key.
    #[must_use]
    pub fn new(name: GroupName) -> Self {
        Self {
            client_message_id: ClientMessageId::random(),
            name,
            description: Description::default(),
            join_policy: JoinPolicy::default(),
            history_visible: false,
            unlisted: false,
        }
    }
}

/// Changes of a group. Fields that are `None` do not change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupChanges {
    /// New name, if it changes.
    pub name: Option<GroupName>,
    /// New description, if it changes.
    pub description: Option<Description>,
    /// Rule by which users become members.
    pub join_policy: Option<JoinPolicy>,
    /// True if new members may read the events from before they joined.
    pub history_visible: Option<bool>,
    /// True if no search by name finds the group, and only its members, invited users and users who
    /// have asked to join find it, by its id or its full name.
    pub unlisted: Option<bool>,
}

/// Changes of a user's own profile. Fields that are `None` do not change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProfileChanges {
    /// New display name.
    pub display_name: Option<DisplayName>,
    /// Users who may send direct messages to the user.
    pub direct_policy: Option<DirectPolicy>,
}
