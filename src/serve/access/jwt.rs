//! Signed bearer tokens: JSON web tokens with HMAC-SHA-256, the one algorithm with a shared secret.
//!
//! The token never chooses how it is checked: another algorithm, `none` above all, is no token.

use ring::hmac;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

/// What is asked of a token beyond its signature.
#[derive(Clone, Debug, Default)]
pub(crate) struct Claims {
    /// The one `iss` that will do.
    pub(crate) issuer: Option<String>,
    /// What `aud` must be or contain.
    pub(crate) audience: Option<String>,
    /// By how many seconds the clocks may differ.
    pub(crate) skew: u64,
}

/// The members of a header that decide something; a `jwk` or `x5u` that comes along decides
/// nothing.
#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default, rename = "typ")]
    _kind: Option<String>,
    /// Extensions that must be understood, of which we know none.
    #[serde(default)]
    crit: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Body {
    exp: i64,
    #[serde(default)]
    nbf: Option<i64>,
    #[serde(default)]
    iss: Option<String>,
    #[serde(default)]
    aud: Option<Audience>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Audience {
    fn has(&self, name: &str) -> bool {
        match self {
            Self::One(one) => one == name,
            Self::Many(many) => many.iter().any(|one| one == name),
        }
    }
}

const INVALID: &str = "invalid websocket jwt";

/// Checks a token that was signed with `secret`; `now` is in seconds since 1970. The error is the
/// reference's text for the client.
pub(crate) fn check(
    token: &str,
    secret: &[u8],
    claims: &Claims,
    now: u64,
) -> Result<(), &'static str> {
    let body = verified(token, secret).ok_or(INVALID)?;
    let (now, skew) = (i128::from(now), i128::from(claims.skew));
    if now > i128::from(body.exp) + skew {
        return Err("expired websocket jwt");
    }
    if body.nbf.is_some_and(|begin| i128::from(begin) > now + skew) {
        return Err("websocket jwt is not valid yet");
    }
    if claims.issuer.is_some() && claims.issuer != body.iss {
        return Err("websocket jwt issuer mismatch");
    }
    if let Some(wanted) = &claims.audience
        && !body.aud.is_some_and(|audience| audience.has(wanted))
    {
        return Err("websocket jwt audience mismatch");
    }
    Ok(())
}

/// The body of a token whose header and signature are good.
fn verified(token: &str, secret: &[u8]) -> Option<Body> {
    let (signed, signature) = token.rsplit_once('.')?;
    let (header, body) = signed.split_once('.')?;
    let header: Header = object(header)?;
    if header.alg != "HS256" || header.crit.is_some() {
        return None;
    }
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    hmac::verify(&key, signed.as_bytes(), &decode(signature)?).ok()?;
    object(body)
}

/// Reads a part of a token; serde would take an array for an object, too.
fn object<T: DeserializeOwned>(part: &str) -> Option<T> {
    let json = decode(part)?;
    if !json.trim_ascii_start().starts_with(b"{") {
        return None;
    }
    serde_json::from_slice(&json).ok()
}

