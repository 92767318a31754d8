//! Tests of the engine on the memory store.

mod accounts;
mod basics;
mod cluster;
mod contacts;
mod doubts;
mod fencing;
mod groups;
mod hooks;
mod lifecycle;
mod marks;
mod matrix;
mod messages;
mod order;
mod outages;
mod panics;
mod rates;
mod seeds;
mod support;
mod wire;
