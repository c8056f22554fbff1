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

use super::helper::MAX_REQUEST;
use super::{Decoded, decode};
use crate::net::Sink;
use crate::rpc::transport::{Framing, Outbound};
use crate::serve::files::FileService;
use crate::serve::reply::{Responder, Source};

/// What is kept to receive requests; larger ones are rare.
const KEEP: usize = 64 * 1024;
/// Bytes of a request's length.
const LEN: usize = 4;
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
    let mut chunk = vec![0; KEEP];
    let mut long = Vec::new();
    while let Some(request) = receive(&mut input, &mut chunk, &mut long)? {
        answer(&mut service, &outbound, request);
        outbound.flush();
        long = Vec::new();
        service.shrink();
    }
    Ok(())
}

/// Reads the next request, with one system call if it fits into `chunk`; none at the end of the
/// input.
fn receive<'a>(
    input: &mut impl Read,
    chunk: &'a mut [u8],
    long: &'a mut Vec<u8>,
) -> io::Result<Option<&'a [u8]>> {
    let mut count = 0;
    let len = loop {
        if let Some(len) = chunk[..count].first_chunk() {
            break u32::from_le_bytes(*len) as usize;
        }
        match input.read(&mut chunk[count..]) {
            Ok(0) if count == 0 => return Ok(None),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(more) => count += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    };
    let start = &chunk[LEN..count];
    // The next request comes only after the answer to this one.
    if len > MAX_REQUEST || start.len() > len {
        return Err(io::ErrorKind::InvalidData.into());
    }
    if start.len() == len {
        return Ok(Some(start));
    }
    long.reserve_exact(len);
    long.extend_from_slice(start);
    long.resize(len, 0);
    input.read_exact(&mut long[count - LEN..])?;
    Ok(Some(long))
}

fn answer(service: &mut FileService, outbound: &Arc<Outbound>, request: &[u8]) {
    let Some(Decoded { id, request }) = decode(request) else {
        // The server has decoded what it sends; should it not have, it sees the end.
        outbound.kill();
        return;
    };
    let responder = Responder::new(id, outbound, Source::default());
    match request {
        Ok(request) => service.answer(&responder, request),
        Err(error) => responder.fail(&error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(json: &[u8]) -> Vec<u8> {
        [&(json.len() as u32).to_le_bytes(), json].concat()
    }

    /// A source that gives so many bytes at once.
    struct Pieces<'a>(&'a [u8], usize);

    impl Read for Pieces<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(self.0.len()).min(buffer.len());
            self.0.read(&mut buffer[..count])
        }
    }

    #[test]
    fn a_request_arrives_in_whatever_pieces() {
        for len in [0, 1, 12, 13, 100] {
            let request = vec![b'x'; len];
            let bytes = framed(&request);
            for piece in [1, 3, 4, 5, 16, 200] {
                let (mut chunk, mut long) = ([0; 16], Vec::new());
                let mut input = Pieces(&bytes, piece);
                let received = receive(&mut input, &mut chunk, &mut long).unwrap();
                assert_eq!(received, Some(&request[..]), "{len} by {piece}");
                assert!(
                    receive(&mut input, &mut chunk, &mut Vec::new())
                        .unwrap()
                        .is_none()
                );
            }
        }
    }

    #[test]
    fn half_a_request_and_more_than_one_are_errors() {
        let one = framed(b"{}");
        let two = [&one[..], &one[..]].concat();
        let long = (MAX_REQUEST as u32 + 1).to_le_bytes();
        for bytes in [&one[..3], &one[..5], &two, &long] {
            let (mut chunk, mut long) = ([0; 64], Vec::new());
            assert!(receive(&mut &bytes[..], &mut chunk, &mut long).is_err());
        }
    }
}