fn decode(text: &str) -> Option<Vec<u8>> {
    base64_simd::URL_SAFE_NO_PAD.decode_to_vec(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
    const NOW: u64 = 1_800_000_000;

    fn signed(header: &str, body: &str) -> String {
        let encode = |bytes: &[u8]| base64_simd::URL_SAFE_NO_PAD.encode_to_string(bytes);
        let signed = format!("{}.{}", encode(header.as_bytes()), encode(body.as_bytes()));
        let signature = encode(
            hmac::sign(
                &hmac::Key::new(hmac::HMAC_SHA256, SECRET),
                signed.as_bytes(),
            )
            .as_ref(),
        );
        format!("{signed}.{signature}")
    }

    fn verdict(header: &str, body: &str, claims: &Claims) -> &'static str {
        match check(&signed(header, body), SECRET, claims, NOW) {
            Ok(()) => "",
            Err(text) => text,
        }
    }

    #[test]
    fn times_are_compared_with_skew() {
        let claims = Claims {
            skew: 30,
            ..Claims::default()
        };
        for (body, expected) in [
            (r#"{"exp":1800000060}"#, ""),
            (r#"{"exp":1799999970}"#, ""),
            (r#"{"exp":1799999969}"#, "expired websocket jwt"),
            (r#"{"exp":-5}"#, "expired websocket jwt"),
            (r#"{"exp":9223372036854775807}"#, ""),
            (r#"{"exp":9223372036854775808}"#, INVALID),
            (r#"{"exp":1800000060.0}"#, INVALID),
            (r#"{"exp":"1800000060"}"#, INVALID),
            (r#"{}"#, INVALID),
            (r#"[1800000060]"#, INVALID),
            (r#"{"exp":1,"exp":1800000060}"#, INVALID),
            (r#"{"exp":1800000060}x"#, INVALID),
            (r#"{"exp":1800000060,"nbf":1800000030}"#, ""),
            (
                r#"{"exp":1800000060,"nbf":1800000031}"#,
                "websocket jwt is not valid yet",
            ),
            (r#"{"exp":1800000060,"nbf":null,"iat":"x"}"#, ""),
            (r#"{"exp":1800000060,"nbf":1.5}"#, INVALID),
            (r#"{"exp":1800000060,"nbf":-9223372036854775808}"#, ""),
            (r#"{"exp":1,"nbf":1900000000}"#, "expired websocket jwt"),
        ] {
            assert_eq!(
                verdict(r#"{"alg":"HS256"}"#, body, &claims),
                expected,
                "{body}"
            );
        }
        let endless = Claims {
            skew: u64::MAX,
            ..Claims::default()
        };
        let body = r#"{"exp":-9223372036854775808,"nbf":9223372036854775807}"#;
        assert_eq!(verdict(r#"{"alg":"HS256"}"#, body, &endless), "");
    }

    #[test]
    fn no_algorithm_but_one() {
        let body = r#"{"exp":1800000060}"#;
        for (header, is_good) in [
            (r#"{"alg":"HS256","typ":"JWT","kid":"k","jwk":{}}"#, true),
            (r#"{"alg":"HS256","typ":null}"#, true),
            (r#"{"alg":"none"}"#, false),
            (r#"{"alg":"hs256"}"#, false),
            (r#"{"alg":"HS384"}"#, false),
            (r#"{"alg":"RS256"}"#, false),
            (r#"{"typ":"JWT"}"#, false),
            (r#"{"alg":"HS256","typ":5}"#, false),
            (r#"{"alg":"HS256","crit":["exp"]}"#, false),
            ("", false),
        ] {
            let text = verdict(header, body, &Claims::default());
            assert_eq!(text.is_empty(), is_good, "{header}: {text}");
        }
        let good = signed(r#"{"alg":"HS256"}"#, body);
        let unsigned = good.rsplit_once('.').unwrap().0;
        for token in [
            String::new(),
            "a.b.c".into(),
            "..".into(),
            unsigned.into(),
            format!("{unsigned}."),
            format!("{good}="),
            format!("{good}.x"),
            format!(".{good}"),
            good.replace('.', ""),
        ] {
            assert_eq!(
                check(&token, SECRET, &Claims::default(), NOW),
                Err(INVALID),
                "{token}"
            );
        }
        assert_eq!(
            check(&good, &[b'x'; 32], &Claims::default(), NOW),
            Err(INVALID)
        );
    }

    #[test]
    fn issuer_and_audience_are_checked_when_asked_for() {
        let claims = Claims {
            issuer: Some("me".into()),
            audience: Some("you".into()),
            skew: 0,
        };
        for (more, expected) in [
            (r#""iss":"me","aud":"you""#, ""),
            (r#""iss":"me","aud":["x","you"]"#, ""),
            (r#""aud":"you""#, "websocket jwt issuer mismatch"),
            (r#""iss":"Me","aud":"you""#, "websocket jwt issuer mismatch"),
            (r#""iss":"x","aud":"x""#, "websocket jwt issuer mismatch"),
            (r#""iss":"me""#, "websocket jwt audience mismatch"),
            (r#""iss":"me","aud":"x""#, "websocket jwt audience mismatch"),
            (r#""iss":"me","aud":[]"#, "websocket jwt audience mismatch"),
            (r#""iss":["me"],"aud":"you""#, INVALID),
            (r#""iss":"me","aud":["you",5]"#, INVALID),
        ] {
            let body = format!(r#"{{"exp":1800000060,{more}}}"#);
            assert_eq!(
                verdict(r#"{"alg":"HS256"}"#, &body, &claims),
                expected,
                "{more}"
            );
        }
        let unasked = r#"{"exp":1800000060,"iss":"x","aud":"y"}"#;
        assert_eq!(
            verdict(r#"{"alg":"HS256"}"#, unasked, &Claims::default()),
            ""
        );
    }
}
