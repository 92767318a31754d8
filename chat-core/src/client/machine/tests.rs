//! Tests of the machine by scripts of packets and times, without sockets, an async runtime or the
//! passing of real time.

mod ends;
mod epoch;
mod late_replies;
mod listing;
mod logout;
mod lookup;
mod marks;
mod order;
mod outbox;
mod registration;
mod renamed;
mod resume;
mod saved_user;
mod script;
mod session;
