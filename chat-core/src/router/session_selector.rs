//! A selection of one user's sessions.

use crate::model::{Caller, DeviceId, SessionEpoch};

/// Rule that selects some of a user's sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionSelector {
    /// Every session of the user.
    All,
    /// The sessions of this device.
    Device(DeviceId),
    /// Every session of the user except those of this device.
    AllExcept(DeviceId),
    /// The sessions of this device with a lower epoch than this one, which are those of earlier
    /// logins and resumes.
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
