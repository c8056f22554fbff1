//! A peer that knows nothing but sizes: so many bytes in, so many out.

use std::io::{self, Read, Write};
use std::net::TcpListener;

/// Answers one TCP connection.
pub fn tcp(request: usize, answer_size: usize) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("ws://{}", listener.local_addr()?);
    let (stream, _) = listener.accept()?;
    stream.set_nodelay(true)?;
    answer(&stream, &stream, request, answer_size)
}

/// Answers all full requests of a read in one write, until the end of file.
pub fn answer(
    mut from: impl Read,
    mut to: impl Write,
    request: usize,
    answer: usize,
) -> io::Result<()> {
    let mut bytes = vec![0; 64 * 1024];
    let answers = vec![b'y'; (bytes.len() / request + 1) * answer];
    let mut part = 0;
    loop {
        let count = from.read(&mut bytes)?;
        if count == 0 {
            return Ok(());
        }
        part += count;
        to.write_all(&answers[..part / request * answer])?;
        to.flush()?;
        part %= request;
    }
}
