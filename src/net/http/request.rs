//! A request, checked before anything is sent.

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use ureq::http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use ureq::http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::net::url::{Url, UrlError};

/// Headers that a request may have.
pub const MAX_HEADERS: usize = 256;
/// What their names and values may have together, in bytes.
const MAX_HEADER_BYTES: usize = 64 * 1024;

/// The longest method, in bytes.
const MAX_METHOD: usize = 64;
/// The longest URL, in bytes: far above what servers take.
const MAX_URL: usize = 64 * 1024;

/// What to ask of whom.
#[derive(Debug)]
pub struct Request {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(crate) headers: HeaderMap,
    /// Headers made of variables of this machine, which are for the URL's server alone.
    pub(super) secret: Vec<HeaderName>,
    header_bytes: usize,
    /// What is sent along; usually nothing.
    pub body: Vec<u8>,
    /// From the first lookup to the last byte of the answer; `None` is no limit.
    pub timeout: Option<Duration>,
    /// Whether redirects are followed, up to ten.
    pub follows_redirects: bool,
}

/// A variable of this machine.
#[derive(Debug)]
pub struct Variable<'a> {
    pub name: &'a str,
    /// None if it is not set, or not for the client.
    pub content: Option<OsString>,
}

/// Why a request makes no sense. `Display` is the message for the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestError {
    /// No method of HTTP.
    Method,
    /// A method or URL that is longer than so many bytes.
    TooLong(&'static str, usize),
    /// `CONNECT` opens a tunnel, which nobody could use.
    Tunnel,
    /// No URL to ask for.
    Url(UrlError),
    /// No name of a header.
    HeaderName,
    /// No value of the header of this name.
    HeaderValue(String),
    /// A header needs a variable that is not set.
    Variable {
        /// The header.
        header: String,
        /// The variable.
        variable: String,
    },
    /// Too many headers, or too long ones.
    TooManyHeaders,
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("http/request ")?;
        match self {
            Self::Method => f.write_str("method is invalid: invalid HTTP method"),
            Self::TooLong(what, most) => {
                write!(f, "{what} is invalid: it has more than {most} bytes")
            }
            Self::Tunnel => f.write_str("method is invalid: CONNECT opens a tunnel, not a request"),
            Self::Url(UrlError::Scheme(scheme)) => {
                write!(f, "only supports http and https URLs, got {scheme}")
            }
            Self::Url(UrlError::Invalid(why)) => write!(f, "url is invalid: {why}"),
            Self::HeaderName => f.write_str("header name is invalid: invalid HTTP header name"),
            Self::HeaderValue(name) => write!(
                f,
                "header value is invalid for {name}: failed to parse header value"
            ),
            Self::Variable { header, variable } => write!(
                f,
                "header {header} requires executor environment variable {variable}"
            ),
            Self::TooManyHeaders => write!(
                f,
                "headers are too large: at most {MAX_HEADERS}, of {MAX_HEADER_BYTES} bytes together"
            ),
        }
    }
}

impl std::error::Error for RequestError {}

impl Request {
    /// A request without headers and body, which follows redirects.
    pub fn new(method: &str, url: &str) -> Result<Self, RequestError> {
        for (what, text, most) in [("method", method, MAX_METHOD), ("url", url, MAX_URL)] {
            if text.len() > most {
                return Err(RequestError::TooLong(what, most));
            }
        }
        let method = Method::from_bytes(method.as_bytes()).map_err(|_| RequestError::Method)?;
        if method == Method::CONNECT {
            return Err(RequestError::Tunnel);
        }
        let url = Url::parse(url).map_err(RequestError::Url)?;
        Ok(Self {
            method,
            url,
            headers: HeaderMap::new(),
            secret: Vec::new(),
            header_bytes: 0,
            body: Vec::new(),
            timeout: None,
            follows_redirects: true,
        })
    }

