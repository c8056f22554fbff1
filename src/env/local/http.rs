//! What `http/request` adds to an HTTP client: headers made of variables, and a body in one piece.

use std::io::Read;

use super::variables::variable_for_client;
use crate::net::http::{Reply, Request, RequestError, Variable};
use crate::rpc::error::{ErrorKind, RpcError};
use crate::rpc::methods::http::MAX_BODY;

/// What is read of a body at once, and the most that one notification carries.
pub const PIECE: usize = 64 * 1024;

/// How the reference names every failure of a body.
pub const DECODING: &str = "error decoding response body";

/// Adds a header, with the content of `variable`, if given, behind the value.
pub fn add_header(
    request: &mut Request,
    name: &str,
    value: &str,
    variable: Option<&str>,
) -> Result<(), RequestError> {
    let variable = variable.map(|name| Variable {
        name,
        content: variable_for_client(name),
    });
    request.header(name, value, variable)
}

/// Reads the whole body. `may_hold` is asked before each piece whether so many bytes may be
/// held in all.
///
/// # Errors
/// It breaks off, is larger than a message can be, or may not be held.
pub fn read_whole(
    reply: &mut Reply,
    mut may_hold: impl FnMut(usize) -> bool,
) -> Result<Vec<u8>, RpcError> {
    let mut body = Vec::new();
    let mut piece = vec![0; PIECE];
    if reply.length.is_some_and(|length| length > MAX_BODY as u64) {
        return Err(too_large());
    }
    loop {
        let count = reply.body.read(&mut piece).map_err(|error| {
            RpcError::failed(format!(
                "failed to read http/request response body: {DECODING}: {error}"
            ))
        })?;
        if count == 0 {
            return Ok(body);
        }
        if body.len() + count > MAX_BODY {
            return Err(too_large());
        }
        if !may_hold(body.len() + count) || body.try_reserve(count).is_err() {
            let message = "too many large bodies are being read at once; try again later, \
                           or use streamResponse: true";
            return Err(RpcError::new(ErrorKind::Busy, message));
        }
        body.extend_from_slice(&piece[..count]);
    }
}

fn too_large() -> RpcError {
    RpcError::failed(format!(
        "failed to read http/request response body: it is larger than {MAX_BODY} bytes, the most \
         that fits one message; use streamResponse: true"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_appended_if_it_is_set_and_may_be_told() {
        let mut request = Request::new("GET", "http://h/").unwrap();
        // Cargo sets it for every test.
        add_header(&mut request, "x", "v ", Some("CARGO_PKG_NAME")).unwrap();
        assert_eq!(request.headers["x"], "v exec-server");
        assert!(request.headers["x"].is_sensitive());
        for variable in ["NOT_SET_X", "", "A=B", "A\0B", "EXEC_SERVER_TOKEN"] {
            let error = add_header(&mut request, "X-E", "", Some(variable)).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!(
                    "http/request header X-E requires executor environment variable {variable}"
                )
            );
        }
    }
}
