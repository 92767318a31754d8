//! Tests of the last event of a client.

use super::script::*;
use crate::client::ClientEvent;
use crate::model::{CloseCode, Push};

fn is_ended(event: &ClientEvent) -> bool {
    matches!(event, ClientEvent::Ended(_))
}

fn connected() -> ClientEvent {
    ClientEvent::Connected {
        server: "test".to_owned(),
    }
}

#[test]
fn end_is_the_last_event() {
    let mut script = Script::online(config(), vec![group_info(0, 0)]);
    script.event(1);
    script.push(Push::Closed(CloseCode::Replaced));
    // The driver adds events for actions that precede the end.
    script.machine.add_event(connected());
    assert!(script.machine.has_event());
    let events = script.events();
    assert!(
        events
            .iter()
            .any(|event| matches!(event, ClientEvent::Connected { .. }))
    );
    assert!(events.last().is_some_and(is_ended));
    assert_eq!(events.iter().filter(|event| is_ended(event)).count(), 1);
    script.machine.add_event(connected());
    assert!(!script.machine.has_event());
    assert!(script.events().is_empty(), "no event follows the end");
}
