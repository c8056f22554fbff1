//! HTTP as a client, on this machine's network.
//!
//! ureq carries one exchange; what is more than that is ours. A [`Request`] is checked whole before
//! anything is sent. [`Fetch::run`] follows redirects by the rules of browsers, looks at every
//! address before it is connected to ([`address`]), keeps to one deadline from the first lookup to
//! the last byte of the body, and can be cancelled from another thread ([`Cancel`]).

pub mod address;
mod connect;
mod request;

use std::error::Error as _;
use std::fmt;
use std::io::{self, Read};
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use ureq::config::{AutoHeaderValue, Config};
use ureq::http::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, COOKIE, HOST, HeaderName, LOCATION,
    PROXY_AUTHORIZATION,
};
use ureq::http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Uri};
use ureq::unversioned::transport::{ConnectProxyConnector, Connector, TcpConnector};
use ureq::{Agent, AsSendBody, Body, Proxy, ProxyProtocol, Timeout};

pub use request::{MAX_HEADERS, Request, RequestError, Variable};

use super::proxy;
use super::trust::usual_config;
use super::url::{Url, UrlError};
use address::{CheckedResolver, OffLimits, is_off_limits};
use connect::{ForwardProxyConnector, TlsConnector};

/// How often a request is redirected at most.
const MAX_REDIRECTS: usize = 10;
/// For a lookup, and for a connection with its TLS handshake. Neither can be
/// cancelled, so a request without a timeout has one here.
const CONNECT_TIME: Duration = Duration::from_secs(30);
/// Room for the head of a request, which is written as a whole.
const OUTPUT_BUFFER: usize = 192 * 1024;
/// What is read from the network at once.
const INPUT_BUFFER: usize = 64 * 1024;

/// How requests get out of this machine.
pub struct Network {
    allow_link_local: bool,
    tls: OnceLock<Arc<ClientConfig>>,
}

impl Network {
    /// Through the proxy that the environment names, if any. Link-local
    /// addresses are connected to only if allowed.
    pub fn new(allow_link_local: bool) -> Self {
        Self {
            allow_link_local,
            tls: OnceLock::new(),
        }
    }

    /// Prepares a request.
    pub fn fetch(&self, request: Request) -> Fetch {
        let resolver = CheckedResolver {
            allow_link_local: self.allow_link_local,
        };
        let tls = TlsConnector(Arc::clone(self.tls.get_or_init(usual_config)));
        let connector =
            ().chain(ForwardProxyConnector(tls.clone()))
                .chain(ConnectProxyConnector::default())
                .chain(TcpConnector::default())
                .chain(tls);
        Fetch {
            agent: Agent::with_parts(config(), connector, resolver),
            deadline: request
                .timeout
                .and_then(|timeout| Instant::now().checked_add(timeout)),
            allow_link_local: self.allow_link_local,
            request,
        }
    }
}

fn config() -> Config {
    Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .allow_non_standard_methods(true)
        .user_agent(AutoHeaderValue::None)
        .accept_encoding(AutoHeaderValue::None)
        // A server may close a connection at the moment in which it would be used again.
        .max_idle_connections(0)
        .timeout_resolve(Some(CONNECT_TIME))
        .timeout_connect(Some(CONNECT_TIME))
        .input_buffer_size(INPUT_BUFFER)
        .output_buffer_size(OUTPUT_BUFFER)
        .build()
}

/// One request under way.
pub struct Fetch {
    request: Request,
    agent: Agent,
    deadline: Option<Instant>,
    allow_link_local: bool,
}

/// Ends a request from another thread.
pub struct Cancel(Agent);

impl Cancel {
    /// Closes its connections, at which whoever waits for them fails.
    pub fn cancel(self) {
        self.0.shutdown();
    }
}

/// An answer whose body is still to be read.
pub struct Reply {
    /// The status; none is an error.
    pub status: u16,
    /// Names in lower case, with repeats.
    pub headers: Vec<(String, String)>,
    /// The length of the body, if it is known.
    pub length: Option<u64>,
    /// As it comes, never decompressed.
    pub body: BodyReader,
}

/// Why there is no answer. `Display` is the message for the client.
#[derive(Debug)]
pub enum FetchError {
    /// No server, no connection, or no HTTP.
    Send {
        /// Whom the request was for at last.
        url: String,
        /// What went wrong.
        why: String,
    },
    /// Time is up.
    TimedOut(Duration),
    /// Redirected more often than is followed.
    TooManyRedirects,
    /// Every address of the host is off limits.
    OffLimits(OffLimits),
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("http/request failed: ")?;
        match self {
            Self::Send { url, why } => {
                write!(f, "error sending request for url ({url}): {why}")
            }
            Self::TimedOut(limit) => write!(f, "timed out after {} ms", limit.as_millis()),
            Self::TooManyRedirects => f.write_str("too many redirects"),
            Self::OffLimits(address) => address.fmt(f),
        }
    }
}

