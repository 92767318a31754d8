//! The chat client.

fn main() {}
