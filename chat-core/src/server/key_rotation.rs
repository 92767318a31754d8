//! Daily rotation of the static key of SC1, which the identity key of the server certifies.

use std::sync::Arc;
use std::time::Duration;

use crate::secure::ServerKeys;
use crate::time::wall_clock;

/// Interval between checks whether the key is due for rotation.
const CHECK_INTERVAL: Duration = Duration::from_secs(600);

/// Replaces the static key of SC1 once a day.
pub(super) async fn rotate_daily(keys: Arc<ServerKeys>) {
    loop {
        tokio::time::sleep(CHECK_INTERVAL).await;
        let unix_now = wall_clock().unix_seconds();
        if !keys.is_rotation_due(unix_now) {
            continue;
        }
        let rotated = tokio::task::spawn_blocking({
            let keys = Arc::clone(&keys);
            move || keys.rotate(unix_now)
        });
        match rotated.await {
            Ok(Ok(())) => tracing::info!("the static SC1 key was rotated"),
            Ok(Err(error)) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(
                    error,
                    "cannot rotate the static SC1 key; retrying; clients reject the current key once it has expired"
                );
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(error, "the rotation of the static SC1 key panicked; retrying");
            }
        }
    }
}
