//! The body of an answer, in one piece.

use std::io::Read;

use super::fetch::Reply;
use crate::rpc::error::{ErrorKind, RpcError};
use crate::rpc::methods::http::MAX_BODY;

/// What is read of a body at once, and the most that one notification carries.
pub const PIECE: usize = 64 * 1024;

/// How the reference names every failure of a body.
pub const DECODING: &str = "error decoding response body";

impl Reply {
    /// Reads the whole body. `may_hold` is asked before each piece whether so many bytes may be
    /// held in all.
    ///
    /// # Errors
    /// It breaks off, is larger than a message can be, or may not be held.
    pub fn read_whole(
        &mut self,
        mut may_hold: impl FnMut(usize) -> bool,
    ) -> Result<Vec<u8>, RpcError> {
        let mut body = Vec::new();
        let mut piece = vec![0; PIECE];
        if self.length.is_some_and(|length| length > MAX_BODY as u64) {
            return Err(too_large());
        }
        loop {
            let count = self.body.read(&mut piece).map_err(|error| {
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
            if !may_hold(body.len() + count) {
                let message = "too many large bodies are being read at once; try again later, \
                               or use streamResponse: true";
                return Err(RpcError::new(ErrorKind::Busy, message));
            }
            body.extend_from_slice(&piece[..count]);
        }
    }
}

fn too_large() -> RpcError {
    RpcError::failed(format!(
        "failed to read http/request response body: it is larger than {MAX_BODY} bytes, the most \
         that fits one message; use streamResponse: true"
    ))
}
