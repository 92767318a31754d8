//! Conversion of the settings into the configurations of the engine and the server.

use std::time::Duration;

use chat_core::auth::{ConnectionLimits, PenaltyOptions};
use chat_core::engine::{EngineConfig, SessionPolicy};
use chat_core::rate::Rate;
use chat_core::server::ServerConfig;

use crate::config::{CheckedConfig, LimitsSection, SessionPolicySetting, Settings, StoreUrl};

/// Returns the configuration of the engine.
pub(super) fn engine_config(settings: &Settings) -> EngineConfig {
    let accounts = &settings.accounts;
    let mut config = EngineConfig::default();
    config.allow_registration = accounts.allow_registration;
    config.default_direct_policy = accounts.default_direct_policy.into();
    config.max_devices = accounts.max_devices;
    config.session_policy = match accounts.session_policy {
        SessionPolicySetting::Replace => SessionPolicy::Replace,
        SessionPolicySetting::Reject => SessionPolicy::Reject,
        SessionPolicySetting::RejectNewDevices => SessionPolicy::RejectNewDevices,
    };
    config.session_idle_timeout = accounts.session_idle_timeout.0;
    config.session_rotation_interval = accounts.session_rotation_interval.0;
    config.throttle.login_rate = accounts.login_rate.0;
    config.throttle.login_rate_per_source = accounts.login_rate_per_source.0;
    config.throttle.registration_rate_per_source = accounts.registration_rate_per_source.0;
    config.throttle.exempt_loopback = settings.limits.exempt_loopback;
    config.message_rate_per_user = message_rate_per_user(&settings.limits);
    set_command_limits(&mut config, &settings.limits);
    config
}

/// Sets the limits of what a user may read, send and create.
fn set_command_limits(config: &mut EngineConfig, limits: &LimitsSection) {
    config.page_rate = limits.page_rate.0;
    config.read_rate = limits.read_rate.0;
    config.max_page_events = limits.max_page_events;
    config.max_page_bytes = u32::try_from(limits.max_page_bytes.0).unwrap_or(u32::MAX);
    config.max_list_length = limits.max_list_length;
    config.max_mentions = usize::try_from(limits.max_mentions).unwrap_or(usize::MAX);
    config.edit_window = limits.edit_window.0;
    config.max_group_members = limits.max_group_members;
    config.max_groups_per_user = limits.max_groups_per_user;
    config.group_creation_rate = limits.group_creation_rate.0;
    config.friend_request_rate = limits.friend_request_rate.0;
    config.invitation_rate = limits.invitation_rate.0;
    config.direct_conversation_rate = limits.direct_conversation_rate.0;
    config.change_rate = limits.change_rate.0;
    config.repeated_request_interval = limits.repeated_request_interval.0;
    config.max_former_groups_per_user = limits.max_former_groups_per_user;
    config.max_blocked_users = limits.max_blocked_users;
    config.max_incoming_requests = limits.max_incoming_requests;
}

/// Returns the rate limit of messages per user: that of `limits.message_rate_per_user`. If this key
/// has its default, and `message_rate_per_connection` is faster than its own default, the limit per
/// connection also applies per user, so that raising one key is enough.
fn message_rate_per_user(limits: &LimitsSection) -> Rate {
    let default = LimitsSection::default();
    let is_raised = limits
        .message_rate_per_connection
        .0
        .is_faster_than(default.message_rate_per_connection.0);
    if limits.message_rate_per_user == default.message_rate_per_user && is_raised {
        limits.message_rate_per_connection.0
    } else {
        limits.message_rate_per_user.0
    }
}

/// Returns the configuration of the server, which accepts at most `max_connections` connections.
pub(super) fn server_config(checked: &CheckedConfig, max_connections: u32) -> ServerConfig {
    let settings = &checked.settings;
    let (limits, connection) = (&settings.limits, &settings.connection);
    let mut connections = ConnectionLimits::default();
    connections.max_unauthenticated = limits.max_unauthenticated;
    connections.max_unauthenticated_per_source = limits.max_unauthenticated_per_source;
    connections.max_authenticated_per_source = limits.max_authenticated_per_source;
    connections.connection_rate_per_source = limits.connection_rate_per_source.0;
    connections.exempt_loopback = limits.exempt_loopback;
    if !limits.penalties {
        connections.penalties = PenaltyOptions::danger_none();
    }
    let mut config = ServerConfig::default();
    config.session.server_name = settings.server.name.clone();
    config.max_connections = max_connections;
    config.connection_limits = connections;
    config.trusted_proxies.clone_from(&checked.proxies);
    config.handshake_rate = limits.handshake_rate.0;
    config.handshake_timeout = connection.handshake_timeout.0;
    config.session.first_packet_timeout = connection.first_packet_timeout.0;
    config.session.login_timeout = connection.login_timeout.0;
    config.session.heartbeat_interval = connection.heartbeat_interval.0;
    config.write_timeout = connection.write_timeout.0;
    config.max_connection_age = connection.max_connection_age.0;
    config.session.max_packets_before_login = limits.max_packets_before_login;
    config.session.max_packet_bytes = limits.max_packet_bytes.bytes();
    config.session.max_text_bytes = limits.max_text_bytes.bytes();
    config.session.max_page_bytes = limits.max_page_bytes.bytes();
    config.session.max_requests_in_flight = usize::try_from(limits.max_requests_in_flight).unwrap_or(usize::MAX);
    config.session.packet_rate = limits.packet_rate.0;
    config.outbox_limits.max_packets = usize::try_from(limits.max_outbox_packets).unwrap_or(usize::MAX);
    config.outbox_limits.max_bytes = limits.max_outbox_bytes.bytes();
    config.session.message_rate_per_connection = limits.message_rate_per_connection.0;
    config.retry_after = settings.server.retry_after.0;
    config.unready_timeout = match checked.store {
        // Only one node can use the embedded store, so clients have no other node to connect to,
        // and the node never closes its listeners.
        StoreUrl::Sqlite(_) => Duration::ZERO,
        StoreUrl::Mysql(_) => settings.server.unready_timeout.0,
    };
    config
}
