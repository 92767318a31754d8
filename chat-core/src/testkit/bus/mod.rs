//! Conformance suite of [`MessageBus`](crate::bus::MessageBus). Every bus has to pass all cases.
//!
//! ```ignore
//! /// Returns a new bus, and a guard (such as its server) to drop after the bus.
//! async fn fresh() -> (MyBus, Server) { /* … */ }
//! chat_core::bus_conformance!(fresh());
//! ```
//!
//! A bus may lose envelopes, but under the conditions of these cases it must deliver each within
//! ten seconds. Only cases that flood a subscriber accept a gap instead. To check that an envelope
//! does not arrive, a case publishes a second envelope and waits for the second one. The cases
//! assume that a subscriber gets envelopes in the order in which they were published.

#![allow(clippy::unwrap_used)] // these are tests

#[allow(missing_docs)]
pub mod closing;
#[allow(missing_docs)]
pub mod delivering;
mod lossy;
#[allow(missing_docs)]
pub mod overload;
mod subscriber;
#[allow(missing_docs)]
pub mod subscribing;

pub use lossy::{Faults, LossyBus};
pub use subscriber::TestSubscriber;

/// Defines a `#[tokio::test]` for every case. The argument is an expression that yields, each time
/// it is evaluated, a future of a new bus and a guard (such as the server of the bus); the guard is
/// dropped after the bus. The calling crate needs tokio with `macros` and `rt-multi-thread`.
#[macro_export]
macro_rules! bus_conformance {
    ($fresh:expr) => {
        $crate::bus_conformance! { @cases $fresh;
            delivering:
                envelope_reaches_its_subscriber, envelopes_arrive_byte_for_byte, envelope_arrives_with_its_topic,
                envelope_reaches_every_subscriber, envelope_reaches_its_publisher_too, envelope_arrives_once,
                concurrent_publishers_lose_nothing, publish_succeeds_without_subscribers;
            subscribing:
                subscriber_starts_without_topics, subscriber_gets_no_other_topic, topics_with_the_same_number_are_distinct,
                subscribe_is_idempotent, unsubscribe_ends_delivery, unsubscribe_needs_no_subscription,
                subscribe_works_again_after_unsubscribe, subscriber_gets_no_earlier_envelope, topics_change_while_subscriber_waits,
                topic_handles_share_one_subscriber, subscribers_have_separate_topics,
                subscriber_takes_hundreds_of_topics;
            overload:
                slow_subscriber_gets_every_envelope_or_a_gap, slow_subscriber_recovers, stuck_subscriber_delays_no_other,
                cancelled_next_loses_nothing;
            closing:
                dropped_subscriber_affects_no_other, close_ends_waiting_subscribers,
                closed_bus_refuses_to_publish_connect_and_subscribe, close_is_idempotent;
        }
    };
    (@cases $fresh:expr; $($family:ident: $($case:ident),+;)+) => {
        $(mod $family {
            #[allow(unused_imports)]
            use super::*;

            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let (bus, guard) = $fresh.await;
                $crate::testkit::bus::$family::$case(std::sync::Arc::new(bus)).await;
                drop(guard);
            })+
        })+
    };
}
