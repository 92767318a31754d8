//! Our words as plain data: ids, events, commands, outcomes and their codes.
