//! Our words as plain data: ids, events, commands, outcomes and their codes.

mod name;
mod text;

pub use name::{DisplayName, GroupName, NameError, RESERVED_NAMES, ShownChar, Skeleton, UserName};
pub use text::{
    Description, Emoji, MessageText, Note, ShortText, TextError, escape_for_log,
    sanitize_for_terminal,
};