    /// Adds a header behind those of the same name. The content of `variable`, if given, is
    /// appended to the value. What frames the body is ours to say and left out.
    pub fn header(
        &mut self,
        name: &str,
        value: &str,
        variable: Option<Variable<'_>>,
    ) -> Result<(), RequestError> {
        if self.header_bytes + name.len() + value.len() > MAX_HEADER_BYTES {
            return Err(RequestError::TooManyHeaders);
        }
        let header =
            HeaderName::from_bytes(name.as_bytes()).map_err(|_| RequestError::HeaderName)?;
        let mut bytes = value.as_bytes().to_vec();
        let is_secret = variable.is_some();
        if let Some(variable) = variable {
            let content = variable.content.ok_or_else(|| RequestError::Variable {
                header: name.to_owned(),
                variable: variable.name.to_owned(),
            })?;
            bytes.extend_from_slice(content.as_bytes());
        }
        let mut value = HeaderValue::from_bytes(&bytes)
            .map_err(|_| RequestError::HeaderValue(name.to_owned()))?;
        if header == CONTENT_LENGTH || header == TRANSFER_ENCODING {
            return Ok(());
        }
        self.header_bytes += name.len() + bytes.len();
        if self.headers.len() >= MAX_HEADERS || self.header_bytes > MAX_HEADER_BYTES {
            return Err(RequestError::TooManyHeaders);
        }
        if is_secret {
            value.set_sensitive(true);
            self.secret.push(header.clone());
        }
        self.headers.append(header, value);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Request {
        Request::new("GET", "http://h/").unwrap()
    }

    #[test]
    fn headers_keep_their_order_and_repeats() {
        let mut request = request();
        for (name, value) in [
            ("X-A", "1"),
            ("b", "2"),
            ("x-a", "3"),
            ("Content-Length", "9"),
        ] {
            request.header(name, value, None).unwrap();
        }
        let headers: Vec<_> = request
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes()))
            .collect();
        assert_eq!(headers, [("x-a", &b"1"[..]), ("x-a", b"3"), ("b", b"2")]);
    }

    #[test]
    fn too_much_is_refused() {
        let mut many = request();
        let filled = (0..MAX_HEADERS).try_for_each(|_| many.header("a", "b", None));
        filled.unwrap();
        assert_eq!(
            many.header("a", "b", None),
            Err(RequestError::TooManyHeaders)
        );
        let long = "x".repeat(MAX_HEADER_BYTES);
        for (name, value) in [("a", &*long), (&*long, "a")] {
            let added = request().header(name, value, None);
            assert_eq!(added, Err(RequestError::TooManyHeaders));
        }
        let url = |len: usize| Request::new("GET", &format!("http://h/{}", "x".repeat(len - 9)));
        assert!(url(MAX_URL).is_ok());
        assert_eq!(
            url(MAX_URL + 1).unwrap_err().to_string(),
            "http/request url is invalid: it has more than 65536 bytes"
        );
        let method = "M".repeat(MAX_METHOD + 1);
        assert_eq!(
            Request::new(&method, "http://h/").unwrap_err(),
            RequestError::TooLong("method", MAX_METHOD)
        );
    }

    #[test]
    fn errors_are_said_in_the_words_of_the_reference() {
        let error = |method: &str, url: &str| Request::new(method, url).unwrap_err().to_string();
        assert_eq!(
            error("b m", "http://x/"),
            "http/request method is invalid: invalid HTTP method"
        );
        assert_eq!(
            error("GET", "x"),
            "http/request url is invalid: relative URL without a base"
        );
        assert_eq!(
            error("GET", "ftp://x/"),
            "http/request only supports http and https URLs, got ftp"
        );
        assert_eq!(
            request().header("a b", "", None).unwrap_err().to_string(),
            "http/request header name is invalid: invalid HTTP header name"
        );
        assert_eq!(
            request().header("a", "x\ny", None).unwrap_err().to_string(),
            "http/request header value is invalid for a: failed to parse header value"
        );
    }
}
