//! HTTP requests on the server's network.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::files::from_base64;
use super::process::millis;
use super::session::Session;
use super::throttle::{EVENT_COST, ReadThrottle};
use super::{ClientError, ExecServerClient};
use crate::deadline;
use crate::rpc::methods::Method;
use crate::rpc::methods::http::{
    BodyDeltaParams, Header, HeaderParams, HttpRequestParams, MAX_BODY, RedirectPolicy, Request,
};
use crate::rpc::{base64, encode};
use crate::sys::sync::{Condvar, Mutex};

/// An HTTP request to make on the environment's network.
#[derive(Clone, Debug, Default)]
pub struct HttpRequest {
    /// Any token.
    pub method: String,
    /// Of `http` or `https`.
    pub url: String,
    /// In order, with repeats.
    pub headers: Vec<(String, String)>,
    /// What to send along.
    pub body: Vec<u8>,
    /// For everything including the body of the answer.
    pub timeout: Option<Duration>,
    /// Whether redirects are followed, ten at most, or answered with.
    pub follows_redirects: bool,
}

/// The answer to an HTTP request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpResponse {
    /// The status code.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// All of it.
    pub body: Vec<u8>,
}

/// What the answer may take beyond the request's own limit, for the way to the server.
const SLACK: Duration = Duration::from_secs(10);

/// The body of an answer, as it comes. Dropping it lets the rest go unread; the connection reads
/// on meanwhile.
pub struct HttpBody {
    session: Arc<Session>,
    id: String,
    queue: Arc<BodyQueue>,
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
        let (session, _) = self.connector().ready()?;
        let (id, queue) = session.open_body();
        let body = HttpBody {
            session: Arc::clone(&session),
            id,
            queue,
            deadline: request.timeout.map(|limit| deadline::after(limit) + SLACK),
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
            .connector()
            .call_in(&session, Request::NAME, &write, limit, false)?;
        let reply = answer.reply::<Request>()?;
        let pair = |header: &Header<'_>| (header.name.to_string(), header.value.to_string());
        let response = HttpResponse {
            status: reply.status,
            headers: reply.headers.iter().map(pair).collect(),
            body: from_base64(Request::NAME, &reply.body_base64)?,
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
        self.queue.next(left)
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

/// Where the pieces of one body go.
#[derive(Debug)]
pub(crate) struct BodyQueue {
    throttle: Arc<ReadThrottle>,
    state: Mutex<State>,
    told: Condvar,
}

#[derive(Debug, Default)]
struct State {
    last_seq: u64,
    pieces: VecDeque<Vec<u8>>,
    is_done: bool,
    failure: Option<String>,
}

impl BodyQueue {
    pub(crate) fn new(throttle: Arc<ReadThrottle>) -> Self {
        Self {
            throttle,
            state: Mutex::default(),
            told: Condvar::new(),
        }
    }

    /// The error ends the connection.
    pub(crate) fn accept(&self, delta: &BodyDeltaParams<'_>) -> Result<(), String> {
        let data = base64::decode(&delta.delta_base64)
            .map_err(|error| format!("the body of an HTTP answer is no base64: {error}"))?;
        let mut state = self.state.lock();
        if state.is_done || delta.seq <= state.last_seq {
            return Ok(());
        }
        if delta.seq != state.last_seq + 1 {
            state.failure = Some("a piece of the HTTP body is missing".to_owned());
        }
        state.last_seq = delta.seq;
        state.is_done = delta.done;
        if let Some(error) = &delta.error {
            state.failure.get_or_insert_with(|| error.clone());
        }
        if !data.is_empty() {
            self.throttle.add(data.len() + EVENT_COST);
            state.pieces.push_back(data);
        }
        self.told.notify_all();
        Ok(())
    }

    pub(crate) fn fail(&self, why: &str) {
        self.state
            .lock()
            .failure
            .get_or_insert_with(|| why.to_owned());
        self.told.notify_all();
    }

    /// The next piece; none at the end.
    pub(crate) fn next(&self, timeout: Option<Duration>) -> Result<Option<Vec<u8>>, ClientError> {
        let _waiter = self.throttle.waiter();
        let waits = |state: &mut State| {
            state.pieces.is_empty() && !state.is_done && state.failure.is_none()
        };
        let mut state = match timeout {
            Some(limit) => {
                let waited = self
                    .told
                    .wait_timeout_while(self.state.lock(), limit, waits);
                waited.0
            }
            None => self.told.wait_while(self.state.lock(), waits),
        };
        if let Some(piece) = state.pieces.pop_front() {
            self.throttle.release(piece.len() + EVENT_COST);
            return Ok(Some(piece));
        }
        match &state.failure {
            Some(why) => Err(ClientError::Disconnected(why.clone())),
            None if state.is_done => Ok(None),
            None => Err(ClientError::TimedOut(
                "the body of the HTTP answer did not come in time".to_owned(),
            )),
        }
    }
}

impl Drop for BodyQueue {
    fn drop(&mut self) {
        let state = self.state.get_mut();
        let cost = |piece: &Vec<u8>| piece.len() + EVENT_COST;
        self.throttle.release(state.pieces.iter().map(cost).sum());
    }
}
