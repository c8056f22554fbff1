//! Why this machine is not offered.

use std::fmt;
use std::time::Duration;

/// The service that a registration is made with. Each has its own words, which scripts look for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// `--cloud`.
    CloudEnvironments,
    /// `--remote` with `--executor-id`.
    ExecutorRegistry,
    /// `--remote` with `--environment-id`.
    EnvironmentRegistry,
}

impl Service {
    /// What its requests are called in messages.
    fn requests(self) -> &'static str {
        match self {
            Self::CloudEnvironments => "cloud environments",
            Self::ExecutorRegistry => "executor registry",
            Self::EnvironmentRegistry => "environment registry",
        }
    }

    /// What its other errors are called.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::CloudEnvironments => "cloud environment",
            other => other.requests(),
        }
    }
}

/// Why a registration, or what leads to it, failed. `Display` is the message for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CloudError {
    /// The flags or variables make no sense.
    Configuration(Service, String),
    /// There are no credentials that the service would take.
    Authentication(Service, String),
    /// The credentials could not be read just now; others write them too.
    Unreadable(Service, String),
    /// The credentials were refused, and could not be renewed.
    Unauthorized {
        /// By whom.
        service: Service,
        /// As `401 Unauthorized`.
        status: String,
        /// Its words.
        message: String,
    },
    /// The service answered with a status that is no success.
    Rejected {
        /// Who answered.
        service: Service,
        /// The number.
        status: u16,
        /// As `409 Conflict`.
        shown: String,
        /// The service's own code, if it gave one.
        code: Option<String>,
        /// Its words, or ours.
        message: String,
        /// When it wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// No answer.
    Unreachable(Service, String),
    /// An answer that is not what was asked for.
    Malformed(Service, String),
    /// An answer that must not be acted upon.
    Unsafe(Service, String),
    /// The connection to the rendezvous was refused for good.
    Refused(Service, String),
}

impl CloudError {
    /// Whether the same may go well later.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            Self::Rejected { status, .. } => matches!(status, 408 | 429 | 500..),
            Self::Unreachable(..) | Self::Malformed(..) | Self::Unreadable(..) => true,
            _ => false,
        }
    }

    /// How long the service wants to be left alone, if it said so.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Rejected { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

impl fmt::Display for CloudError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configuration(service, what) => {
                write!(f, "{} configuration error: {what}", service.name())
            }
            Self::Authentication(service, what) | Self::Unreadable(service, what) => {
                write!(f, "{} authentication error: {what}", service.name())
            }
            Self::Unauthorized {
                service: Service::CloudEnvironments,
                status,
                message,
            } => write!(f, "cloud environments request failed ({status}): {message}"),
            Self::Unauthorized {
                service,
                status,
                message,
            } => {
                let name = service.name();
                write!(
                    f,
                    "{name} authentication error: {name} authentication failed ({status}): {message}"
                )
            }
            Self::Rejected {
                service,
                shown,
                code,
                message,
                ..
            } => {
                write!(f, "{} request failed ({shown}", service.requests())?;
                if let Some(code) = code {
                    write!(f, ", {code}")?;
                }
                write!(f, "): {message}")
            }
            Self::Unreachable(service, why) => {
                write!(f, "{} request failed: {why}", service.requests())
            }
            Self::Malformed(service, why) => write!(
                f,
                "{} request failed: error decoding response body: {why}",
                service.requests()
            ),
            Self::Unsafe(service, why) | Self::Refused(service, why) => {
                write!(f, "{} {why}", service.requests())
            }
        }
    }
}

impl std::error::Error for CloudError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn rejected(service: Service, status: u16, shown: &str, code: Option<&str>) -> CloudError {
        CloudError::Rejected {
            service,
            status,
            shown: shown.into(),
            code: code.map(str::to_owned),
            message: "no executor is online".into(),
            retry_after: None,
        }
    }

    #[test]
    fn the_words_are_the_reference_s() {
        let conflict = |service| {
            rejected(service, 409, "409 Conflict", Some("no_online_executor")).to_string()
        };
        assert_eq!(
            conflict(Service::ExecutorRegistry),
            "executor registry request failed (409 Conflict, no_online_executor): no executor is online"
        );
        assert_eq!(
            conflict(Service::CloudEnvironments),
            "cloud environments request failed (409 Conflict, no_online_executor): no executor is online"
        );
        let expired = CloudError::Unauthorized {
            service: Service::ExecutorRegistry,
            status: "401 Unauthorized".into(),
            message: "expired token".into(),
        };
        assert_eq!(
            expired.to_string(),
            "executor registry authentication error: executor registry authentication failed \
             (401 Unauthorized): expired token"
        );
        assert_eq!(
            CloudError::Unsafe(
                Service::EnvironmentRegistry,
                "returned a different environment id".into()
            )
            .to_string(),
            "environment registry returned a different environment id"
        );
    }

    #[test]
    fn what_may_go_well_later_is_tried_again() {
        for (status, transient) in [
            (307, false),
            (400, false),
            (404, false),
            (408, true),
            (409, false),
            (429, true),
            (500, true),
            (503, true),
        ] {
            let error = rejected(Service::EnvironmentRegistry, status, "", None);
            assert_eq!(error.is_transient(), transient, "{status}");
        }
    }
}
