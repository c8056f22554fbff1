//! URLs as browsers read them: forgiving, and the same thing afterwards for
//! everyone who looks at it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An absolute URL of HTTP or of a websocket, normalized, without fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    scheme: Scheme,
    /// User and password, decoded.
    pub credentials: Option<(Vec<u8>, Vec<u8>)>,
    /// A name in lower case, or an address; version 6 in brackets.
    host: String,
    /// Absent if it is the scheme's own.
    port: Option<u16>,
    /// Begins with `/`.
    path: String,
    /// Without the `?`.
    query: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
    Ws,
    Wss,
}

/// Schemes that may stand for each other, as in a redirect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Http,
    WebSocket,
}

impl Scheme {
    fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Ws => "ws",
            Self::Wss => "wss",
        }
    }

    fn family(self) -> Family {
        match self {
            Self::Http | Self::Https => Family::Http,
            Self::Ws | Self::Wss => Family::WebSocket,
        }
    }

    fn is_encrypted(self) -> bool {
        matches!(self, Self::Https | Self::Wss)
    }

    fn port(self) -> u16 {
        if self.is_encrypted() { 443 } else { 80 }
    }
}

/// Why a text is no URL that can be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UrlError {
    /// Of another scheme.
    Scheme(String),
    /// Not a URL.
    Invalid(&'static str),
}

impl Url {
    /// Reads an absolute URL of `http` or `https`.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        Self::parse_as(Family::Http, text)
    }

    /// Reads an absolute URL of `ws` or `wss`.
    pub fn parse_websocket(text: &str) -> Result<Self, UrlError> {
        Self::parse_as(Family::WebSocket, text)
    }

    fn parse_as(family: Family, text: &str) -> Result<Self, UrlError> {
        let text = clean(text);
        match split_scheme(&text, family)? {
            Some((scheme, rest)) => Self::absolute(scheme, rest),
            None => Err(UrlError::Invalid("relative URL without a base")),
        }
    }

    /// Reads a reference, relative or not, that was found at this URL.
    pub fn join(&self, reference: &str) -> Result<Self, UrlError> {
        let text = clean(reference);
        if let Some((scheme, rest)) = split_scheme(&text, self.scheme.family())? {
            return Self::absolute(scheme, rest);
        }
        let (path, query) = split_query(&text);
        let path = path.replace('\\', "/");
        if path.starts_with("//") {
            return Self::absolute(self.scheme, &text);
        }
        let mut url = self.clone();
        if path.is_empty() {
            url.query = query.map(encode_query).or(url.query);
            return Ok(url);
        }
        let parent = match self.path.rsplit_once('/') {
            Some((parent, _)) if !path.starts_with('/') => format!("{parent}/"),
            _ => String::new(),
        };
        url.path = normal_path(&(parent + &path));
        url.query = query.map(encode_query);
        Ok(url)
    }

    fn absolute(scheme: Scheme, rest: &str) -> Result<Self, UrlError> {
        let rest = rest.trim_start_matches(['/', '\\']);
        let end = rest.find(['/', '\\', '?']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        let (credentials, location) = match authority.rsplit_once('@') {
            Some((credentials, location)) => (Some(credentials), location),
            None => (None, authority),
        };
        let (host, port) = split_port(location)?;
        let (path, query) = split_query(rest);
        Ok(Self {
            scheme,
            credentials: credentials.map(|text| {
                let (user, password) = text.split_once(':').unwrap_or((text, ""));
                (percent_decode(user), percent_decode(password))
            }),
            host: normal_host(host)?,
            port: port.filter(|port| *port != scheme.port()),
            path: normal_path(&path.replace('\\', "/")),
            query: query.map(encode_query),
        })
    }

    /// The host without the brackets of a version 6 address.
    pub fn host(&self) -> &str {
        let host = self.host.strip_prefix('[');
        let host = host.and_then(|host| host.strip_suffix(']'));
        host.unwrap_or(&self.host)
    }

    /// The host as a URL has it.
    pub(super) fn bracketed_host(&self) -> &str {
        &self.host
    }

    /// The port, its own or the scheme's.
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(self.scheme.port())
    }

    /// Whether it is spoken to in TLS.
    pub fn is_encrypted(&self) -> bool {
        self.scheme.is_encrypted()
    }

    /// Whether its host is this machine, whatever a proxy would make of it.
    pub fn is_loopback(&self) -> bool {
        let host = self.host();
        match host.parse::<IpAddr>() {
            Ok(address) => address.to_canonical().is_loopback(),
            Err(_) => host == "localhost" || host.ends_with(".localhost"),
        }
    }

    /// Whether what is sent to its host in clear text stays on this machine, as the reference has it: a
    /// loopback address, or `localhost`. Other names of this machine may be looked up elsewhere.
    pub fn is_this_machine(&self) -> bool {
        let host = self.host();
        let address = host.parse::<IpAddr>();
        address.map_or(host == "localhost", |address| address.is_loopback())
    }

    /// Host and port as a `Host` header has them.
    pub fn authority(&self) -> String {
        match self.port {
            Some(port) => format!("{}:{port}", self.host),
            None => self.host.clone(),
        }
    }

    /// Path and query, as the first line of a request has them.
    pub fn request_target(&self) -> String {
        match &self.query {
            Some(query) => format!("{}?{query}", self.path),
            None => self.path.clone(),
        }
    }

    /// For messages: without credentials and query, of which either may be a secret.
    pub fn redacted(&self) -> String {
        format!("{}://{}{}", self.scheme.name(), self.authority(), self.path)
    }

    /// Whether both lead to the same server.
    pub fn is_same_server(&self, other: &Self) -> bool {
        self.host == other.host && self.port() == other.port() && self.scheme == other.scheme
    }
}

