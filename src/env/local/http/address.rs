//! Addresses that a request does not go to unless the operator wants it: those
//! of the link, where clouds hand out the machine's credentials to whoever asks.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;
use ureq::unversioned::transport::time::Duration;

use crate::rpc::dial::in_time;

/// Services about the machine itself that are not on the link.
const METADATA: [IpAddr; 5] = [
    // Amazon
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    // Google
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
    // Alibaba
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    // Oracle
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    // Azure
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
];

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
                    || embedded(address).is_some_and(|inner| is_off_limits(inner.into()))
            }
        }
}

/// The version 4 address that packets to this one end up at.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let low =
        |high: u16, low: u16| Some(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)));
    match address.segments() {
        // Mapped, and the older compatible form, which is not `::1` or `::`.
        [0, 0, 0, 0, 0, 0xffff, a, b] => low(a, b),
        [0, 0, 0, 0, 0, 0, a, b] if a != 0 => low(a, b),
        // Translated by a gateway.
        [0x64, 0xff9b, 0, 0, 0, 0, a, b] => low(a, b),
        [0x2002, a, b, ..] => low(a, b),
        _ => None,
    }
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
            "fd00:ec2::254",
            "::ffff:169.254.169.254",
            "::169.254.169.254",
            "64:ff9b::169.254.169.254",
            "2002:a9fe:a9fe::1",
            "100.100.100.200",
            "::ffff:168.63.129.16",
        ] {
            assert!(is_off_limits(address.parse().unwrap()), "{address}");
        }
        for address in [
            "127.0.0.1",
            "::1",
            "::",
            "10.0.0.1",
            "169.253.1.1",
            "fec0::1",
            "fd00::1",
            "::ffff:10.0.0.1",
            "2001:db8::a9fe:a9fe",
        ] {
            assert!(!is_off_limits(address.parse().unwrap()), "{address}");
        }
    }
}
