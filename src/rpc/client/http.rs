//! HTTP requests on the server's network.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::files::decode;
use super::http_body::BodyRoute;
use super::process::millis;
use super::session::Session;
use super::types::{HttpRequest, HttpResponse};
use super::{ClientError, ExecServerClient};
use crate::rpc::methods::Method;
use crate::rpc::methods::http::{
    Header, HeaderParams, HttpRequestParams, MAX_BODY, RedirectPolicy, Request,
};
use crate::rpc::{base64, encode};

/// What the answer may take beyond the request's own limit, for the way to the server.
const SLACK: Duration = Duration::from_secs(10);

/// The body of an answer, as it comes. Dropping it lets the rest go unread; the connection reads
/// on meanwhile.
pub struct HttpBody {
    session: Arc<Session>,
    id: String,
    route: Arc<BodyRoute>,
    deadline: Option<Instant>,
    /// Keeps the client.
    _client: ExecServerClient,
}

impl ExecServerClient {
    /// Makes a request; the body of the answer in one piece, of 49,545,216 bytes at most.
    ///
    /// # Errors
    /// The server cannot be reached, or the request failed.
    pub fn http(&self, request: &HttpRequest) -> Result<HttpResponse, ClientError> {
        let (mut response, mut body) = self.http_streamed(request)?;
        while let Some(piece) = body.next_piece()? {
            // What the server would have refused to hold need not be held here either.
            if response.body.len() + piece.len() > MAX_BODY {
                return Err(ClientError::Protocol(format!(
                    "http/request gave a body of more than {MAX_BODY} bytes; read it in pieces"
                )));
            }
            response.body.extend_from_slice(&piece);
        }
        Ok(response)
    }

    /// Makes a request; the response has no body, which is read from what comes with it.
    ///
    /// # Errors
    /// As [`ExecServerClient::http`].
    pub fn http_streamed(
        &self,
        request: &HttpRequest,
    ) -> Result<(HttpResponse, HttpBody), ClientError> {
        let (session, _) = self.shared().ready()?;
        let (id, route) = session.open_body();
        let body = HttpBody {
            session: Arc::clone(&session),
            id,
            route,
            deadline: request.timeout.map(|limit| Instant::now() + limit + SLACK),
            _client: self.clone(),
        };
        let header = |(name, value): &'_ (String, String)| HeaderParams {
            name: name.clone().into(),
            value: value.clone().into(),
            value_env_var: None,
        };
        let params = HttpRequestParams {
            method: (&*request.method).into(),
            url: (&*request.url).into(),
            headers: request.headers.iter().map(header).collect(),
            body_base64: (!request.body.is_empty()).then(|| base64::encode(&request.body).into()),
            timeout_ms: request.timeout.map(millis),
            redirect_policy: Some(match request.follows_redirects {
                true => RedirectPolicy::Follow,
                false => RedirectPolicy::Stop,
            }),
            request_id: (&*body.id).into(),
            stream_response: true,
        };
        let write = |out: &mut Vec<u8>| encode::json(out, &params);
        let limit = request.timeout.map(|limit| limit + SLACK);
        let answer = self
            .shared()
            .call_in(&session, Request::NAME, &write, limit, false)?;
        let reply = answer.reply::<Request>()?;
        let pair = |header: &Header<'_>| (header.name.to_string(), header.value.to_string());
        let response = HttpResponse {
            status: reply.status,
            headers: reply.headers.iter().map(pair).collect(),
            body: decode(Request::NAME, &reply.body_base64)?,
        };
        Ok((response, body))
    }
}

impl HttpBody {
    /// The next piece; none at the end.
    ///
    /// # Errors
    /// The body broke off, the connection is lost, or the request's time is up.
    pub fn next_piece(&mut self) -> Result<Option<Vec<u8>>, ClientError> {
        let left = self
            .deadline
            .map(|deadline| deadline.saturating_duration_since(Instant::now()));
        self.route.next(left)
    }
}

impl Drop for HttpBody {
    fn drop(&mut self) {
        self.session.close_body(&self.id);
    }
}

impl fmt::Debug for HttpBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HttpBody").field(&self.id).finish()
    }
}