/// Without credentials, which are nobody's business in a message or on the wire.
impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, authority) = (self.scheme.name(), self.authority());
        write!(f, "{scheme}://{authority}{}", self.request_target())
    }
}

/// Drops blanks around, line ends and tabs inside, and the fragment.
fn clean(text: &str) -> String {
    let mut text = text.trim_matches(|c: char| c <= ' ').to_owned();
    text.retain(|c| !matches!(c, '\t' | '\n' | '\r'));
    if let Some(end) = text.find('#') {
        text.truncate(end);
    }
    text
}

fn split_scheme(text: &str, family: Family) -> Result<Option<(Scheme, &str)>, UrlError> {
    let Some((scheme, rest)) = text.split_once(':') else {
        return Ok(None);
    };
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
    if !is_scheme {
        return Ok(None);
    }
    let name = scheme.to_ascii_lowercase();
    let scheme = match (family, &*name) {
        (Family::Http, "http") => Scheme::Http,
        (Family::Http, "https") => Scheme::Https,
        (Family::WebSocket, "ws") => Scheme::Ws,
        (Family::WebSocket, "wss") => Scheme::Wss,
        _ => return Err(UrlError::Scheme(name)),
    };
    Ok(Some((scheme, rest)))
}

fn split_query(text: &str) -> (&str, Option<&str>) {
    match text.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (text, None),
    }
}

/// Cuts `:PORT` off.
pub(crate) fn split_port(location: &str) -> Result<(&str, Option<u16>), UrlError> {
    let after_address = match location.rfind(']') {
        Some(end) => end + 1,
        None if location.starts_with('[') => return Ok((location, None)),
        None => 0,
    };
    let Some(colon) = location[after_address..].find(':') else {
        return Ok((location, None));
    };
    let (host, port) = location.split_at(after_address + colon);
    let port = &port[1..];
    if port.is_empty() {
        return Ok((host, None));
    }
    let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
    match port.parse() {
        Ok(port) if is_number => Ok((host, Some(port))),
        _ => Err(UrlError::Invalid("invalid port number")),
    }
}

/// The host of a URL: a name in lower case, or an address.
fn normal_host(host: &str) -> Result<String, UrlError> {
    let host = decode_host(host).map_err(UrlError::Invalid)?;
    if host.starts_with('[') {
        return Ok(host);
    }
    if host.is_empty() {
        return Err(UrlError::Invalid("empty host"));
    }
    // Names in other scripts have an ASCII form, which a client must use here.
    if !host.is_ascii() {
        return Err(UrlError::Invalid(NO_NAME));
    }
    let last = host.strip_suffix('.').unwrap_or(&host).rsplit('.').next();
    let is_numeric = last.is_some_and(|label| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_digit())
            || number(label).is_some()
    });
    if is_numeric {
        let address = ipv4(&host).ok_or(UrlError::Invalid("invalid IPv4 address"))?;
        return Ok(address.to_string());
    }
    Ok(host)
}

