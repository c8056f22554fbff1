//! The program inside: answers file requests from standard input, one after the other.
//!
//! Standard input is one end of a socket pair. What comes is the length of a request, four bytes,
//! and the request as the client has written it; what goes back is a line each, as on any
//! connection of lines, and an empty one at the start. A file that was opened travels on an empty
//! line of its own before the answer. The end of the input is the end of the program.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use super::channel::MAX_REQUEST;
use super::request::{self, Decoded};
use crate::rpc::protocol::process::Empty;
use crate::rpc::transport::{Framing, Outbound, Sink};
use crate::serve::dispatch::Later;
use crate::serve::files::FileService;

/// What is kept of a buffer that a large request has needed.
const KEEP: usize = 64 * 1024;
/// The server reads, or it is gone: writing to it waits in the write itself.
const PATIENCE: Duration = Duration::MAX;

/// Answers until the server hangs up.
///
/// # Errors
/// Standard input is no socket of the server's.
pub fn answer_file_requests() -> io::Result<()> {
    let socket = io::stdin().as_fd().try_clone_to_owned()?;
    let mut input = File::from(socket.try_clone()?);
    let sink = Sink::Stream(File::from(socket.try_clone()?));
    let outbound = Arc::new(Outbound::new(sink, Framing::Lines));
    let mut service = FileService::handing_over(Arc::clone(&outbound), PATIENCE, socket);
    outbound.send(|_| ());
    let mut request = Vec::new();
    while receive(&mut input, &mut request)? {
        answer(&mut service, &outbound, &request);
        outbound.flush();
        if request.capacity() > KEEP {
            request = Vec::new();
        }
        service.relax();
    }
    Ok(())
}

/// Reads the next request; false at the end of the input.
fn receive(input: &mut File, request: &mut Vec<u8>) -> io::Result<bool> {
    let mut len = [0; 4];
    match input.read_exact(&mut len) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
        Err(error) => return Err(error),
    }
    let len = u32::from_le_bytes(len) as usize;
    if len > MAX_REQUEST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    request.resize(len, 0);
    input.read_exact(request)?;
    Ok(true)
}

fn answer(service: &mut FileService, outbound: &Arc<Outbound>, request: &[u8]) {
    let Some(Decoded { id, request }) = request::decode(request) else {
        // The server has decoded what it sends; should it not have, it sees the end.
        outbound.kill();
        return;
    };
    let later = Later::new(id, outbound);
    match request {
        Ok((request, path)) => service.answer(&later, request, Some(path)),
        Err(error) => later.add(Err::<&Empty, _>(&error)),
    }
}
