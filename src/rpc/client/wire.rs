//! What a server sends, decoded.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::ClientError;
use super::types::{Exit, Stream};
use crate::rpc::methods::process::{ExitFacts, StreamName};

/// A message of a server.
#[derive(Debug)]
pub(super) enum Incoming<'a> {
    /// The answer to a call: the result's JSON, or the server's error.
    Answer {
        id: i64,
        outcome: Result<&'a str, ClientError>,
    },
    /// A notification with its parameters' JSON.
    Notice {
        method: Cow<'a, str>,
        params: &'a str,
    },
    /// An error that belongs to no call, such as that another has taken the session.
    Complaint(String),
    /// What a client has no use for.
    Other,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
    #[serde(default)]
    error: Option<ErrorBody>,
}

#[derive(Deserialize)]
struct ErrorBody {
    code: i64,
    #[serde(default)]
    message: String,
}

/// Decodes one message. The error says what is wrong with it.
pub(super) fn decode(message: &[u8]) -> Result<Incoming<'_>, String> {
    let text = std::str::from_utf8(message).map_err(|error| error.to_string())?;
    if !text.trim_ascii_start().starts_with('{') {
        return Err("it is no JSON object".to_owned());
    }
    let envelope: Envelope<'_> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    if let Some(method) = envelope.method {
        // The reference's servers ask nothing of a client, so a request is like any stranger's.
        return Ok(match envelope.id {
            None => Incoming::Notice {
                method,
                params: envelope.params.map_or("null", RawValue::get),
            },
            Some(_) => Incoming::Other,
        });
    }
    let id: Option<i64> = envelope.id.and_then(|id| id.get().parse().ok());
    let outcome = match envelope.error {
        Some(ErrorBody { message, .. }) if id.is_none_or(|id| id < 0) => {
            return Ok(Incoming::Complaint(message));
        }
        Some(ErrorBody { code, message }) => Err(ClientError::Rejected { code, message }),
        None => Ok(envelope.result.map_or("null", RawValue::get)),
    };
    Ok(id.map_or(Incoming::Other, |id| Incoming::Answer { id, outcome }))
}

/// Decodes a result.
pub(super) fn result<'a, T: Deserialize<'a>>(
    method: &str,
    json: &'a str,
) -> Result<T, ClientError> {
    serde_json::from_str(json).map_err(|error| {
        ClientError::Protocol(format!("the answer to {method} makes no sense: {error}"))
    })
}

impl From<StreamName> for Stream {
    fn from(name: StreamName) -> Self {
        match name {
            StreamName::Stdout => Self::Stdout,
            StreamName::Stderr => Self::Stderr,
            StreamName::Pty => Self::Pty,
        }
    }
}

impl From<ExitFacts> for Exit {
    fn from(facts: ExitFacts) -> Self {
        let signal = facts.signal.map(|name| match name.strip_prefix("SIG") {
            Some(bare) => bare.to_owned(),
            None => name,
        });
        Self {
            // 0.130 says -1 of a process that a signal has ended; none at all is as little known.
            code: facts.exit_code.unwrap_or(-1),
            signal,
            timed_out: facts.timed_out.unwrap_or(false),
            sandbox_denied: facts.sandbox_denied.unwrap_or(false),
            denial: facts.sandbox_denial,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::methods::process::EndParams;

    #[test]
    fn answers_notices_and_complaints_are_told_apart() {
        let answer = decode(br#"{"id":7,"result":null}"#).unwrap();
        assert!(matches!(
            answer,
            Incoming::Answer {
                id: 7,
                outcome: Ok("null")
            }
        ));
        let error = decode(br#"{"error":{"code":-32004,"message":"no"},"id":8}"#).unwrap();
        let Incoming::Answer {
            id: 8,
            outcome: Err(error),
        } = error
        else {
            panic!("{error:?}")
        };
        assert_eq!(
            error.to_string(),
            "exec-server rejected request (-32004): no"
        );
        let complaint = decode(br#"{"error":{"code":1,"message":"taken"},"id":-1}"#).unwrap();
        assert!(matches!(complaint, Incoming::Complaint(text) if text == "taken"));
        let notice = decode(br#"{"method":"m","params":{"a":1}}"#).unwrap();
        assert!(matches!(
            notice,
            Incoming::Notice {
                params: r#"{"a":1}"#,
                ..
            }
        ));
        for other in [r#"{"id":"x","result":1}"#, r#"{"id":1,"method":"ask"}"#] {
            assert!(matches!(decode(other.as_bytes()), Ok(Incoming::Other)));
        }
        for bad in [
            &b"Welcome"[..],
            b"42",
            b"{",
            b"\xff{}",
            b"{\"id\":1,\"id\":2}",
        ] {
            assert!(decode(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_exit_is_understood_from_every_generation() {
        let exit =
            |json: &str| Exit::from(serde_json::from_str::<EndParams<'_>>(json).unwrap().exit);
        let old = exit(r#"{"processId":"p","seq":1,"exitCode":3}"#);
        assert_eq!((old.code, old.signal, old.timed_out), (3, None, false));
        let ours = exit(
            r#"{"processId":"p","seq":1,"exitCode":137,"sandboxDenied":true,"signal":"SIGKILL","timedOut":true}"#,
        );
        assert_eq!((ours.code, ours.signal.as_deref()), (137, Some("KILL")));
        assert!(ours.timed_out && ours.sandbox_denied);
    }
}