const NO_NAME: &str = "invalid international domain name";

/// The host of any URI, decoded and in lower case; an address of version 6 in its normal form and
/// in brackets. The error says what is wrong with it.
pub(crate) fn decode_host(host: &str) -> Result<String, &'static str> {
    if let Some(literal) = host.strip_prefix('[') {
        return match literal.strip_suffix(']').map(str::parse::<Ipv6Addr>) {
            Some(Ok(address)) => Ok(format!("[{address}]")),
            _ => Err("invalid IPv6 address"),
        };
    }
    let mut host = String::from_utf8(percent_decode(host)).map_err(|_| NO_NAME)?;
    let forbidden = |c: char| c <= ' ' || c == '\x7f' || "#%/:<>?@[\\]^|".contains(c);
    if host.contains(forbidden) {
        return Err(NO_NAME);
    }
    host.make_ascii_lowercase();
    Ok(host)
}

/// An address in any of the ways that C libraries read: `127.1`, `0x7f000001`, `0177.0.0.1`.
fn ipv4(host: &str) -> Option<Ipv4Addr> {
    let parts: Vec<u32> = host
        .strip_suffix('.')
        .unwrap_or(host)
        .split('.')
        .map(number)
        .collect::<Option<_>>()?;
    let (last, first) = parts.split_last()?;
    if first.len() > 3 || first.iter().any(|part| *part > 255) {
        return None;
    }
    let room = 8 * (4 - first.len() as u32);
    if u64::from(*last) >= 1 << room {
        return None;
    }
    let high = first.iter().fold(0_u32, |high, part| high << 8 | part);
    // With all four bytes in the last part there is nothing to shift.
    let high = high.checked_shl(room).unwrap_or(0);
    Some(Ipv4Addr::from_bits(high | last))
}

fn number(text: &str) -> Option<u32> {
    let (digits, radix) = if let Some(digits) = text.strip_prefix("0x") {
        (digits, 16)
    } else if text.len() > 1 && text.starts_with('0') {
        (&text[1..], 8)
    } else {
        (text, 10)
    };
    if digits.is_empty() {
        return (radix == 16).then_some(0);
    }
    // A sign is no digit.
    let is_digits = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_digits.then(|| u32::from_str_radix(digits, radix).ok())?
}

/// Resolves dots and encodes what a path cannot hold.
fn normal_path(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    let mut parts = path.strip_prefix('/').unwrap_or(path).split('/').peekable();
    while let Some(part) = parts.next() {
        let is_last = parts.peek().is_none();
        match &*part.replace("%2e", ".").replace("%2E", ".") {
            "." if is_last => segments.push(""),
            "." => {}
            ".." => {
                segments.pop();
                if is_last {
                    segments.push("");
                }
            }
            _ => segments.push(part),
        }
    }
    let mut normal = String::with_capacity(path.len() + 1);
    for segment in segments {
        normal.push('/');
        encode(&mut normal, segment, b" \"<>`{}^");
    }
    if normal.is_empty() {
        normal.push('/');
    }
    normal
}

fn encode_query(query: &str) -> String {
    let mut encoded = String::with_capacity(query.len());
    encode(&mut encoded, query, b" \"<>'");
    encoded
}

fn encode(out: &mut String, text: &str, reserved: &[u8]) {
    push_encoded(out, text.as_bytes(), |byte| {
        !(b' '..0x7f).contains(&byte) || reserved.contains(&byte)
    });
}

/// Decodes `%XX`; a `%` that two hexadecimal digits do not follow stays as it is.
pub(crate) fn percent_decode(text: &str) -> Vec<u8> {
    percent_encoding::percent_decode_str(text).collect()
}

/// Appends `bytes`, with `%XX` for those that must be encoded.
fn push_encoded(uri: &mut String, bytes: &[u8], must_encode: impl Fn(u8) -> bool) {
    for &byte in bytes {
        match must_encode(byte) {
            true => uri.push_str(percent_encoding::percent_encode_byte(byte)),
            false => uri.push(char::from(byte)),
        }
    }
}

#[cfg(test)]
mod tests;
