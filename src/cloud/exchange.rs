//! One POST and its answer.

use std::io::Read;
use std::time::Duration;

use crate::calendar;
use crate::net::http::{FetchError, Network, Request};

/// From the first lookup to the last byte of the answer; the reference has no limit and hangs.
const DEADLINE: Duration = Duration::from_secs(10);
/// Answers are some hundred bytes.
const MAX_ANSWER: u64 = 1024 * 1024;

/// What a server said, whatever its status.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) retry_after: Option<Duration>,
    pub(super) body: Vec<u8>,
}

impl Response {
    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The status as `409 Conflict`.
    pub(super) fn status_line(&self) -> String {
        let reason = ureq::http::StatusCode::from_u16(self.status)
            .ok()
            .and_then(|status| status.canonical_reason());
        format!(
            "{} {}",
            self.status,
            reason.unwrap_or("<unknown status code>")
        )
    }
}

/// Posts `body`. Redirects are not followed: they would take the token along.
///
/// # Errors
/// Why there is no answer, without the URL, whose query may be a secret.
pub(super) fn post(
    network: &Network,
    url: &str,
    headers: &[(&str, &str)],
    body: Vec<u8>,
) -> Result<Response, String> {
    let mut request = Request::new("POST", url).map_err(|error| error.to_string())?;
    for (name, value) in headers {
        request
            .header(name, value, None)
            .map_err(|error| error.to_string())?;
    }
    request.body = body;
    request.timeout = Some(DEADLINE);
    request.follows_redirects = false;
    let reply = network.fetch(request).run().map_err(reason)?;
    let named = |name: &str| reply.headers.iter().find(|(its, _)| its == name);
    let retry_after = named("retry-after").and_then(|(_, value)| retry_after(value));
    let mut body = Vec::new();
    reply
        .body
        .take(MAX_ANSWER)
        .read_to_end(&mut body)
        .map_err(|error| format!("the answer breaks off: {error}"))?;
    Ok(Response {
        status: reply.status,
        retry_after,
        body,
    })
}

fn reason(error: FetchError) -> String {
    match error {
        FetchError::Send { why, .. } => why,
        FetchError::TimedOut(limit) => format!("request timed out after {limit:?}"),
        error => error.to_string(),
    }
}

/// Seconds, or a date.
fn retry_after(value: &str) -> Option<Duration> {
    let seconds = value
        .parse()
        .ok()
        .or_else(|| u64::try_from(calendar::parse_http_date(value)? - calendar::now()).ok());
    seconds.map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_to_come_again_is_read_in_both_forms() {
        assert_eq!(retry_after("7"), Some(Duration::from_secs(7)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:37 GMT"), None);
        let later = retry_after("Sun, 06 Nov 2094 08:49:37 GMT").unwrap();
        assert!(later > Duration::from_secs(86_400));
        assert_eq!(retry_after("soon"), None);
        assert_eq!(retry_after("-1"), None);
    }
}
