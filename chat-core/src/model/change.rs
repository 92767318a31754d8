//! Groups to create, and changes of groups and profiles.

use super::{ClientMessageId, Description, DirectPolicy, DisplayName, GroupName, JoinPolicy};

/// Group that a user wants to create.
///
/// ```
/// # use chat_core::model::{Description, GroupName, JoinPolicy, NewGroup};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let group = NewGroup::new(GroupName::parse("rust")?)
///     .description(Description::new("all about crabs")?)
///     .join_policy(JoinPolicy::Approval);
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
    /// True if new members may read the events before they joined; default: no.
    pub history_visible: bool,
    /// True if the group is hidden from search and from users who are not in it; default: no.
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

    /// Sets the description.
    #[must_use]
    pub fn description(mut self, description: Description) -> Self {
        self.description = description;
        self
    }

    /// Sets how users become members.
    #[must_use]
    pub const fn join_policy(mut self, policy: JoinPolicy) -> Self {
        self.join_policy = policy;
        self
    }

    /// Sets whether new members may read the events before they joined.
    #[must_use]
    pub const fn history_visible(mut self, visible: bool) -> Self {
        self.history_visible = visible;
        self
    }

    /// Sets whether the group is hidden from search and from users who are not in it.
    #[must_use]
    pub const fn unlisted(mut self, unlisted: bool) -> Self {
        self.unlisted = unlisted;
        self
    }

    /// Replaces the idempotency key.
    #[must_use]
    pub const fn with_id(mut self, id: ClientMessageId) -> Self {
        self.client_message_id = id;
        self
    }
}

/// Changes of a group. What is `None` stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupChanges {
    /// New name, if it changes.
    pub name: Option<GroupName>,
    /// New description, if it changes.
    pub description: Option<Description>,
    /// Rule by which users become members.
    pub join_policy: Option<JoinPolicy>,
    /// True if new members may read the events before they joined.
    pub history_visible: Option<bool>,
    /// True if the group is hidden from search and from users who are not in it.
    pub unlisted: Option<bool>,
}

impl GroupChanges {
    /// Returns changes that change nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Renames the group.
    #[must_use]
    pub fn name(mut self, name: GroupName) -> Self {
        self.name = Some(name);
        self
    }

    /// Changes the description.
    #[must_use]
    pub fn description(mut self, description: Description) -> Self {
        self.description = Some(description);
        self
    }

    /// Changes how users become members.
    #[must_use]
    pub fn join_policy(mut self, policy: JoinPolicy) -> Self {
        self.join_policy = Some(policy);
        self
    }

    /// Changes whether new members may read the events before they joined.
    #[must_use]
    pub fn history_visible(mut self, visible: bool) -> Self {
        self.history_visible = Some(visible);
        self
    }

    /// Changes whether the group is hidden from search and from users who are not in it.
    #[must_use]
    pub fn unlisted(mut self, unlisted: bool) -> Self {
        self.unlisted = Some(unlisted);
        self
    }
}

/// Changes of a user's own profile. What is `None` stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProfileChanges {
    /// New display name.
    pub display_name: Option<DisplayName>,
    /// Users who may send direct messages to the user.
    pub direct_policy: Option<DirectPolicy>,
}

impl ProfileChanges {
    /// Returns changes that change nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Changes the display name.
    #[must_use]
    pub fn display_name(mut self, name: DisplayName) -> Self {
        self.display_name = Some(name);
        self
    }

    /// Changes who may send direct messages to the user.
    #[must_use]
    pub const fn direct_policy(mut self, policy: DirectPolicy) -> Self {
        self.direct_policy = Some(policy);
        self
    }
}
