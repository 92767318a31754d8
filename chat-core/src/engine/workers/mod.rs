//! Workers: tasks that run until the engine drains; some of them then finish the queued work. Each
//! owns only the parts that it uses. The module also contains the queues through which commands
//! submit work to the workers, and parts that workers and commands share.

mod advertise;
mod appender;
mod direct_opener;
mod marks;
mod observers;
mod presence;
mod publisher;
mod readiness;
mod router_ports;
mod session_recheck;
#[cfg(test)]
mod tests;

pub(super) use advertise::{AdvertiseWorker, NodeAdvertiser};
pub(super) use appender::{AppendPorts, AppendQueue, AppendWorker, DraftIdentity, LaneChange, LaneCheck, is_temporary};
pub(super) use direct_opener::DirectOpener;
pub(super) use marks::{MarkQueue, MarkWorker};
pub(super) use observers::{ObserverQueue, observers};
pub(super) use presence::{PresenceQueue, PresenceView, PresenceWorker};
pub(super) use publisher::Publisher;
pub(super) use readiness::{ReadinessState, ReadinessWorker};
pub(super) use session_recheck::{SessionEnder, SessionRecheckWorker};