impl std::error::Error for FetchError {}

impl Fetch {
    /// What ends this request early.
    pub fn cancel(&self) -> Cancel {
        Cancel(self.agent.clone())
    }

    /// Asks, and waits for the head of the answer.
    pub fn run(self) -> Result<Reply, FetchError> {
        let Request {
            mut method,
            mut url,
            mut headers,
            secret,
            mut body,
            follows_redirects,
            ..
        } = self.request;
        let limits = Limits {
            timeout: self.request.timeout,
            deadline: self.deadline,
        };
        let exchange = Exchange {
            agent: &self.agent,
            allow_link_local: self.allow_link_local,
            limits: &limits,
        };
        for _ in 0..=MAX_REDIRECTS {
            let response = exchange.run(&method, &url, &headers, &body)?;
            let target = if follows_redirects {
                redirect_target(&url, &response)?
            } else {
                None
            };
            let Some(target) = target else {
                return Ok(reply(response, limits));
            };
            if !keeps_method(response.status(), &method) {
                method = Method::GET;
                body = Vec::new();
                headers.remove(CONTENT_TYPE);
                headers.remove(CONTENT_ENCODING);
            }
            if !target.is_same_server(&url) {
                let private = [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION, HOST];
                for name in private.iter().chain(&secret) {
                    headers.remove(name);
                }
            }
            url = target;
        }
        Err(FetchError::TooManyRedirects)
    }
}

/// Where a redirect leads; `None` if it is none that can be followed.
fn redirect_target(url: &Url, response: &Response<Body>) -> Result<Option<Url>, FetchError> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let Some(location) = response.headers().get(LOCATION) else {
        return Ok(None);
    };
    let Ok(location) = std::str::from_utf8(location.as_bytes()) else {
        return Ok(None);
    };
    match url.join(location) {
        Ok(target) => Ok(Some(target)),
        Err(UrlError::Invalid(_)) => Ok(None),
        Err(UrlError::Scheme(scheme)) => Err(FetchError::Send {
            url: url.to_string(),
            why: format!("redirected to a URL of the scheme {scheme}"),
        }),
    }
}

/// Whether a redirected request stays what it was; otherwise it becomes a `GET`.
fn keeps_method(status: StatusCode, method: &Method) -> bool {
    match status {
        StatusCode::SEE_OTHER => *method == Method::HEAD,
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND => *method != Method::POST,
        _ => true,
    }
}

/// One request and its answer, without redirects.
struct Exchange<'a> {
    agent: &'a Agent,
    allow_link_local: bool,
    limits: &'a Limits,
}

#[derive(Clone, Copy)]
struct Limits {
    timeout: Option<Duration>,
    deadline: Option<Instant>,
}

impl Limits {
    /// What is left. `Err` if nothing is.
    fn left(&self) -> Result<Option<Duration>, FetchError> {
        let Some(deadline) = self.deadline else {
            return Ok(None);
        };
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            Err(self.timed_out())
        } else {
            Ok(Some(left))
        }
    }

    fn timed_out(&self) -> FetchError {
        FetchError::TimedOut(self.timeout.unwrap_or_default())
    }
}

