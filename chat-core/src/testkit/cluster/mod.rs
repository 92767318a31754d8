//! The contracts of [`Discovery`](crate::cluster::Discovery) and [`Presence`](crate::cluster::Presence) as code: every backend
//! passes all of theirs.
//!
//! ```ignore
//! async fn fresh() -> (MyDiscovery, Server) { /* one that nobody else uses, and what to drop once it is gone */ }
//! chat_core::discovery_conformance!(fresh());
//! ```

#![allow(clippy::unwrap_used)] // these are tests

#[allow(missing_docs)]
pub mod discovery;
#[allow(missing_docs)]
pub mod presence;

/// Makes a `#[tokio::test]` of every case of [`discovery`](crate::testkit::cluster::discovery). The argument is an expression
/// that yields, each time it is evaluated, a future of a discovery that nobody else uses and a guard.
#[macro_export]
macro_rules! discovery_conformance {
    ($fresh:expr) => {
        $crate::discovery_conformance! { @cases $fresh;
            whoever_joins_is_in_its_own_view, everything_that_is_told_travels, nodes_see_each_other, the_view_is_whole,
            whoever_leaves_is_gone, leaving_needs_no_joining, updates_replace, joining_again_is_one_node,
            a_new_life_replaces_the_old, an_old_life_replaces_nothing, whoever_left_may_come_back,
            a_view_that_is_dropped_withdraws_nobody, many_join_and_leave_at_once,
        }
    };
    (@cases $fresh:expr; $($case:ident),+ $(,)?) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            let (discovery, guard) = $fresh.await;
            $crate::testkit::cluster::discovery::$case(std::sync::Arc::new(discovery)).await;
            drop(guard);
        })+
    };
}

/// Makes a `#[tokio::test]` of every case of [`presence`](crate::testkit::cluster::presence). The argument is an expression
/// that yields, each time it is evaluated, a future of a presence that nobody else uses and a guard.
#[macro_export]
macro_rules! presence_conformance {
    ($fresh:expr) => {
        $crate::presence_conformance! { @cases $fresh;
            a_claim_reads_back, nobody_is_present_at_first, claims_are_by_device, states_change,
            claiming_again_is_one_claim, another_node_takes_a_device_over, clearing_ends_a_claim,
            clearing_needs_no_claim, a_node_does_not_clear_what_another_claimed, users_are_apart,
            many_users_are_one_question, the_greatest_ids_are_ids, many_claim_at_once,
        }
    };
    (@cases $fresh:expr; $($case:ident),+ $(,)?) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            let (presence, guard) = $fresh.await;
            $crate::testkit::cluster::presence::$case(std::sync::Arc::new(presence)).await;
            drop(guard);
        })+
    };
}
