//! Tests of the engine on the memory store.

mod basics;
mod support;