impl Exchange<'_> {
    fn run(
        &self,
        method: &Method,
        url: &Url,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<Response<Body>, FetchError> {
        let failed = |why: String| FetchError::Send {
            url: url.to_string(),
            why,
        };
        // The resolver sees no address where a proxy does the connecting.
        let literal: Option<IpAddr> = url.host().parse().ok();
        if let Some(address) = literal.filter(|address| is_off_limits(*address))
            && !self.allow_link_local
        {
            return Err(FetchError::OffLimits(OffLimits(address)));
        }
        let uri: Uri = url
            .to_string()
            .parse()
            .map_err(|error| failed(format!("{error}")))?;
        let mut request = ureq::http::Request::builder()
            .method(method)
            .uri(uri)
            .body(())
            .map_err(|error| failed(format!("{error}")))?;
        *request.headers_mut() = headers.clone();
        if let Some((user, password)) = &url.credentials
            && !headers.contains_key(AUTHORIZATION)
        {
            request
                .headers_mut()
                .insert(AUTHORIZATION, basic(user, password));
        }
        let left = self.limits.left()?;
        let unusable = |why: String| failed(format!("{why}{}", proxy::ADVICE));
        let proxy = proxy::choose(url, true).map_err(unusable)?;
        if let Some(proxy) = proxy.as_ref().filter(|_| !url.is_encrypted()) {
            prepare_for_proxy(request.headers_mut(), url, proxy);
        }
        let proxy = proxy.as_ref().map(library_proxy);
        let proxy = proxy.transpose().map_err(unusable)?;
        // A body that is empty is still one where the method means to have one.
        let has_body =
            !body.is_empty() || matches!(*method, Method::POST | Method::PUT | Method::PATCH);
        let outcome = if has_body {
            self.send(request.map(|()| body), left, proxy)
        } else {
            self.send(request, left, proxy)
        };
        outcome.map_err(|error| match error {
            ureq::Error::Timeout(Timeout::Resolve | Timeout::Connect) => {
                failed(format!("no connection within {CONNECT_TIME:?}"))
            }
            ureq::Error::Timeout(_) => self.limits.timed_out(),
            ureq::Error::Other(other) => match other.downcast::<OffLimits>() {
                Ok(address) => FetchError::OffLimits(*address),
                Err(other) => failed(other.to_string()),
            },
            error => failed(reason(&error)),
        })
    }

    fn send(
        &self,
        request: ureq::http::Request<impl AsSendBody>,
        left: Option<Duration>,
        proxy: Option<Proxy>,
    ) -> Result<Response<Body>, ureq::Error> {
        let configured = self.agent.configure_request(request);
        let configured = configured.timeout_global(left).proxy(proxy);
        self.agent.run(configured.build())
    }
}

/// Changes the headers of one plain request for a proxy, which reads them. Those that a redirect
/// takes along stay as they were.
fn prepare_for_proxy(headers: &mut HeaderMap, url: &Url, proxy: &Url) {
    // A proxy that went by another `Host` than the URL's would connect to a host that was not
    // checked. One that keeps to the standard ignores it.
    if let Ok(host) = HeaderValue::try_from(url.authority()) {
        headers.insert(HOST, host);
    }
    if let Some((user, password)) = &proxy.credentials {
        headers.insert(PROXY_AUTHORIZATION, basic(user, password));
    }
}

/// A proxy as ureq has it.
fn library_proxy(proxy: &Url) -> Result<Proxy, String> {
    let protocol = match proxy.is_encrypted() {
        true => ProxyProtocol::Https,
        false => ProxyProtocol::Http,
    };
    let mut builder = Proxy::builder(protocol)
        .host(proxy.bracketed_host())
        .port(proxy.port());
    if let Some((user, password)) = &proxy.credentials {
        builder = builder
            .username(&String::from_utf8_lossy(user))
            .password(&String::from_utf8_lossy(password));
    }
    builder
        .build()
        .map_err(|error| format!("the proxy {} is not usable: {error}", proxy.authority()))
}

/// An error without the library's preamble, which says only that it is one.
fn reason(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Io(error) => error.to_string(),
        error => match error.source() {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        },
    }
}

fn basic(user: &[u8], password: &[u8]) -> HeaderValue {
    let value = proxy::basic(user, password);
    // Base64 is made of characters that a header may have.
    let mut value = HeaderValue::try_from(value).unwrap_or(HeaderValue::from_static("Basic"));
    value.set_sensitive(true);
    value
}

fn reply(response: Response<Body>, limits: Limits) -> Reply {
    let (head, body) = response.into_parts();
    // What is no text cannot be said in JSON and is left out, as in the reference.
    let text = |(name, value): (&HeaderName, &HeaderValue)| {
        let value = std::str::from_utf8(value.as_bytes()).ok()?;
        Some((name.as_str().to_owned(), value.to_owned()))
    };
    Reply {
        status: head.status.as_u16(),
        headers: head.headers.iter().filter_map(text).collect(),
        length: body.content_length(),
        body: BodyReader {
            reader: body.into_reader(),
            limits,
        },
    }
}

/// The body of an answer. Errors say what went wrong in words for the client.
pub struct BodyReader {
    reader: ureq::BodyReader<'static>,
    limits: Limits,
}

impl Read for BodyReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader
            .read(buffer)
            .map_err(|error| match ureq::Error::from(error) {
                ureq::Error::Timeout(_) => {
                    let limit = self.limits.timeout.unwrap_or_default();
                    io::Error::other(format!("timed out after {} ms", limit.as_millis()))
                }
                error => io::Error::other(reason(&error)),
            })
    }
}
