//! Addresses that a request does not go to unless the operator wants it: those
//! of the link, where clouds hand out the machine's credentials to whoever asks.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;
use ureq::unversioned::transport::time::Duration;

use crate::net::lookup::in_time;

/// Services about the machine itself that are not on the link.
const METADATA: [IpAddr; 8] = [
    // Google
    v6([0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254]),
    // Oracle
    v6([0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe]),
    v4([192, 0, 0, 192]),
    // Alibaba
    v6([0xfd00, 0x100, 0, 0, 0, 0, 0x100, 0x200]),
    v4([100, 100, 100, 200]),
    // Scaleway
    v6([0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42]),
    // Akamai
    v6([0xfd00, 0xa9fe, 0xa9fe, 0, 0, 0, 0, 1]),
    // Azure
    v4([168, 63, 129, 16]),
];
/// Amazon has several such services, all below this prefix of 32 bits.
const AMAZON: [u16; 2] = [0xfd00, 0xec2];

const fn v4([a, b, c, d]: [u8; 4]) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(a, b, c, d))
}

const fn v6([a, b, c, d, e, f, g, h]: [u16; 8]) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(a, b, c, d, e, f, g, h))
}

/// A host all of whose addresses are off limits. `Display` names the remedy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffLimits(pub IpAddr);

impl fmt::Display for OffLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} is a link-local or metadata address; this exec-server connects to such only \
             when it was started with --allow-link-local",
            self.0
        )
    }
}

impl std::error::Error for OffLimits {}

/// Whether an address is link-local or a metadata service's, in whatever disguise.
pub fn is_off_limits(address: IpAddr) -> bool {
    METADATA.contains(&address)
        || match address {
            IpAddr::V4(address) => address.is_link_local(),
            IpAddr::V6(address) => {
                address.is_unicast_link_local()
                    || address.segments().starts_with(&AMAZON)
                    || embedded(address).any(|inner| is_off_limits(inner.into()))
            }
        }
}

/// The addresses of version 4 that packets to this one may end up at, through a translator or a
/// tunnel. Which, depends on the network where the prefix alone does not say it.
fn embedded(address: Ipv6Addr) -> impl Iterator<Item = Ipv4Addr> {
    let segments = address.segments();
    let octets = address.octets();
    let four = |places: [usize; 4]| Some(Ipv4Addr::from(places.map(|at| octets[at])));
    let last = four([12, 13, 14, 15]);
    let found = match segments {
        // Mapped; translated by the host; and the older compatible form, which is not `::1`.
        [0, 0, 0, 0, 0, 0xffff, ..] | [0, 0, 0, 0, 0xffff, 0, ..] => [last, None, None, None],
        [0, 0, 0, 0, 0, 0, high, _] if high != 0 => [last, None, None, None],
        // Translated by a gateway: at the end behind the prefix of everybody, and behind one of
        // the network's own wherever RFC 6052 has it for a prefix of 48, 56, 64 or 96 bits.
        [0x64, 0xff9b, 0, 0, 0, 0, ..] => [last, None, None, None],
        [0x64, 0xff9b, 1, ..] => [
            four([6, 7, 9, 10]),
            four([7, 9, 10, 11]),
            four([9, 10, 11, 12]),
            last,
        ],
        // Tunnelled: 6to4; Teredo, which inverts the client's and has the server's besides; and
        // ISATAP, whose prefix is anybody's.
        [0x2002, ..] => [four([2, 3, 4, 5]), None, None, None],
        [0x2001, 0, ..] => [
            last.map(|address| Ipv4Addr::from_bits(!address.to_bits())),
            four([4, 5, 6, 7]),
            None,
            None,
        ],
        [_, _, _, _, 0 | 0x200, 0x5efe, ..] => [last, None, None, None],
        _ => [None; 4],
    };
    found.into_iter().flatten()
}

/// Looks names up and passes on only addresses that may be connected to, so
/// that what was checked is what is connected to.
#[derive(Debug)]
pub(super) struct CheckedResolver {
    pub(super) allow_link_local: bool,
}

impl Resolver for CheckedResolver {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = look_up(uri, config, timeout)?;
        if self.allow_link_local {
            return Ok(found);
        }
        let mut allowed = self.empty();
        let mut refused = None;
        for address in found.iter() {
            if is_off_limits(SocketAddr::ip(address)) {
                refused = Some(OffLimits(address.ip()));
            } else {
                allowed.push(*address);
            }
        }
        match refused {
            Some(refused) if allowed.is_empty() => Err(ureq::Error::Other(refused.into())),
            _ => Ok(allowed),
        }
    }
}

/// The library would start a thread of its own for a deadline, but panics where the system has no
/// more of them.
fn look_up(
    uri: &Uri,
    config: &Config,
    timeout: NextTimeout,
) -> Result<ResolvedSocketAddrs, ureq::Error> {
    let (uri, config) = (uri.clone(), config.clone());
    let endless = NextTimeout {
        after: Duration::NotHappening,
        ..timeout
    };
    let found = in_time(*timeout.after, move || {
        DefaultResolver::default().resolve(&uri, &config, endless)
    })?;
    found.unwrap_or(Err(ureq::Error::Timeout(timeout.reason)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_local_addresses_are_found_in_every_disguise() {
        for address in [
            "169.254.169.254",
            "169.254.0.1",
            "fe80::1",
            "febf::1",
            "fe80::a9fe:a9fe",
            "::ffff:169.254.169.254",
            "::ffff:0:169.254.169.254",
            "::169.254.169.254",
            "64:ff9b::169.254.169.254",
            // Behind prefixes of 48, 56, 64 and 96 bits.
            "64:ff9b:1:a9fe:a9:fe00::",
            "64:ff9b:1:12a9:fe:a9fe::",
            "64:ff9b:1:1234:a9:fea9:fe00:0",
            "64:ff9b:1:1234:5678:9abc:169.254.169.254",
            "64:ff9b:1::100.100.100.200",
            "2002:a9fe:a9fe::1",
            "2001:0:5db8:d822:0:1234:5601:5601",
            "2001:0:a9fe:a9fe:0:1234:5678:9abc",
            "2001:db8::5efe:169.254.169.254",
            "2001:db8::200:5efe:169.254.169.254",
        ] {
            assert!(is_off_limits(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn metadata_services_are_known() {
        for address in [
            "fd00:ec2::254",
            "fd00:ec2::23",
            "fd00:ec2:ffff:ffff:ffff:ffff:ffff:ffff",
            "fd20:ce::254",
            "fd00:c1::a9fe:a9fe",
            "fd00:42::42",
            "fd00:a9fe:a9fe::1",
            "fd00:100::100:200",
            "100.100.100.200",
            "192.0.0.192",
            "168.63.129.16",
            "::ffff:168.63.129.16",
        ] {
            assert!(is_off_limits(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn everything_else_may_be_asked() {
        for address in [
            "127.0.0.1",
            "::1",
            "::",
            "10.0.0.1",
            "169.253.1.1",
            "169.255.0.1",
            "fec0::1",
            "fd00::1",
            "fd00:ec3::254",
            "::ffff:10.0.0.1",
            "::ffff:0:10.0.0.1",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::10.0.0.1",
            "64:ff9b:2::169.254.169.254",
            "2002:a00:1::1",
            "2001:0:5db8:d822:0:1234:f5ff:fffe",
            "2001:db8::a9fe:a9fe",
            "2606:4700::a9fe:a9fe",
        ] {
            assert!(!is_off_limits(address.parse().unwrap()), "{address}");
        }
    }
}
