//! As much of X.509 (RFC 5280) as this program needs, in DER: to make a certificate that its own key
//! has signed, for a server without an authority, and to read what a certificate may be used for.

use std::io;
use std::net::IpAddr;

use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use rustls::pki_types::ServerName;

use crate::calendar::{parse_rfc3339, rfc3339};
use crate::sys::random;

/// A certificate and its key, in DER; the key is PKCS #8.
pub struct SelfSigned {
    /// Whom it is for, the first name being its owner's.
    pub certificate: Vec<u8>,
    /// What nobody else may have.
    pub key: Vec<u8>,
}

/// The longest name that an owner may have; others are told by the names below alone.
const LONGEST_OWNER: usize = 64;
/// Who the owner is where the name is longer.
const OWNER: &str = "exec-server";
/// From this year on a time has four digits for it.
const GENERALIZED: &str = "2050";

// Tags of DER.
const BOOLEAN: u8 = 0x01;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OBJECT: u8 = 0x06;
const UTF8_STRING: u8 = 0x0c;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
/// The version of a certificate, and its extensions.
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
/// What version 2 had to tell issuers and subjects of one name apart.
const UNIQUE_IDS: [u8; 2] = [0x81, 0x82];
/// A name, and an address, of a subject.
const DNS_NAME: u8 = 0x82;
const IP_ADDRESS: u8 = 0x87;

// Objects, as DER has them.
const ECDSA_WITH_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const PRIME256V1: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
const KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];
const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x25];
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];
/// The sixth bit of the usage of a key: it signs certificates.
const KEY_CERT_SIGN: u8 = 0x04;
const SERVER_AUTH: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01];

/// A certificate for these names, valid between two times in seconds since 1970.
///
/// # Errors
/// The system gives no random bytes.
pub fn self_signed(names: &[ServerName<'_>], from: i64, until: i64) -> io::Result<SelfSigned> {
    let failed = |_| io::Error::other("the system gives no random bytes");
    let random = SystemRandom::new();
    let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
    let key = EcdsaKeyPair::generate_pkcs8(algorithm, &random).map_err(failed)?;
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, key.as_ref(), &random)
        .map_err(|error| io::Error::other(error.to_string()))?;
    let mut serial = [0; 16];
    random::fill(&mut serial)?;
    // Positive, and never with a leading zero.
    serial[0] = serial[0] & 0x3f | 0x40;

    let signing = sequence(&[&der(OBJECT, ECDSA_WITH_SHA256)]);
    let owner = owner(names);
    let content = sequence(&[
        &der(VERSION, &der(INTEGER, &[2])),
        &der(INTEGER, &serial),
        &signing,
        &owner,
        &sequence(&[&time(from), &time(until)]),
        &owner,
        &sequence(&[
            &sequence(&[&der(OBJECT, EC_PUBLIC_KEY), &der(OBJECT, PRIME256V1)]),
            &bits(0, pair.public_key().as_ref()),
        ]),
        &der(EXTENSIONS, &extensions(names)),
    ]);
    let signature = pair.sign(&random, &content).map_err(failed)?;
    Ok(SelfSigned {
        certificate: sequence(&[&content, &signing, &bits(0, signature.as_ref())]),
        key: key.as_ref().to_vec(),
    })
}

