//! Why a connection or a request is refused: a closed list, for the log and for metrics.

/// Why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A page in a browser.
    Origin,
    /// A name that is not ours.
    Host,
    /// No token, or a wrong one.
    Token,
    /// A user who may not run commands as us.
    User,
    /// Too many connections.
    Connections,
    /// No good request for a connection.
    Request,
    /// The server ends.
    Ending,
    /// The network, or TLS.
    Transport,
    /// A request of a client, for another limit.
    Limits,
    /// A request of a client, for the policy in it.
    Policy,
}

impl Cause {
    /// All, in their order.
    pub(crate) const ALL: [Self; 10] = [
        Self::Origin,
        Self::Host,
        Self::Token,
        Self::User,
        Self::Connections,
        Self::Request,
        Self::Ending,
        Self::Transport,
        Self::Limits,
        Self::Policy,
    ];

    /// The name in the log and in metrics, which is stable.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Origin => "origin",
            Self::Host => "host",
            Self::Token => "token",
            Self::User => "user",
            Self::Connections => "connections",
            Self::Request => "request",
            Self::Ending => "ending",
            Self::Transport => "transport",
            Self::Limits => "limits",
            Self::Policy => "policy",
        }
    }

    /// Whether somebody was kept out who may be an attacker, or cannot get in for a setting.
    pub(crate) const fn is_warning(self) -> bool {
        matches!(
            self,
            Self::Origin | Self::Host | Self::Token | Self::User | Self::Connections
        )
    }
}
