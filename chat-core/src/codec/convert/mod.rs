//! Conversion between the model and the generated messages. `requests` and `commands` list every
//! request, once for each direction, and `results` lists every answer. The other files convert
//! their parts, one file for each family.

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
