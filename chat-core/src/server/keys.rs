//! The static key of SC1, which lives for a day.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::secure::ServerKeys;

/// How often a server looks whether its SC1 key is due for renewal.
const LOOK_AT_KEYS: Duration = Duration::from_secs(600);

/// Gives the channel a new static key each day.
pub(super) async fn renew(keys: Arc<ServerKeys>) {
    loop {
        tokio::time::sleep(LOOK_AT_KEYS).await;
        let unix_now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        if !keys.rotation_due(unix_now) {
            continue;
        }
        let rotated = tokio::task::spawn_blocking({
            let keys = Arc::clone(&keys);
            move || keys.rotate(unix_now)
        });
        match rotated.await {
            Ok(Ok(())) => tracing::info!("the key of sc1:// was renewed"),
            Ok(Err(error)) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(
                    error,
                    "cannot renew the key of sc1://; the present one is used until it expires"
                );
            }
            Err(_) => {}
        }
    }
}
