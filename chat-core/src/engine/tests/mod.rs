//! Tests of the engine on the memory store.

mod accounts;
mod acting;
mod basics;
mod clocks;
mod cluster;
mod contacts;
mod deletion;
mod feeds;
mod fencing;
mod groups;
mod hooks;
mod invitations;
mod lifecycle;
mod lost_answers;
mod marks;
mod messages;
mod operator;
mod outages;
mod panics;
mod pipelining;
mod provisioning;
mod rates;
mod regressions;
mod resend_order;
mod rights;
mod support;
