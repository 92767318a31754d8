//! Our words as plain data: ids, events, commands, outcomes and their codes. Imports nothing else of ours.

mod account;
mod change;
mod code;
mod command;
mod conversation;
mod draft;
mod event;
mod id;
mod name;
mod outcome;
mod page;
mod reference;
mod session;
mod text;

pub use account::{Account, Contact, ContactState, Device, DirectPolicy, PresenceState, UserInfo};
pub use change::{GroupChanges, NewGroup, ProfileChanges};
pub use code::{CloseCode, ReplyCode};
pub use command::Command;
pub use conversation::{Conversation, ConversationKind, GroupProfile, JoinPolicy, Member, MemberState, Role};
pub use draft::{Draft, DraftContent};
pub use event::{Event, EventBody, EventKind, Message};
pub use id::{
    ClientMessageId, ConnectionId, ConversationId, DeviceId, EventId, NodeId, Seq, SessionEpoch, SessionId, StoreEpoch,
    Timestamp, UserId,
};
pub use name::{DisplayName, GroupName, NameError, RESERVED_NAMES, ShownChar, Skeleton, UserName};
pub use outcome::{
    Appended, ContactInfo, ConversationInfo, ConversationView, DeviceInfo, GroupInfo, HistoryEvent, HistoryPage,
    MemberInfo, MemberPage, Outcome, Push,
};
pub use page::{Page, PageFrom};
pub use reference::{ConversationRef, UserRef};
pub use session::{Admission, Caller, Login, Registration, Resume, Secret, SessionTokens, Source};
pub use text::{Description, Emoji, MessageText, Note, ShortText, TextError, escape_for_log, sanitize_for_terminal};
