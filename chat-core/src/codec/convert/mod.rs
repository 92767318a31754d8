//! Between the model and the generated messages. `requests` and `commands` list every request once per direction, `results`
//! every answer; the rest is what these are made of, one file per family.

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
