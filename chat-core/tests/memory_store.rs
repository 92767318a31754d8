//! Runs the conformance suite on the memory store, and on a [`FaultyStore`] that injects no faults.
//!
//! [`FaultyStore`]: chat_core::testkit::store::FaultyStore

mod memory {
    use chat_core::store::MemoryStore;

    async fn fresh() -> (MemoryStore, ()) {
        (MemoryStore::new(), ())
    }

    chat_core::store_conformance!(fresh());
}

mod faultless {
    use std::sync::Arc;

    use chat_core::store::MemoryStore;
    use chat_core::testkit::store::FaultyStore;

    async fn fresh() -> (FaultyStore, ()) {
        (FaultyStore::new(Arc::new(MemoryStore::new())), ())
    }

    chat_core::store_conformance!(fresh());
}
