//! The command's output on its way to our standard output and standard error.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, BorrowedFd};

use crate::sys::poll::{self, PollFd, WRITABLE};

/// One of our streams. Everything goes out at once and as it is: a buffer of ours would only
/// delay what the command has flushed.
pub(super) struct Output(File);

impl Output {
    /// Takes over a stream.
    ///
    /// # Errors
    /// There is no descriptor left.
    pub(super) fn new(stream: BorrowedFd<'_>) -> io::Result<Self> {
        Ok(Self(File::from(stream.try_clone_to_owned()?)))
    }

    /// Writes everything, waiting for a slow reader.
    ///
    /// # Errors
    /// The reader is gone, or the disk is full.
    pub(super) fn write(&mut self, mut data: &[u8]) -> io::Result<()> {
        while !data.is_empty() {
            match self.0.write(data) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => data = &data[count..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Whoever shares the stream with us may have made it so.
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    poll::wait(&mut [PollFd::new(self.0.as_fd(), WRITABLE)], None)?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