fn owner(names: &[ServerName<'_>]) -> Vec<u8> {
    let first = names.first().map(ServerName::to_str);
    let name = first.filter(|name| name.len() <= LONGEST_OWNER);
    let name = name.as_deref().unwrap_or(OWNER);
    let attribute = sequence(&[
        &der(OBJECT, COMMON_NAME),
        &der(UTF8_STRING, name.as_bytes()),
    ]);
    sequence(&[&der(SET, &attribute)])
}

fn extensions(names: &[ServerName<'_>]) -> Vec<u8> {
    let extension = |object: &[u8], is_critical: bool, value: Vec<u8>| {
        let critical = match is_critical {
            true => der(BOOLEAN, &[0xff]),
            false => Vec::new(),
        };
        sequence(&[&der(OBJECT, object), &critical, &der(OCTET_STRING, &value)])
    };
    let names: Vec<Vec<u8>> = names.iter().filter_map(alternative).collect();
    let names: Vec<&[u8]> = names.iter().map(Vec::as_slice).collect();
    sequence(&[
        // It vouches for nobody else.
        &extension(BASIC_CONSTRAINTS, true, sequence(&[])),
        // Its key signs handshakes: the first bit of eight, seven of which do not count.
        &extension(KEY_USAGE, true, bits(7, &[0x80])),
        &extension(
            EXTENDED_KEY_USAGE,
            false,
            sequence(&[&der(OBJECT, SERVER_AUTH)]),
        ),
        &extension(SUBJECT_ALT_NAME, false, sequence(&names)),
    ])
}

fn alternative(name: &ServerName<'_>) -> Option<Vec<u8>> {
    match name {
        ServerName::DnsName(name) => Some(der(DNS_NAME, name.as_ref().as_bytes())),
        ServerName::IpAddress(address) => Some(match IpAddr::from(*address) {
            IpAddr::V4(address) => der(IP_ADDRESS, &address.octets()),
            IpAddr::V6(address) => der(IP_ADDRESS, &address.octets()),
        }),
        // There are no others yet.
        _ => None,
    }
}

/// A point in time, in the form that its year asks for.
fn time(seconds: i64) -> Vec<u8> {
    let mut text = rfc3339(seconds);
    text.retain(|c| c.is_ascii_digit() || c == 'Z');
    match &text[..4] < GENERALIZED {
        true => der(UTC_TIME, &text.as_bytes()[2..]),
        false => der(GENERALIZED_TIME, text.as_bytes()),
    }
}

fn bits(unused: u8, bytes: &[u8]) -> Vec<u8> {
    der(BIT_STRING, &[&[unused], bytes].concat())
}

fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    der(SEQUENCE, &parts.concat())
}

/// One value: its tag, its length, and itself.
fn der(tag: u8, value: &[u8]) -> Vec<u8> {
    let length = value.len().to_be_bytes();
    let digits = &length[length.iter().take_while(|byte| **byte == 0).count()..];
    let mut encoded = vec![tag];
    match value.len() {
        short @ 0..0x80 => encoded.push(short as u8),
        _ => {
            encoded.push(0x80 | digits.len() as u8);
            encoded.extend(digits);
        }
    }
    encoded.extend(value);
    encoded
}

/// What a certificate says about its own use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// When it becomes valid, in seconds since 1970.
    pub from: i64,
    /// The last second in which it is.
    pub until: i64,
    /// Whether its key may sign other certificates.
    pub is_authority: bool,
    /// Whether it may be a server's, or may vouch for one.
    pub is_for_servers: bool,
}

impl Usage {
    /// That of a certificate in DER; none if it is no certificate.
    pub fn of(certificate: &[u8]) -> Option<Self> {
        let mut content = Der(Der(Der(certificate).take(SEQUENCE)?).take(SEQUENCE)?);
        content.take(VERSION);
        // The serial number, the signature's algorithm and the issuer.
        content.take(INTEGER)?;
        content.take(SEQUENCE)?;
        content.take(SEQUENCE)?;
        let mut validity = Der(content.take(SEQUENCE)?);
        let (from, until) = (validity.time()?, validity.time()?);
        // The subject and its key.
        content.take(SEQUENCE)?;
        content.take(SEQUENCE)?;
        for tag in UNIQUE_IDS {
            content.take(tag);
        }

        let (mut constraints, mut key_usage, mut purposes) = (None, None, None);
        let extensions = content.take(EXTENSIONS);
        let extensions = extensions.map_or(Some(&[][..]), |it| Der(it).take(SEQUENCE))?;
        let mut extensions = Der(extensions);
        while !extensions.0.is_empty() {
            let mut extension = Der(extensions.take(SEQUENCE)?);
            let object = extension.take(OBJECT)?;
            extension.take(BOOLEAN);
            let value = Der(extension.take(OCTET_STRING)?);
            let place = match object {
                BASIC_CONSTRAINTS => &mut constraints,
                KEY_USAGE => &mut key_usage,
                EXTENDED_KEY_USAGE => &mut purposes,
                _ => continue,
            };
            // Each at most once: of two, nobody could tell which one counts.
            if place.replace(value).is_some() {
                return None;
            }
        }
        let is_ca = match constraints {
            Some(mut value) => Der(value.take(SEQUENCE)?).take(BOOLEAN) == Some(&[0xff]),
            None => false,
        };
        let may_sign = match key_usage {
            // Behind the number of bits that do not count.
            Some(mut value) => value.take(BIT_STRING)?.get(1).unwrap_or(&0) & KEY_CERT_SIGN != 0,
            None => true,
        };
        let is_for_servers = match purposes {
            Some(mut value) => {
                let mut purposes = Der(value.take(SEQUENCE)?);
                std::iter::from_fn(|| purposes.take(OBJECT)).any(|it| it == SERVER_AUTH)
            }
            None => true,
        };
        Some(Self {
            from,
            until,
            is_authority: is_ca && may_sign,
            is_for_servers,
        })
    }
}

