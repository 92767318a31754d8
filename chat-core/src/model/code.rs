//! Documented numbers: why a command failed, why a connection ends. Never reused.

macro_rules! codes {
    ($(#[$doc:meta])* $name:ident: $repr:ty { $($(#[$variant_doc:meta])* $variant:ident = $number:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr($repr)]
        #[non_exhaustive]
        pub enum $name { $($(#[$variant_doc])* $variant = $number,)* }

        impl $name {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The number on the wire.
            #[must_use]
            pub const fn number(self) -> $repr {
                self as $repr
            }

            /// The code of this number, if this version knows it.
            #[must_use]
            pub fn from_number(number: $repr) -> Option<Self> {
                match number {
                    $($number => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

codes! {
    /// Why a command failed. 1xx: the peer broke the protocol; 2xx: who you are; 3xx: what you wrote; 4xx: what you may;
    /// 5xx: not your fault, try later.
    ReplyCode: u32 {
        /// The packet is malformed.
        BadRequest = 100,
        /// No common protocol version.
        UnsupportedVersion = 101,
        /// Log in first.
        NotLoggedIn = 102,
        /// Only before login.
        AlreadyLoggedIn = 103,
        /// The server does not know this command.
        UnknownCommand = 104,
        /// Unknown account or wrong password.
        BadCredentials = 200,
        /// Too many attempts; see the retry time.
        Throttled = 201,
        /// The session token is void: log in with the password.
        SessionExpired = 202,
        /// An operator disabled the account.
        AccountDisabled = 203,
        /// The policy allows one session, and there is one.
        LoggedInElsewhere = 204,
        /// Revoke one first.
        TooManyDevices = 205,
        /// A newer login of this device took over.
        Fenced = 206,
        /// This server takes no registrations.
        RegistrationClosed = 207,
        /// Not a name one can have.
        InvalidName = 300,
        /// The name, or one that looks like it, is taken.
        NameTaken = 301,
        /// Too short or too long.
        InvalidPassword = 302,
        /// Empty, too long, or with characters that are refused.
        InvalidText = 303,
        /// A field is out of range.
        InvalidArgument = 304,
        /// It does not exist, or not for you.
        NotFound = 400,
        /// Your role does not allow it.
        Forbidden = 401,
        /// They take messages from friends only.
        NotFriends = 402,
        /// An admin muted you.
        Muted = 403,
        /// The same client message id was used for something else.
        Conflict = 405,
        /// A limit of this server.
        LimitExceeded = 406,
        /// Messages can be edited and recalled for 24 hours.
        TooLate = 407,
        /// The message was recalled.
        AlreadyRecalled = 408,
        /// An owner transfers the group before leaving.
        OwnerMustTransfer = 409,
        /// The group was deleted.
        GroupDeleted = 410,
        /// The application refused it.
        RefusedByPolicy = 411,
        /// A defect of the server; logged.
        Internal = 500,
        /// The store is not available; it may or may not have happened: retry with the same client message id.
        TryAgain = 501,
        /// Overloaded: nothing was done.
        Busy = 502,
        /// The node drains: nothing was done, ask another.
        ShuttingDown = 503,
    }
}

codes! {
    /// Why a session or connection ends.
    CloseCode: u16 {
        /// By agreement.
        Normal = 0,
        /// The node drains; come back.
        GoingAway = 1,
        /// A newer login of this device, or another one under the `reject` and `max_devices` policies' rules.
        Replaced = 2,
        /// The device was revoked or the password changed.
        Revoked = 3,
        /// The peer broke the protocol.
        ProtocolError = 4,
        /// Nothing was heard for too long.
        Timeout = 5,
        /// It read nothing for too long.
        SlowConsumer = 6,
        /// Too many connections, or too much from a guest.
        Overloaded = 7,
        /// The user logged out.
        LoggedOut = 8,
        /// A defect of the server; logged.
        Internal = 9,
        /// An operator disabled the account.
        AccountDisabled = 10,
        /// A packet was larger than allowed.
        PacketTooLarge = 11,
        /// No common protocol version.
        UnsupportedVersion = 12,
    }
}
