//! Conversion between the model and the generated messages. Functions whose names begin with `to_`
//! decode into the model; those whose names are only the name of a part, such as `user_info`,
//! encode it.
//!
//! `requests` decodes every request, `commands` encodes every command, and `results` converts every
//! answer in both directions, except that it does not encode appended drafts and pages of history.
//! The other files convert the parts, one file for each subject.

pub(super) mod commands;
pub(super) mod enums;
pub(super) mod requests;
pub(super) mod results;

mod accounts;
mod conversations;
mod groups;
mod login;
mod messages;
mod parts;
mod people;

pub(super) use login::{hello, login, register, resume};
pub(super) use messages::SendFields;
