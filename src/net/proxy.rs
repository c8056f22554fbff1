//! The way through an HTTP proxy, and when there is one.

use std::net::IpAddr;
use std::time::Instant;

use base64_simd::STANDARD;

use super::inbuffer::InBuffer;
use super::stream::{Sink, Source};
use super::upgrade::{self, Failure};
use super::url::{Url, UrlError};

/// What to do where a proxy is not of use, as the end of a message.
pub(crate) const ADVICE: &str = "; check the proxy's variable, or list the host in NO_PROXY";

/// The proxy to a server, as the variables of the environment have it: `HTTP_PROXY` for `ws` and
/// `http`, `HTTPS_PROXY` for `wss` and `https`, else `ALL_PROXY`, in small letters first, unless
/// `NO_PROXY` names the host. Loopback hosts have none. `speaks_tls` says whether the caller can
/// speak TLS with the proxy itself. A proxy that cannot be used is an error, which says what is
/// wrong with the variable, without its value: nothing goes another way than was wanted.
pub(crate) fn choose(url: &Url, speaks_tls: bool) -> Result<Option<Url>, String> {
    // What is no text is no URL either, and must not pass for a variable that is not set.
    let lossy = |name: &str| Some(std::env::var_os(name)?.to_string_lossy().into_owned());
    choose_by(url, speaks_tls, lossy)
}

/// The same, by these variables.
pub(crate) fn choose_by(
    url: &Url,
    speaks_tls: bool,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Option<Url>, String> {
    if url.is_loopback() {
        return Ok(None);
    }
    let set = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
    let exceptions = set("no_proxy").or_else(|| set("NO_PROXY"));
    if exceptions.is_some_and(|list| is_exempt(&list, url)) {
        return Ok(None);
    }
    let names = if url.is_encrypted() {
        ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]
    } else {
        ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"]
    };
    for name in names {
        let Some(value) = set(name) else { continue };
        let value = value.trim();
        let parsed = if value.contains("://") {
            Url::parse(value)
        } else {
            Url::parse(&format!("http://{value}"))
        };
        return match parsed {
            Ok(proxy) if speaks_tls || !proxy.is_encrypted() => Ok(Some(proxy)),
            Ok(_) => Err(format!(
                "{name} is an https proxy; only http ones are known"
            )),
            Err(UrlError::Scheme(scheme)) => Err(format!(
                "{name} is a proxy of the scheme {scheme}; only http ones are known"
            )),
            Err(UrlError::Invalid(why)) => Err(format!("{name} is no URL: {why}")),
        };
    }
    Ok(None)
}

/// Whether a list of hosts, domains and networks, each perhaps with a port, names a URL's host.
/// As curl reads it: blanks part entries as commas do, a domain stands for all below it with or
/// without a dot before it, and a dot at the end of a name means nothing.
fn is_exempt(list: &str, url: &Url) -> bool {
    let host = url.host().trim_end_matches('.');
    list.split([',', ' ', '\t']).any(|entry| {
        let entry = entry.trim().to_ascii_lowercase();
        if entry == "*" {
            return true;
        }
        let (name, port) = split_port(&entry);
        if port.is_some_and(|port| port != url.port()) {
            return false;
        }
        match host.parse::<IpAddr>() {
            Ok(address) => is_in_network(address, name),
            Err(_) => {
                let domain = name.trim_start_matches("*.").trim_matches('.');
                let below = host.strip_suffix(domain);
                !domain.is_empty()
                    && below.is_some_and(|below| below.is_empty() || below.ends_with('.'))
            }
        }
    })
}

fn split_port(entry: &str) -> (&str, Option<u16>) {
    if let Some((address, rest)) = entry
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']'))
    {
        let port = rest.strip_prefix(':').and_then(|port| port.parse().ok());
        return (address, port);
    }
    match entry.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') => match port.parse() {
            Ok(port) => (name, Some(port)),
            Err(_) => (entry, None),
        },
        _ => (entry, None),
    }
}

/// `network` is an address, perhaps with the length of a prefix.
fn is_in_network(address: IpAddr, network: &str) -> bool {
    let Some((base, length)) = network.split_once('/') else {
        return network.parse() == Ok(address);
    };
    let (Ok(base), Ok(length)) = (base.parse::<IpAddr>(), length.parse::<u32>()) else {
        return false;
    };
    let (bits, base_bits, width) = match (address, base) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (u128::from(a.to_bits()), b.to_bits().into(), 32_u32),
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits(), b.to_bits(), 128),
        _ => return false,
    };
    let Some(free) = width.checked_sub(length) else {
        return false;
    };
    // A shift by all 128 bits is none to the processor.
    let prefix = |bits: u128| bits.checked_shr(free).unwrap_or(0);
    prefix(bits) == prefix(base_bits)
}

