//! Runs the conformance suites on the memory bus, discovery and presence, and on a [`LossyBus`]
//! that injects no faults.
//!
//! [`LossyBus`]: chat_core::testkit::LossyBus

mod bus {
    use chat_core::bus::MemoryBus;

    async fn fresh() -> (MemoryBus, ()) {
        (MemoryBus::new(), ())
    }

    chat_core::bus_conformance!(fresh());
}

mod faultless_bus {
    use std::sync::Arc;

    use chat_core::bus::MemoryBus;
    use chat_core::testkit::{Faults, LossyBus};

    async fn fresh() -> (LossyBus, ()) {
        (
            LossyBus::with_faults(Arc::new(MemoryBus::new()), 0, Faults::default()),
            (),
        )
    }

    chat_core::bus_conformance!(fresh());
}

mod discovery {
    use chat_core::cluster::MemoryDiscovery;

    async fn fresh() -> (MemoryDiscovery, ()) {
        (MemoryDiscovery::new(), ())
    }

    chat_core::discovery_conformance!(fresh());
}

mod presence {
    use chat_core::cluster::MemoryPresence;

    async fn fresh() -> (MemoryPresence, ()) {
        (MemoryPresence::new(), ())
    }

    chat_core::presence_conformance!(fresh());
}
