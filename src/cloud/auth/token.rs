//! What a token says of itself. It is ours to send, not to verify.

use serde_json::Value;

/// The claim that holds the service's own ones.
const SERVICE_CLAIM: &str = "https://api.openai.com/auth";

/// When a token ends, in seconds since 1970.
pub(super) fn expiry(token: &str) -> Option<i64> {
    claims(token)?.get("exp")?.as_i64()
}

/// The account that an id token is for.
pub(super) fn account(id_token: &str) -> Option<String> {
    let claims = claims(id_token)?;
    let account = claims.get(SERVICE_CLAIM)?.get("chatgpt_account_id")?;
    account.as_str().map(str::to_owned)
}

fn claims(token: &str) -> Option<Value> {
    let body = token.split('.').nth(1)?;
    let json = base64_simd::URL_SAFE_NO_PAD
        .decode_to_vec(body.trim_end_matches('='))
        .ok()?;
    serde_json::from_slice(&json).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(claims: &str) -> String {
        format!(
            "h.{}.s",
            base64_simd::URL_SAFE_NO_PAD.encode_to_string(claims)
        )
    }

    #[test]
    fn claims_are_read_and_nonsense_has_none() {
        let full = token(
            r#"{"exp":1795615315,"https://api.openai.com/auth":{"chatgpt_account_id":"acc"}}"#,
        );
        assert_eq!(expiry(&full), Some(1_795_615_315));
        assert_eq!(account(&full).as_deref(), Some("acc"));
        for nonsense in [
            "",
            "a",
            "a.b",
            "a.!.c",
            &token("[]"),
            &token(r#"{"exp":"x"}"#),
        ] {
            assert_eq!(expiry(nonsense), None, "{nonsense}");
            assert_eq!(account(nonsense), None, "{nonsense}");
        }
    }
}