/// The value of a header that says who we are.
pub(crate) fn basic(user: &[u8], password: &[u8]) -> String {
    let secret = STANDARD.encode_to_string([user, b":", password].concat());
    format!("Basic {secret}")
}

/// Asks a proxy that we are connected to for a way to the server.
pub(super) fn tunnel(
    proxy: &Url,
    url: &Url,
    source: &mut dyn Source,
    sink: &Sink,
    deadline: Instant,
) -> Result<(), Failure> {
    let server = format!("{}:{}", url.bracketed_host(), url.port());
    let mut request = format!("CONNECT {server} HTTP/1.1\r\nHost: {server}\r\n");
    if let Some((user, password)) = &proxy.credentials {
        let secret = basic(user, password);
        request.push_str(&format!("Proxy-Authorization: {secret}\r\n"));
    }
    request.push_str("\r\n");
    let mut buffer = InBuffer::default();
    let answer = upgrade::ask(&request, source, sink, &mut buffer, deadline)?;
    if !(200..300).contains(&answer.status) {
        return Err(answer.refusal(source, &mut buffer, deadline));
    }
    if !buffer.bytes().is_empty() {
        // Neither TLS nor HTTP lets a server speak first.
        return Err(Failure::Nonsense(
            "it sends bytes nobody asked for".to_owned(),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::stream::{Socket, SocketSource};
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpListener, TcpStream};
    use std::sync::Arc;
    use std::time::Duration;

    fn chosen(url: &str, variables: &[(&str, &str)]) -> Result<Option<String>, String> {
        let url = Url::parse_websocket(url).unwrap();
        let get = |name: &str| {
            let found = variables.iter().find(|variable| variable.0 == name);
            found.map(|variable| variable.1.to_owned())
        };
        Ok(choose_by(&url, false, get)?.map(|proxy| proxy.authority()))
    }

    #[test]
    fn the_scheme_chooses_the_variable() {
        let variables = [
            ("HTTP_PROXY", "http://u:p@plain:1"),
            ("https_proxy", "secure:2"),
            ("HTTPS_PROXY", "unused:3"),
            ("ALL_PROXY", "http://all:4/"),
        ];
        let some = |text: &str| Ok(Some(text.to_owned()));
        assert_eq!(chosen("ws://h", &variables), some("plain:1"));
        assert_eq!(chosen("wss://h", &variables), some("secure:2"));
        assert_eq!(chosen("ws://h", &variables[1..]), some("all:4"));
        assert_eq!(chosen("ws://h", &[("HTTP_PROXY", " ")]), Ok(None));
    }

    #[test]
    fn this_machine_has_no_proxy() {
        for host in [
            "localhost",
            "a.localhost",
            "127.3.2.1",
            "[::1]",
            "[::ffff:127.0.0.1]",
        ] {
            let url = format!("ws://{host}:1");
            assert_eq!(chosen(&url, &[("ALL_PROXY", "p:1")]), Ok(None), "{host}");
        }
    }

    #[test]
    fn exceptions_are_hosts_domains_and_networks() {
        for (url, list, is_exempt) in [
            ("ws://h", "*", true),
            ("ws://a.b.c", "x, B.c", true),
            ("ws://a.b.c", ".b.c", true),
            ("ws://a.b.c", "*.b.c", true),
            ("ws://ab.c", "b.c", false),
            ("ws://h:1", "h:1", true),
            ("ws://h:1", "h:2", false),
            ("ws://10.1.2.3", "10.0.0.0/8", true),
            ("ws://11.1.2.3", "10.0.0.0/8", false),
            ("ws://10.1.2.3", "0.0.0.0/0", true),
            ("ws://10.1.2.3", "10.1.2.3", true),
            ("ws://10.1.2.3", "2.3", false),
            ("ws://[fd00::1]:9", "[fd00::1]:9", true),
            ("ws://[fd00::1]:9", "fd00::/8", true),
            ("ws://[fd00::1]:9", "::/0", true),
            ("ws://192.0.2.7", "x,192.0.2.0/24", true),
            ("ws://192.0.2.7", "192.0.2.9/24", true),
            ("ws://192.0.3.7", "192.0.2.0/24", false),
            ("ws://192.0.2.7", "192.0.2.0/33", false),
            ("ws://192.0.2.7", "192.0.2.0/255.255.255.0", false),
            ("ws://192.0.2.7:8", "192.0.2.0/24:8", true),
            ("ws://192.0.2.7:9", "192.0.2.0/24:8", false),
            ("ws://192.0.2.7.example", "192.0.2.0/24", false),
            ("ws://192.0.2.7", "192.0.2", false),
            ("ws://[2001:db8::7]", "2001:db8::/32", true),
            ("ws://[2001:db8::7]:8", "[2001:db8::/32]:8", true),
            ("ws://[2001:db8::7]:9", "[2001:db8::/32]:8", false),
            ("ws://[2001:db8::7]", "2001:DB8:0::7", true),
            ("ws://a.b.c:8", ".b.c:8", true),
            ("ws://a.b.c:9", ".b.c:8", false),
            ("wss://b.c", "b.c:443", true),
            ("ws://b.c", "b.c:443", false),
            ("ws://b.c", ".b.c", true),
            ("ws://b.c.", "b.c", true),
            ("ws://b.c", "b.c.", true),
            ("ws://a.b.c", "x\tb.c\ty", true),
            ("ws://b.c.d", "b.c", false),
            ("ws://h", ".", false),
            ("ws://h", ",,", false),
            ("ws://h", "", false),
        ] {
            let variables = [("NO_PROXY", list), ("ALL_PROXY", "p:1")];
            let none = chosen(url, &variables) == Ok(None);
            assert_eq!(none, is_exempt, "{url} {list}");
        }
    }

    /// What a proxy is asked, and what comes of its answer.
    fn through(proxy: &str, url: &str, answer: &'static str) -> (String, Result<(), Failure>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut peer, _) = listener.accept().unwrap();
        peer.write_all(answer.as_bytes()).unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        let socket = Arc::new(Socket::Tcp(socket));
        let mut source = SocketSource::new(Arc::clone(&socket));
        let (proxy, url) = (Url::parse(proxy), Url::parse_websocket(url));
        let (proxy, url) = (proxy.unwrap(), url.unwrap());
        let deadline = Instant::now() + Duration::from_secs(20);
        let result = tunnel(&proxy, &url, &mut source, &Sink::Socket(socket), deadline);
        drop(source);
        let mut request = String::new();
        peer.read_to_string(&mut request).unwrap();
        (request, result)
    }

    #[test]
    fn a_proxy_is_asked_for_host_and_port_with_its_own_credentials() {
        let good = "HTTP/1.1 200 Connection established\r\n\r\n";
        let (request, result) = through("http://u:p@x", "wss://[fd00::1]/a?b", good);
        assert!(result.is_ok(), "{result:?}");
        assert_eq!(
            request,
            "CONNECT [fd00::1]:443 HTTP/1.1\r\nHost: [fd00::1]:443\r\n\
             Proxy-Authorization: Basic dTpw\r\n\r\n"
        );
        for bad in [
            "HTTP/1.1 407 Who\r\nContent-Length: 6\r\n\r\nlog in",
            "HTTP/1.1 407 Who\r\nTransfer-Encoding: Chunked\r\n\r\n6\r\nlog in\r\n0\r\n\r\n",
        ] {
            let (_, refused) = through("http://x", "ws://h", bad);
            match refused {
                Err(Failure::Refused { status, line }) => {
                    assert_eq!((status, &*line), (407, "log in"));
                }
                other => panic!("{other:?}"),
            }
        }
        let echo = "HTTP/1.1 404 No\r\n\r\nno GET /x?sig=secret&amp;a=b, 'h?secret'? here";
        let (_, refused) = through("http://x", "ws://h", echo);
        match refused {
            Err(Failure::Refused { line, .. }) => assert_eq!(line, "no GET /x?… 'h?… here"),
            other => panic!("{other:?}"),
        }
        let early = "HTTP/1.1 200 OK\r\n\r\nx";
        let (_, nonsense) = through("http://x", "ws://h", early);
        assert!(matches!(nonsense, Err(Failure::Nonsense(_))));
    }

    #[test]
    fn what_is_no_http_proxy_is_refused_without_its_secrets() {
        for value in [
            "socks5://u:secret@h",
            "https://u:secret@h",
            "u:secret@[h",
            "http://\u{fffd}secret",
        ] {
            let error = chosen("ws://h", &[("ALL_PROXY", value)]).unwrap_err();
            assert!(error.starts_with("ALL_PROXY is"), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
