//! Asking a control plane for a rendezvous, in the four forms that are in use.
//!
//! | form | request | the connection at the rendezvous |
//! | --- | --- | --- |
//! | cloud | `POST {base}/api/cloud/executor` | one client |
//! | executor | `POST {base}/cloud/executor/{id}/register` | one client |
//! | relay | `POST {base}/cloud/environment/{id}/register` | many clients, in relay frames |
//! | direct | `POST {base}/cloud/environment/{id}/direct/register` | one client |

use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::auth::{Authority, Credential, Recovery};
use super::error::{CloudError, Service};
use super::exchange::{self, Response};
use super::target;
use crate::hex::hex;
use crate::net::Target;
use crate::net::http::Network;
use crate::net::redact::redacted_in_place;
use crate::sys::random;
use crate::visible::Visible;

/// What the idempotency ids of all launches begin with.
const PRODUCT: &str = "codex-exec-server";
/// The version of how they are made.
const ID_VERSION: &str = "codex-exec-server-v1";
/// What is shown of anything in an answer, in characters.
const PREVIEW: usize = 4096;
/// What the direct form is called on the wire.
const DIRECT: &str = "direct_jsonrpc_v1";

/// What is registered, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// An executor that gets an environment, or joins the one that is named.
    Cloud {
        base: String,
        environment: Option<String>,
        name: String,
    },
    /// An executor that has an id already.
    Executor {
        base: String,
        id: String,
        name: String,
    },
    /// An environment, for clients in relay frames.
    Relay { base: String, id: String },
    /// An environment, for one client at a time.
    Direct { base: String, id: String },
}

/// What a registration leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Registration {
    /// Where clients come from; its query is a signature.
    pub(super) rendezvous: Target,
    /// What the reference says on standard error.
    pub(super) news: Option<String>,
}

/// What tells two launches of a program apart: 16 random bytes in the form of a UUID.
#[derive(Clone, Debug)]
pub(super) struct Launch([u8; 16]);

impl Launch {
    pub(super) fn new() -> std::io::Result<Self> {
        random::uuid().map(Self)
    }

    /// An id by which the service knows that it is asked again for the same thing.
    fn idempotency_id(&self, parts: &[&str]) -> String {
        let mut hash = Sha256::new();
        for part in parts.iter().chain(&[ID_VERSION]) {
            hash.update(part);
            hash.update([0]);
        }
        hash.update(self.0);
        format!("{PRODUCT}-{}", hex(&hash.finalize()))
    }
}

impl Form {
    pub(super) fn service(&self) -> Service {
        match self {
            Self::Cloud { .. } => Service::CloudEnvironments,
            Self::Executor { .. } => Service::ExecutorRegistry,
            Self::Relay { .. } | Self::Direct { .. } => Service::EnvironmentRegistry,
        }
    }

    fn base(&self) -> &str {
        match self {
            Self::Cloud { base, .. }
            | Self::Executor { base, .. }
            | Self::Relay { base, .. }
            | Self::Direct { base, .. } => base,
        }
    }

    fn endpoint(&self) -> String {
        match self {
            Self::Cloud { base, .. } => format!("{base}/api/cloud/executor"),
            Self::Executor { base, id, .. } => format!("{base}/cloud/executor/{id}/register"),
            Self::Relay { base, id } => format!("{base}/cloud/environment/{id}/register"),
            Self::Direct { base, id } => format!("{base}/cloud/environment/{id}/direct/register"),
        }
    }

    fn body(&self, launch: &Launch, account: &str) -> Option<Value> {
        match self {
            Self::Cloud {
                environment, name, ..
            } => {
                let shown = environment.as_deref().unwrap_or("auto");
                let mut body = json!({
                    "idempotency_id": launch.idempotency_id(&[account, shown, name]),
                    "name": name,
                    "labels": {},
                    "metadata": {},
                });
                if let Some(environment) = environment {
                    body["environment_id"] = environment.as_str().into();
                }
                Some(body)
            }
            Self::Executor { id, name, .. } => Some(json!({
                "idempotency_id": launch.idempotency_id(&[id, name]),
                "executor_id": id,
                "name": name,
                "labels": {},
                "metadata": {},
            })),
            Self::Relay { .. } => None,
            Self::Direct { .. } => Some(json!({ "transport": DIRECT })),
        }
    }

