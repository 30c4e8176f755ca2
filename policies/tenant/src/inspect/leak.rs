//! What can be wrong with an answer.

/// Why an answer is not one for the request's tenant, or cannot be told to be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Leak {
    /// A guarded field names another tenant, or holds what names none.
    Field,
    /// A record or a whole answer lacks the field that it must have.
    Unattributed,
    /// Another tenant's canary.
    Canary,
    /// The upstream says that it answered another tenant.
    EchoTenant,
    /// The upstream answered another request: connections or queues are out of step.
    EchoRequest,
    /// The upstream does not say whom it answered.
    EchoMissing,
    /// Not the format that it says it is, or cut short: nobody can tell what a client reads there.
    Malformed,
    /// Nested deeper than is looked at.
    TooDeep,
    /// Compressed or in another character set, although neither was asked for.
    Encoded,
    /// A part of an answer, although a whole one was asked for.
    Partial,
    /// A format that is not looked into.
    ContentType,
    /// The connection became a tunnel.
    Tunnel,
    /// A record, or a held answer, is larger than the configuration allows.
    TooLarge,
}

impl Leak {
    /// Every kind.
    pub const ALL: [Self; 13] = [
        Self::Field,
        Self::Unattributed,
        Self::Canary,
        Self::EchoTenant,
        Self::EchoRequest,
        Self::EchoMissing,
        Self::Malformed,
        Self::TooDeep,
        Self::Encoded,
        Self::Partial,
        Self::ContentType,
        Self::Tunnel,
        Self::TooLarge,
    ];

    /// The kind's name in metrics, events and reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Field => "field",
            Self::Unattributed => "unattributed",
            Self::Canary => "canary",
            Self::EchoTenant => "echo_tenant",
            Self::EchoRequest => "echo_request",
            Self::EchoMissing => "echo_missing",
            Self::Malformed => "malformed",
            Self::TooDeep => "too_deep",
            Self::Encoded => "encoded",
            Self::Partial => "partial",
            Self::ContentType => "content_type",
            Self::Tunnel => "tunnel",
            Self::TooLarge => "too_large",
        }
    }
}