/// Values in DER, one behind the other.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The content of the next value if it has this tag; else it is still the next.
    fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (&[seen, first], rest) = self.0.split_first_chunk()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            // No certificate has a value of 16 MiB.
            0x81..=0x83 => {
                let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                let digit = |number, byte: &u8| number << 8 | usize::from(*byte);
                (digits.iter().fold(0, digit), rest)
            }
            _ => return None,
        };
        let (value, rest) = rest.split_at_checked(length)?;
        (seen == tag).then(|| {
            self.0 = rest;
            value
        })
    }

    /// A point in time, in seconds since 1970.
    fn time(&mut self) -> Option<i64> {
        let (year, rest) = match self.take(UTC_TIME) {
            Some(text) => {
                let (year, rest) = str::from_utf8(text).ok()?.split_at_checked(2)?;
                let century = if year < "50" { "20" } else { "19" };
                (format!("{century}{year}"), rest)
            }
            None => {
                let text = str::from_utf8(self.take(GENERALIZED_TIME)?).ok()?;
                let (year, rest) = text.split_at_checked(4)?;
                (year.to_owned(), rest)
            }
        };
        if rest.len() != 11 || !rest.is_ascii() {
            return None;
        }
        let [month, day, hour, minute] = [0, 2, 4, 6].map(|at| &rest[at..at + 2]);
        let second = &rest[8..];
        parse_rfc3339(&format!("{year}-{month}-{day}T{hour}:{minute}:{second}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_we_make_is_read() {
        let names = [ServerName::try_from("localhost").unwrap()];
        for (from, until) in [(0, 2_524_607_999), (2_524_608_000, 4_102_444_800)] {
            let made = self_signed(&names, from, until).unwrap().certificate;
            let expected = Usage {
                from,
                until,
                is_authority: false,
                is_for_servers: true,
            };
            assert_eq!(Usage::of(&made), Some(expected));
        }
    }

    #[test]
    fn no_damage_is_more_than_no_certificate() {
        let names = [ServerName::try_from("localhost").unwrap()];
        let made = self_signed(&names, 0, 1).unwrap().certificate;
        for length in 0..made.len() {
            assert_eq!(Usage::of(&made[..length]), None, "{length}");
        }
        for at in 0..made.len() {
            for byte in 0..=u8::MAX {
                let mut damaged = made.clone();
                damaged[at] = byte;
                // Whatever comes of it, it is an answer.
                let _ = Usage::of(&damaged);
            }
        }
    }

    /// A certificate with these extensions and nothing of use besides.
    fn with_extensions(extensions: &[(&[u8], Vec<u8>)]) -> Option<(bool, bool)> {
        let extensions: Vec<_> = extensions
            .iter()
            .map(|(object, value)| sequence(&[&der(OBJECT, object), &der(OCTET_STRING, value)]))
            .collect();
        let extensions: Vec<_> = extensions.iter().map(Vec::as_slice).collect();
        let empty = sequence(&[]);
        let content = sequence(&[
            &der(INTEGER, &[1]),
            &empty,
            &empty,
            &sequence(&[&time(0), &time(1)]),
            &empty,
            &empty,
            &der(EXTENSIONS, &sequence(&extensions)),
        ]);
        let usage = Usage::of(&sequence(&[&content]))?;
        Some((usage.is_authority, usage.is_for_servers))
    }

    #[test]
    fn an_authority_says_so_and_may_sign() {
        let ca = || (BASIC_CONSTRAINTS, sequence(&[&der(BOOLEAN, &[0xff])]));
        let not_ca = (BASIC_CONSTRAINTS, sequence(&[]));
        let key_usage = |byte| (KEY_USAGE, bits(1, &[byte]));
        let purpose = |object| (EXTENDED_KEY_USAGE, sequence(&[&der(OBJECT, object)]));
        let client_auth = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x02];
        for (extensions, expected) in [
            (vec![], Some((false, true))),
            (vec![ca()], Some((true, true))),
            (vec![not_ca.clone()], Some((false, true))),
            (vec![ca(), key_usage(0x06)], Some((true, true))),
            (vec![ca(), key_usage(0x82)], Some((false, true))),
            (
                vec![ca(), (KEY_USAGE, der(BIT_STRING, &[]))],
                Some((false, true)),
            ),
            (vec![ca(), purpose(SERVER_AUTH)], Some((true, true))),
            (vec![ca(), purpose(client_auth)], Some((true, false))),
            (vec![not_ca, ca()], None),
            (vec![(BASIC_CONSTRAINTS, vec![])], None),
        ] {
            assert_eq!(with_extensions(&extensions), expected, "{extensions:?}");
        }
    }

    #[test]
    fn lengths_take_as_many_bytes_as_they_need() {
        for (length, head) in [
            (0, &[4, 0][..]),
            (127, &[4, 127]),
            (128, &[4, 0x81, 128]),
            (255, &[4, 0x81, 255]),
            (256, &[4, 0x82, 1, 0]),
            (65536, &[4, 0x83, 1, 0, 0]),
        ] {
            let encoded = der(OCTET_STRING, &vec![0; length]);
            assert_eq!(&encoded[..head.len()], head);
            assert_eq!(encoded.len(), head.len() + length);
        }
    }

    #[test]
    fn the_year_decides_on_the_form_of_a_time() {
        assert_eq!(time(0), b"\x17\x0d700101000000Z");
        assert_eq!(time(2_524_607_999), b"\x17\x0d491231235959Z");
        assert_eq!(time(2_524_608_000), b"\x18\x0f20500101000000Z");
    }
}
