//! The contract of [`MessageBus`](crate::bus::MessageBus) as code: every bus passes all of it.
//!
//! ```ignore
//! async fn fresh() -> (MyBus, Server) { /* a bus nobody else uses, and what to drop once it is gone */ }
//! chat_core::bus_conformance!(fresh());
//! ```
//!
//! A bus may lose envelopes, but one that works does not; the cases give it ten seconds to
//! bring them. What must not come is waited for by sending something after it that must.

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

/// Makes a `#[tokio::test]` of every case. The argument is an expression that yields, each time it is evaluated, a
/// future of a bus that nobody else uses and a guard; the guard is dropped after the bus. The calling crate needs tokio with
/// `macros` and `rt-multi-thread`.
#[macro_export]
macro_rules! bus_conformance {
    ($fresh:expr) => {
        $crate::bus_conformance! { @cases $fresh;
            delivering:
                an_envelope_reaches_its_subscriber, envelopes_keep_every_byte, the_topic_comes_with_the_envelope,
                every_subscriber_gets_it, whoever_publishes_hears_it_too, nobody_gets_it_twice,
                many_publish_at_once, nobody_has_to_listen;
            subscribing:
                it_begins_with_no_topics, other_topics_are_not_delivered, one_number_names_many_topics,
                twice_is_as_good_as_once, unsubscribing_ends_it, unsubscribing_needs_no_subscription,
                it_can_be_subscribed_again, what_was_published_before_does_not_come, topics_change_while_somebody_waits,
                handles_of_one_subscriber_change_the_same, subscribers_have_their_own_topics,
                hundreds_of_topics_are_one_subscription;
            overload:
                who_falls_behind_is_told_so, who_fell_behind_hears_again, who_does_not_read_holds_up_nobody,
                a_wait_that_is_given_up_loses_nothing;
            closing:
                a_dropped_subscriber_disturbs_nobody, closing_ends_those_who_wait, a_closed_bus_refuses,
                closing_twice_is_as_good_as_once;
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
