//! Help of the commands.

/// Help entry of a command.
pub(in crate::interactive) struct Usage {
    pub(in crate::interactive) name: &'static str,
    pub(in crate::interactive) arguments: &'static str,
    pub(in crate::interactive) help: &'static str,
    pub(in crate::interactive) completes: Completes,
}

/// Kind of argument that Tab completes after a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::interactive) enum Completes {
    Nothing,
    Users,
    Groups,
}

macro_rules! usages {
    ($($name:literal $arguments:literal $completes:ident $help:literal,)*) => {
        /// All commands, in the order of the help.
        pub(in crate::interactive) const USAGES: &[Usage] = &[
            $(Usage { name: $name, arguments: $arguments, help: $help, completes: Completes::$completes },)*
        ];
    };
}

usages! {
    "/dm" "USER [TEXT]" Users "open the conversation with a user; with TEXT, only send TEXT",
    "/group" "NAME" Groups "open a group you are in",
    "/list" "" Nothing "list your conversations, with unread counts",
    "/history" "[N]" Nothing "print the last N events of this conversation, at most 500; default: 20",
    "/read" "" Nothing "mark this conversation as read",
    "/reply" "SEQ TEXT" Nothing "reply to message #SEQ",
    "/me" "TEXT" Nothing "send what you do: \"/me waves\" appears as \"alice: * alice waves\"",
    "/edit" "[SEQ] TEXT" Nothing "change your message #SEQ, or your last one",
    "/recall" "[SEQ]" Nothing "recall message #SEQ, or your last one; admins also those of others",
    "/react" "[SEQ] EMOJI" Nothing "react to message #SEQ, or to the last one",
    "/create" "NAME" Nothing "create a group and open it",
    "/join" "GROUP" Groups "join a group and open it, or ask to join it",
    "/leave" "[GROUP]" Groups "leave this group, or GROUP",
    "/members" "" Nothing "list the members of this group",
    "/invite" "USER" Users "invite a user to this group",
    "/kick" "USER" Users "remove a member from this group",
    "/ban" "USER" Users "ban a user from this group; a member is also removed",
    "/unban" "USER" Users "lift the ban of a user",
    "/mute" "USER TIME" Users "mute a member of this group: 90s, 10m, 2h; 0 unmutes",
    "/approve" "USER" Users "approve the request of a user to join this group",
    "/reject" "USER" Users "reject the request of a user to join this group",
    "/role" "USER admin|member" Users "change the role of a member",
    "/transfer" "USER" Users "make a member the owner of this group",
    "/topic" "[TEXT]" Nothing "print the description of this group, or change it to TEXT",
    "/rename" "NAME" Nothing "rename this group",
    "/who" "" Nothing "list friends who are online",
    "/friends" "" Nothing "list friends, requests and blocked users",
    "/add" "USER [NOTE]" Users "send a friend request, or accept the request of this user",
    "/accept" "USER" Users "accept a friend request",
    "/decline" "USER" Users "decline a friend request",
    "/remove" "USER" Users "end a friendship, or withdraw a request",
    "/block" "USER" Users "block a user, which also ends a friendship",
    "/unblock" "USER" Users "unblock a user",
    "/search" "TEXT" Nothing "find users and groups",
    "/inbox" "" Nothing "print requests, invitations and notices",
    "/name" "TEXT" Nothing "change your display name",
    "/passwd" "" Nothing "change your password",
    "/devices" "" Nothing "list your devices",
    "/help" "" Nothing "list the commands",
    "/quit" "" Nothing "quit; Ctrl-D does the same",
}
