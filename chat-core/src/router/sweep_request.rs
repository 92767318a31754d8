//! A request for a sweep, which compares the conversations and users of this node with the store.

use std::sync::Arc;

use tokio::sync::Notify;

/// Request for a [sweep](super::workers::sweep), made when the node may lack events or changes that
/// are in the store, and does not know which. Requests made before the worker of sweeps takes one
/// of them count as one. Clones share the request.
#[derive(Clone, Debug, Default)]
pub(crate) struct SweepRequest {
    requested: Arc<Notify>,
}

impl SweepRequest {
    pub(crate) fn request(&self) {
        self.requested.notify_one();
    }

    /// Waits for a request and takes it. Cancel safe.
    pub(crate) async fn requested(&self) {
        self.requested.notified().await;
    }
}
