//! Reply codes and close codes, with their numbers in the protocol. A number is never reused.

macro_rules! codes {
    ($(#[$doc:meta])* $name:ident: $repr:ty { $($(#[$variant_doc:meta])* $variant:ident = $number:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr($repr)]
        #[non_exhaustive]
        pub enum $name { $($(#[$variant_doc])* $variant = $number,)* }

        impl $name {
            /// All codes of this version.
            #[doc(hidden)]
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Returns the number that the protocol uses.
            #[must_use]
            pub const fn number(self) -> $repr {
                self as $repr
            }

            /// Returns the code of a number, if this version knows it.
            #[must_use]
            pub(crate) fn from_number(number: $repr) -> Option<Self> {
                match number {
                    $($number => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

codes! {
    /// Reason why a request failed. 1xx: protocol; 2xx: identity; 3xx: content; 4xx: rights and
    /// state; 5xx: the server has failed, or cannot execute the request now.
    ReplyCode: u32 {
        /// The request violates the protocol: for example, it is out of order, or its id is in use.
        /// A server then closes the connection.
        BadRequest = 100,
        /// Client and server have no protocol version in common.
        UnsupportedVersion = 101,
        /// The request needs a login.
        NotLoggedIn = 102,
        /// The request is valid only before login.
        AlreadyLoggedIn = 103,
        /// The server does not know the command, for example because the client is newer.
        UnknownCommand = 104,
        /// The account is unknown, or the password or token is wrong.
        BadCredentials = 200,
        /// Too many attempts. The reply contains the time to wait.
        Throttled = 201,
        /// The session token is no longer valid. The client must log in again.
        SessionExpired = 202,
        /// The account is disabled or deleted, or the user for whom an application or operator acts
        /// does not exist.
        AccountDisabled = 203,
        /// The session policy allows one session, and the user has one on another device.
        LoggedInElsewhere = 204,
        /// The user is logged in on the maximum number of devices, and must log out on one of them
        /// or revoke one first.
        TooManyDevices = 205,
        /// The session is over; its close code gives the reason.
        Fenced = 206,
        /// The server accepts no registrations.
        RegistrationClosed = 207,
        /// The text is not a valid name.
        InvalidName = 300,
        /// The name is taken, or looks like a taken one; or another account has the subject.
        NameTaken = 301,
        /// The password is too short or too long, or has characters that passwords cannot have.
        InvalidPassword = 302,
        /// The text is empty, too long, or contains characters that are not allowed.
        InvalidText = 303,
        /// A value is out of range.
        InvalidArgument = 304,
        /// The object does not exist, or is not visible to the user.
        NotFound = 400,
        /// The user may not do this, for example because of the user's role or a ban.
        Forbidden = 401,
        /// The two users are not friends and the recipient accepts no direct messages from this
        /// user, or one of them has blocked the other.
        NotFriends = 402,
        /// The user is muted in the group.
        Muted = 403,
        /// The client message id was already used for another message or group.
        Conflict = 405,
        /// A limit of the server is reached.
        LimitExceeded = 406,
        /// The message is too old to be edited or recalled.
        TooLate = 407,
        /// The message is recalled.
        AlreadyRecalled = 408,
        /// The owner must transfer the group before leaving it.
        OwnerMustTransfer = 409,
        /// The group is deleted.
        GroupDeleted = 410,
        /// A rule of the application refused the command, or the server stores no passwords.
        RefusedByPolicy = 411,
        /// An error inside the server, for example a defect or inconsistent data in its store,
        /// which it logged. The command may or may not have taken effect.
        Internal = 500,
        /// The server cannot execute the command now, for example because its store does not
        /// answer. The command may or may not have taken effect; retry with the same client message
        /// id.
        TryAgain = 501,
        /// The server cannot execute the command now, for example because it is overloaded, or its
        /// store has no space left. The command had no effect.
        Busy = 502,
        /// The node is shutting down. The command had no effect; use another node.
        ShuttingDown = 503,
    }
}

impl ReplyCode {
    /// Returns the HTTP status with the most similar meaning, for applications that answer HTTP
    /// requests.
    #[must_use]
    pub const fn http_status(self) -> u16 {
        match self {
            Self::BadRequest
            | Self::UnsupportedVersion
            | Self::AlreadyLoggedIn
            | Self::InvalidName
            | Self::InvalidPassword
            | Self::InvalidText
            | Self::InvalidArgument => 400,
            Self::NotLoggedIn | Self::BadCredentials | Self::SessionExpired | Self::Fenced => 401,
            Self::AccountDisabled
            | Self::RegistrationClosed
            | Self::Forbidden
            | Self::NotFriends
            | Self::Muted
            | Self::RefusedByPolicy => 403,
            Self::NotFound => 404,
            Self::LoggedInElsewhere
            | Self::TooManyDevices
            | Self::NameTaken
            | Self::Conflict
            | Self::LimitExceeded
            | Self::TooLate
            | Self::AlreadyRecalled
            | Self::OwnerMustTransfer => 409,
            Self::GroupDeleted => 410,
            Self::Throttled => 429,
            Self::Internal => 500,
            Self::UnknownCommand => 501,
            Self::TryAgain | Self::Busy | Self::ShuttingDown => 503,
        }
    }
}

codes! {
    /// Reason why a session or connection ended.
    CloseCode: u16 {
        /// The peer closed the connection, the connection broke, or the program dropped its local
        /// session.
        Normal = 0,
        /// The node is shutting down, or the connection has reached its maximum age. The client
        /// should connect again.
        GoingAway = 1,
        /// A newer login replaced the session: a login of the same device, or of another device if
        /// the session policy allows only one session.
        Replaced = 2,
        /// The device was revoked, the password was changed, an operator ended the sessions, or the
        /// login expired.
        Revoked = 3,
        /// The peer violated the protocol.
        ProtocolError = 4,
        /// The peer sent nothing for too long, or did not log in in time.
        Timeout = 5,
        /// The peer read too slowly.
        SlowConsumer = 6,
        /// The source has too many sessions, or the client sent too many packets before it logged
        /// in.
        Overloaded = 7,
        /// The user logged out.
        LoggedOut = 8,
        /// The server has a defect, which it logged.
        Internal = 9,
        /// An operator disabled or deleted the account.
        AccountDisabled = 10,
        /// A packet exceeded the size limit.
        PacketTooLarge = 11,
        /// Client and server have no protocol version in common.
        UnsupportedVersion = 12,
    }
}

impl CloseCode {
    /// Returns the reason for the end of a session whose login is no longer valid. `is_disabled`
    /// says whether the user's account is disabled, and `is_logged_in` whether the session's device
    /// has another login, which was not ended.
    pub(crate) const fn of_ended_login(is_disabled: bool, is_logged_in: bool) -> Self {
        if is_disabled {
            Self::AccountDisabled
        } else if is_logged_in {
            Self::Replaced
        } else {
            Self::Revoked
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ReplyCode;

    #[test]
    fn http_status_separates_client_errors_from_server_errors() {
        for &code in ReplyCode::ALL {
            let server = code.number() >= 500 || code == ReplyCode::UnknownCommand;
            let expected = if server { 500..600 } else { 400..500 };
            assert!(expected.contains(&code.http_status()), "{code:?}");
        }
    }
}
