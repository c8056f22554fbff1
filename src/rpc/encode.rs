//! Messages to the client, written straight into a frame buffer.

use std::io::Write;

use serde::Serialize;

use super::error::{RpcError, shortened};
use super::message::RequestId;
use super::methods::Method;
use crate::sys::vector::plain_len;

/// Appends `{"id":…,"result":…}`.
pub fn result(out: &mut Vec<u8>, id: RequestId<'_>, result: &impl Serialize) {
    result_with(out, id, |out| json(out, result));
}

/// As [`result`], with the result's JSON written by the caller.
pub fn result_with(out: &mut Vec<u8>, id: RequestId<'_>, write: impl FnOnce(&mut Vec<u8>)) {
    begin_result(out, id);
    write(out);
    out.push(b'}');
}

/// Appends `{"id":…,"result":`; the result's JSON and a `}` must follow.
pub fn begin_result(out: &mut Vec<u8>, id: RequestId<'_>) {
    out.extend_from_slice(b"{\"id\":");
    out.extend_from_slice(id.as_json().as_bytes());
    out.extend_from_slice(b",\"result\":");
}

/// Appends `{"error":…,"id":…}`.
///
/// The error's `data` is an extension and comes last in it.
pub fn error(out: &mut Vec<u8>, id: RequestId<'_>, error: &RpcError) {
    out.extend_from_slice(b"{\"error\":{\"code\":");
    number(out, error.kind.code().into());
    out.extend_from_slice(b",\"message\":");
    json(out, &*shortened(&error.message));
    out.extend_from_slice(b",\"data\":");
    json(out, &error.data);
    out.extend_from_slice(b"},\"id\":");
    out.extend_from_slice(id.as_json().as_bytes());
    out.push(b'}');
}

/// Appends the notification `M`.
pub fn notification<M: Method>(out: &mut Vec<u8>, params: &M::Params<'_>) {
    out.extend_from_slice(b"{\"method\":");
    json(out, M::NAME);
    out.extend_from_slice(b",\"params\":");
    json(out, params);
    out.push(b'}');
}

/// Appends a request, whose parameters' JSON the caller writes.
pub fn request(out: &mut Vec<u8>, id: i64, method: &str, params: &dyn Fn(&mut Vec<u8>)) {
    out.extend_from_slice(b"{\"id\":");
    number(out, id);
    out.extend_from_slice(b",\"method\":");
    json(out, method);
    out.extend_from_slice(b",\"params\":");
    params(out);
    out.push(b'}');
}

/// Appends a decimal number.
pub fn number(out: &mut Vec<u8>, value: i64) {
    // Writing to a Vec cannot fail.
    let _ = write!(out, "{value}");
}

/// Appends a value's JSON.
///
/// Our result types have string keys and finite numbers only, so this cannot
/// fail; should one ever, the client gets `null` and not half a value.
pub fn json(out: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    let start = out.len();
    if serde_json::to_writer(&mut *out, value).is_err() {
        out.truncate(start);
        out.extend_from_slice(b"null");
    }
}

/// Appends what is between the quotation marks of a text's JSON.
pub fn inner_text(out: &mut Vec<u8>, text: &str) {
    if plain_len(text.as_bytes()) == text.len() {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    let mut quoted = Vec::new();
    json(&mut quoted, text);
    out.extend_from_slice(&quoted[1..quoted.len() - 1]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::error::{ErrorData, Reason};
    use crate::rpc::message::UNKNOWN_ID;

    #[test]
    fn members_come_in_the_reference_s_order() {
        let mut out = Vec::new();
        result(&mut out, UNKNOWN_ID, &["a"]);
        error(&mut out, UNKNOWN_ID, &RpcError::invalid_params("no \"x\""));
        let text = String::from_utf8(out).unwrap();
        assert_eq!(
            text,
            r#"{"id":-1,"result":["a"]}{"error":{"code":-32602,"message":"no \"x\"","data":{"kind":"invalidParams"}},"id":-1}"#
        );
    }

    #[test]
    fn data_has_only_what_is_known() {
        let mut out = Vec::new();
        let data = ErrorData {
            stage: Some("launch"),
            errno: Some(28),
            ..Reason::NoSpace.into()
        };
        error(
            &mut out,
            UNKNOWN_ID,
            &RpcError::failed("no").with_data(data),
        );
        let text = String::from_utf8(out).unwrap();
        assert_eq!(
            text,
            r#"{"error":{"code":-32603,"message":"no","data":{"kind":"noSpace","stage":"launch","errno":28}},"id":-1}"#
        );
    }
}
