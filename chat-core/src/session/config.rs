//! Limits and timeouts of one connection: [`SessionConfig`].

use std::time::Duration;

use crate::codec::frame;
use crate::model::MessageText;
use crate::rate::Rate;

/// Limits and deadlines that apply to each connection of a server separately.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SessionConfig {
    /// Name and version of the server program, as clients see it. Default `chat-core/VERSION`.
    pub server_name: String,
    /// Maximum time from the end of the handshake to the client's `Hello`, within `login_timeout`.
    /// Default 5 s.
    pub first_packet_timeout: Duration,
    /// Maximum time from accept to the login or resume request that succeeds. The time that the
    /// server takes to answer requests does not count. Default 10 s.
    pub login_timeout: Duration,
    /// Time after which a client that has sent nothing sends a ping. The session closes after 2.5
    /// times this interval without a packet; time in which the server does not read does not count.
    /// Default 30 s.
    pub heartbeat_interval: Duration,
    /// Maximum number of packets before login, `Hello` included. Default 32.
    pub max_packets_before_login: u32,
    /// Maximum size of a packet before login, in bytes. Default 4 KiB.
    pub max_guest_packet_bytes: usize,
    /// Maximum size of a packet after login, in bytes. Default 64 KiB.
    pub max_packet_bytes: usize,
    /// Maximum size of a message text, in bytes. Default [`MessageText::MAX_BYTES`] (16 KiB), which
    /// this limit must not exceed.
    pub max_text_bytes: usize,
    /// Maximum size of the encoded events in a page of history, in bytes. A larger page is
    /// shortened, but not to less than one event. Default 256 KiB.
    pub max_page_bytes: usize,
    /// Maximum number of unanswered requests of one session. At this number, the server reads no
    /// further packet. Default 64.
    pub max_requests_in_flight: usize,
    /// Rate at which drafts are read from one session. The server reads excess drafts later; none
    /// is lost and their order stays. Default 100 a second with a burst of 1000, so that a client
    /// can send at once the messages that it queued while it was offline.
    pub message_rate_per_connection: Rate,
    /// Rate at which packets of any kind are read from one session. Default 400 a second with a
    /// burst of 2000.
    pub packet_rate: Rate,
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self {
            server_name: concat!("chat-core/", env!("CARGO_PKG_VERSION")).to_owned(),
            first_packet_timeout: Duration::from_secs(5),
            login_timeout: Duration::from_secs(10),
            heartbeat_interval: Duration::from_secs(30),
            max_packets_before_login: 32,
            max_guest_packet_bytes: frame::MAX_GUEST_PACKET_BYTES,
            max_packet_bytes: frame::DEFAULT_MAX_PACKET_BYTES,
            max_text_bytes: MessageText::MAX_BYTES,
            max_page_bytes: 256 * 1024,
            max_requests_in_flight: 64,
            message_rate_per_connection: Rate::new(100, Duration::from_secs(1)).with_burst(1000),
            packet_rate: Rate::new(400, Duration::from_secs(1)).with_burst(2000),
        }
    }
}

impl SessionConfig {
    /// Returns the time after which a silent session is closed.
    #[must_use]
    pub(crate) fn silence_timeout(&self) -> Duration {
        self.heartbeat_interval
            .saturating_mul(5)
            .checked_div(2)
            .unwrap_or(self.heartbeat_interval)
    }
}
