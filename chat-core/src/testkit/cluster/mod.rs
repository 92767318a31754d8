//! Conformance suites of [`Discovery`](crate::cluster::Discovery) and
//! [`Presence`](crate::cluster::Presence). Every backend has to pass all cases.
//!
//! ```ignore
//! /// Returns a new discovery, and a guard (such as its server) to drop after the discovery.
//! async fn fresh() -> (MyDiscovery, Server) { /* … */ }
//! chat_core::discovery_conformance!(fresh());
//! ```

#![allow(clippy::unwrap_used)] // these are tests

#[allow(missing_docs)]
pub mod discovery;
#[allow(missing_docs)]
pub mod presence;

/// Defines a `#[tokio::test]` for every case of [`discovery`](crate::testkit::cluster::discovery).
/// The argument is an expression that yields, each time it is evaluated, a future of a new
/// discovery and a guard (such as its server); the guard is dropped after the discovery.
/// The calling crate needs tokio with `macros` and `rt-multi-thread`.
#[macro_export]
macro_rules! discovery_conformance {
    ($fresh:expr) => {
        $crate::discovery_conformance! { @cases $fresh;
            node_sees_itself, node_info_arrives_complete, nodes_see_each_other, view_is_complete,
            leave_removes_the_node, leave_needs_no_join, update_replaces_the_info, join_is_idempotent,
            newer_incarnation_replaces_the_older, older_incarnation_changes_nothing, node_rejoins_after_leaving,
            dropped_view_removes_no_node, concurrent_joins_and_leaves_lose_nothing,
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

/// Defines a `#[tokio::test]` for every case of [`presence`](crate::testkit::cluster::presence).
/// The argument is an expression that yields, each time it is evaluated, a future of a new presence
/// service and a guard (such as its server); the guard is dropped after the presence service.
/// The calling crate needs tokio with `macros` and `rt-multi-thread`.
#[macro_export]
macro_rules! presence_conformance {
    ($fresh:expr) => {
        $crate::presence_conformance! { @cases $fresh;
            claim_reads_back, users_have_no_claims_at_first, claims_belong_to_devices, claim_takes_the_latest_state,
            set_is_idempotent, newer_claim_of_another_node_wins, clear_ends_the_claim,
            clear_needs_no_claim, clear_keeps_the_claim_of_another_node, claims_of_users_are_separate,
            devices_takes_many_users, claims_work_for_extreme_ids, concurrent_claims_lose_nothing,
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
