//! A selection of one user's sessions.

use crate::model::{Caller, DeviceId, SessionEpoch};

/// Selects some of a user's sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionSelector {
    /// Every session of the user.
    All,
    /// The sessions of this device.
    Device(DeviceId),
    /// The sessions of all devices except this one.
    AllExcept(DeviceId),
    /// The sessions of this device that started before the login with this epoch.
    OlderThan(DeviceId, SessionEpoch),
}

impl SessionSelector {
    pub(crate) fn matches(self, caller: &Caller) -> bool {
        match self {
            Self::All => true,
            Self::Device(device) => caller.device() == Some(device),
            Self::AllExcept(device) => caller.device() != Some(device),
            Self::OlderThan(device, epoch) => caller.device() == Some(device) && caller.epoch() < Some(epoch),
        }
    }
}
