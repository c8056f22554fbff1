//! URLs as browsers read them: forgiving, and the same thing afterwards for
//! everyone who looks at it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An absolute `http` or `https` URL, normalized, without fragment.
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
}

impl Scheme {
    fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
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
    /// Reads an absolute URL.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let text = clean(text);
        match split_scheme(&text)? {
            Some((scheme, rest)) => Self::absolute(scheme, rest),
            None => Err(UrlError::Invalid("relative URL without a base")),
        }
    }

    /// Reads a reference, relative or not, that was found at this URL.
    pub fn join(&self, reference: &str) -> Result<Self, UrlError> {
        let text = clean(reference);
        if let Some((scheme, rest)) = split_scheme(&text)? {
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
                (decode(user), decode(password))
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

    /// Whether both lead to the same server.
    pub fn is_same_server(&self, other: &Self) -> bool {
        let port = |url: &Self| url.port.unwrap_or(url.scheme.port());
        self.host == other.host && port(self) == port(other) && self.scheme == other.scheme
    }
}

/// Whether a host, as [`Url::host`] gives it, is this machine.
pub fn is_loopback_host(host: &str) -> bool {
    host.parse::<IpAddr>().map_or_else(
        |_| host == "localhost" || host.ends_with(".localhost"),
        |address| address.is_loopback(),
    )
}

/// Without credentials, which are nobody's business in a message or on the wire.
impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.name(), self.host)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        f.write_str(&self.path)?;
        match &self.query {
            Some(query) => write!(f, "?{query}"),
            None => Ok(()),
        }
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

fn split_scheme(text: &str) -> Result<Option<(Scheme, &str)>, UrlError> {
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
    match &*scheme.to_ascii_lowercase() {
        "http" => Ok(Some((Scheme::Http, rest))),
        "https" => Ok(Some((Scheme::Https, rest))),
        other => Err(UrlError::Scheme(other.to_owned())),
    }
}

fn split_query(text: &str) -> (&str, Option<&str>) {
    match text.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (text, None),
    }
}

fn split_port(location: &str) -> Result<(&str, Option<u16>), UrlError> {
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

fn normal_host(host: &str) -> Result<String, UrlError> {
    const NO_ADDRESS: UrlError = UrlError::Invalid("invalid IPv6 address");
    const NO_NAME: UrlError = UrlError::Invalid("invalid international domain name");
    if let Some(literal) = host.strip_prefix('[') {
        let address = literal.strip_suffix(']').ok_or(NO_ADDRESS)?;
        let address: Ipv6Addr = address.parse().map_err(|_| NO_ADDRESS)?;
        return Ok(format!("[{address}]"));
    }
    let mut host = String::from_utf8(decode(host)).map_err(|_| NO_NAME)?;
    if host.is_empty() {
        return Err(UrlError::Invalid("empty host"));
    }
    // Names in other scripts have an ASCII form, which a client must use here.
    let forbidden =
        |c: char| !c.is_ascii() || c <= ' ' || c == '\x7f' || "#%/:<>?@[\\]^|".contains(c);
    if host.contains(forbidden) {
        return Err(NO_NAME);
    }
    host.make_ascii_lowercase();
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
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if !(b' '..0x7f).contains(&byte) || reserved.contains(&byte) {
            out.push('%');
            out.push(DIGITS[usize::from(byte >> 4)] as char);
            out.push(DIGITS[usize::from(byte & 15)] as char);
        } else {
            out.push(byte as char);
        }
    }
}

/// Decodes `%XX`; a `%` that two hexadecimal digits do not follow stays as it is.
fn decode(text: &str) -> Vec<u8> {
    crate::rpc::path_uri::percent_decode(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_normalized() {
        for (text, expected) in [
            (
                " HTTP://Example.COM:80/a/../b c?q=ü'#frag ",
                "http://example.com/b%20c?q=%C3%BC%27",
            ),
            ("https://h:443", "https://h/"),
            ("http:h\\x?a\\b", "http://h/x?a\\b"),
            ("http:///h/./%2e%2E/y/.", "http://h/y/"),
            ("http://u:p@h:81/", "http://h:81/"),
            ("http://[0:0::1]:8080/?", "http://[::1]:8080/?"),
            ("http://127.1/", "http://127.0.0.1/"),
            ("http://0xA9FEA9FE/", "http://169.254.169.254/"),
            ("http://0251.254.43518/", "http://169.254.169.254/"),
            ("http://2852039166/", "http://169.254.169.254/"),
            ("http://a.b.c1/", "http://a.b.c1/"),
        ] {
            assert_eq!(Url::parse(text).unwrap().to_string(), expected, "{text}");
        }
        let url = Url::parse("http://us%65r:p%3Aw@h/").unwrap();
        assert_eq!(url.credentials, Some((b"user".to_vec(), b"p:w".to_vec())));
    }

    #[test]
    fn what_is_no_url_is_refused() {
        for (text, why) in [
            ("x", "relative URL without a base"),
            ("", "relative URL without a base"),
            ("/x", "relative URL without a base"),
            ("http://", "empty host"),
            ("http://[::1", "invalid IPv6 address"),
            ("http://a b/", "invalid international domain name"),
            ("http://h:99999/", "invalid port number"),
            ("http://h:+1/", "invalid port number"),
            ("http://1.2.3.256/", "invalid IPv4 address"),
            ("http://1.2.3.4.5/", "invalid IPv4 address"),
            ("http://4294967296/", "invalid IPv4 address"),
        ] {
            assert_eq!(Url::parse(text), Err(UrlError::Invalid(why)), "{text}");
        }
        for (text, scheme) in [("ftp://x/", "ftp"), ("FILE:///x", "file")] {
            assert_eq!(Url::parse(text), Err(UrlError::Scheme(scheme.to_owned())));
        }
    }

    #[test]
    fn references_are_joined() {
        let base = Url::parse("http://h/a/b?q").unwrap();
        for (reference, expected) in [
            ("/x", "http://h/x"),
            ("x?y", "http://h/a/x?y"),
            ("../x", "http://h/x"),
            ("../../../x/.", "http://h/x/"),
            ("?z", "http://h/a/b?z"),
            ("", "http://h/a/b?q"),
            ("#frag", "http://h/a/b?q"),
            ("//other:1/x", "http://other:1/x"),
            ("https://other", "https://other/"),
        ] {
            assert_eq!(base.join(reference).unwrap().to_string(), expected);
        }
        assert!(base.join("ftp://x/").is_err() && base.join("http://[bad").is_err());
    }

    #[test]
    fn a_server_is_its_scheme_name_and_port() {
        let same = |a: &str, b: &str| {
            Url::parse(a)
                .unwrap()
                .is_same_server(&Url::parse(b).unwrap())
        };
        assert!(same("http://h/a", "http://H:80/b"));
        for other in ["http://h:81/", "https://h/", "http://g/"] {
            assert!(!same("http://h/", other));
        }
    }
}