    /// Reads the answer, and believes nothing of it that is not ours.
    fn accept(&self, body: &[u8]) -> Result<Registration, CloudError> {
        let service = self.service();
        let answer: Reply = serde_json::from_slice(body)
            .map_err(|error| CloudError::Malformed(service, excerpt(&error.to_string())))?;
        let unfit = |what: String| CloudError::Unsafe(service, format!("returned {what}"));
        let missing =
            |name: &str| CloudError::Malformed(service, format!("missing field `{name}`"));
        let same = |what: &str, wanted: &str, got: &str| {
            if got == wanted {
                Ok(())
            } else {
                Err(unfit(format!("a different {what} id")))
            }
        };
        let environment = || {
            answer
                .environment_id
                .as_deref()
                .ok_or(missing("environment_id"))
        };
        let name = || answer.id.as_deref().ok_or(missing("id"));
        let mut news = None;
        match self {
            Self::Cloud {
                environment: wanted,
                ..
            } => {
                if let Some(wanted) = wanted {
                    same("environment", wanted, environment()?)?;
                }
                news = Some(format!(
                    "codex exec-server cloud executor {} registered in environment {}",
                    name()?,
                    environment()?
                ));
            }
            Self::Executor { id, .. } => {
                let executor = answer.executor_id.as_deref();
                same("executor", id, executor.ok_or(missing("executor_id"))?)?;
                news = Some(format!(
                    "codex exec-server remote executor {} registered with executor_id {id}",
                    name()?
                ));
            }
            Self::Relay { id, .. } => {
                same("environment", id, environment()?)?;
                if let Some(profile) = &answer.security_profile {
                    let profile = excerpt(profile);
                    return Err(unfit(format!("unsupported security profile `{profile}`")));
                }
            }
            Self::Direct { id, .. } => {
                same("environment", id, environment()?)?;
                answer
                    .registration_id
                    .as_ref()
                    .ok_or(missing("registration_id"))?;
                let transport = answer.transport.as_deref().ok_or(missing("transport"))?;
                if transport != DIRECT {
                    let transport = excerpt(transport);
                    return Err(unfit(format!("unsupported direct transport `{transport}`")));
                }
            }
        }
        let url = answer.url.as_deref().ok_or(missing("url"))?;
        Ok(Registration {
            rendezvous: target::rendezvous(url, self.base())
                .map_err(|error| unfit(format!("a rendezvous URL that {error}")))?,
            news: news.map(|news| excerpt(&news)),
        })
    }
}

/// What any of the answers may have; the rest is not ours to judge.
#[derive(Deserialize)]
struct Reply {
    id: Option<String>,
    executor_id: Option<String>,
    environment_id: Option<String>,
    registration_id: Option<String>,
    url: Option<String>,
    transport: Option<String>,
    security_profile: Option<String>,
}

/// Registers once. A refused token leads to at most two more requests.
pub(super) fn register(
    form: &Form,
    launch: &Launch,
    authority: &mut Authority,
    network: &Network,
) -> Result<Registration, CloudError> {
    let service = form.service();
    let mut credential = authority.credential(service, network)?;
    let mut recovery = Recovery::Reload;
    loop {
        let answer = ask(form, launch, &credential, network)
            .map_err(|why| CloudError::Unreachable(service, why))?;
        if answer.is_success() {
            return form.accept(&answer.body);
        }
        let other = match answer.status {
            401 => authority.recover(&mut recovery, &credential, service, network)?,
            _ => None,
        };
        match other {
            Some(other) => credential = other,
            None => return Err(refusal(service, &answer)),
        }
    }
}

fn ask(
    form: &Form,
    launch: &Launch,
    credential: &Credential,
    network: &Network,
) -> Result<Response, String> {
    let bearer = credential.bearer();
    let mut headers = vec![("accept", "*/*"), ("authorization", &bearer)];
    if let Some(account) = credential.account() {
        headers.push(("chatgpt-account-id", account));
    }
    let body = form.body(launch, credential.account().unwrap_or_default());
    if body.is_some() {
        headers.push(("content-type", "application/json"));
    }
    let body = body.map_or(Vec::new(), |body| body.to_string().into_bytes());
    exchange::post(network, &form.endpoint(), &headers, body)
}

#[derive(Deserialize)]
struct ErrorBody {
    error: ErrorFields,
}

#[derive(Deserialize)]
struct ErrorFields {
    code: Option<String>,
    message: Option<String>,
}

/// The beginning of what a service says, without what could steer a terminal or sign a URL.
fn excerpt(text: &str) -> String {
    let beginning: String = text.chars().take(PREVIEW).collect();
    Visible(redacted_in_place(&beginning)).to_string()
}

fn refusal(service: Service, answer: &Response) -> CloudError {
    let shown = answer.status_line();
    let text = String::from_utf8_lossy(&answer.body);
    let parsed = serde_json::from_slice::<ErrorBody>(&answer.body);
    let (code, told, otherwise) = match parsed {
        Ok(ErrorBody { error }) => (error.code, error.message, "empty error body"),
        Err(_) => (None, None, "empty or malformed error body"),
    };
    let message = match told.as_deref().unwrap_or(&text).trim() {
        "" => otherwise.to_owned(),
        message => excerpt(message),
    };
    if matches!(answer.status, 401 | 403) {
        return CloudError::Unauthorized {
            service,
            status: shown,
            message,
        };
    }
    CloudError::Rejected {
        service,
        status: answer.status,
        shown,
        code: code.as_deref().map(excerpt),
        message,
        retry_after: answer.retry_after,
    }
}

#[cfg(test)]
mod tests;
