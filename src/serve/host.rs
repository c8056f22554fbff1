//! The check of `Host` that defeats DNS rebinding.
//!
//! A page may bring its own DNS name to point at 127.0.0.1, and then it is of the same origin as
//! this server and sends no `Origin`; but the name is in `Host`. An IP address is nobody's name.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::net::url::split_port;

/// Whether a `Host` value is an IP address, `localhost` or one of `allowed` (which may be given
/// with a port, and then wants that port). Any port will do: clients may come through a tunnel.
pub fn is_own_host(value: &[u8], allowed: &[String]) -> bool {
    let Ok(value) = str::from_utf8(value) else {
        return false;
    };
    let Ok((name, _)) = split_port(value) else {
        return false;
    };
    if allowed
        .iter()
        .any(|allowed| allowed.eq_ignore_ascii_case(value) || allowed.eq_ignore_ascii_case(name))
    {
        return true;
    }
    if let Some(literal) = name.strip_prefix('[') {
        return literal
            .strip_suffix(']')
            .is_some_and(|address| address.parse::<Ipv6Addr>().is_ok());
    }
    let name = name.strip_suffix('.').unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || name.parse::<Ipv4Addr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_localhost_are_ours() {
        for host in [
            "127.0.0.1",
            "127.0.0.1:8765",
            "127.0.0.1:",
            "127.0.0.1.",
            "10.0.0.7:1",
            "[::1]",
            "[::1]:8765",
            "localhost",
            "LOCALHOST:1",
            "localhost.",
            "localhost.:80",
        ] {
            assert!(is_own_host(host.as_bytes(), &[]), "{host}");
        }
    }

    #[test]
    fn names_and_oddities_are_not() {
        for host in [
            "",
            ":80",
            ".",
            "evil.example",
            "evil.example:8765",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "evil.localhost",
            "localhost..",
            "user@localhost",
            "user@127.0.0.1",
            "127.0.0.1:80@evil.example",
            "127.0.0.1:x",
            "127.0.0.1:99999",
            "127.0.0.1:80:80",
            "127.1",
            "0x7f.0.0.1",
            "::1",
            "[::1",
            "::1]",
            "[::1]x",
            "[::1%lo]",
            "[evil.example]",
            "[127.0.0.1]",
            "127.0.0.1,evil.example",
            "localhost\t",
        ] {
            assert!(!is_own_host(host.as_bytes(), &[]), "{host}");
        }
        assert!(!is_own_host(b"\xff", &[]));
    }

    #[test]
    fn listed_names_are_allowed_with_their_port_if_it_has_one() {
        let allowed = ["dev.example".to_owned(), "b.example:81".to_owned()];
        for (host, ours) in [
            ("dev.example", true),
            ("Dev.Example:9", true),
            ("b.example:81", true),
            ("b.example", false),
            ("b.example:82", false),
            ("xdev.example", false),
            ("dev.example:x", false),
        ] {
            assert_eq!(is_own_host(host.as_bytes(), &allowed), ours, "{host}");
        }
    }
}
