//! Descriptors that pass from one process to another, over a Unix stream socket.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::null_mut;

use super::{counted, retry};

/// Room for the control message of one descriptor, aligned as its header must be.
#[repr(C)]
union Control {
    header: libc::cmsghdr,
    bytes: [u8; 32],
}

/// What a control message with one descriptor measures; with room for no more, no second one fits.
fn control_len() -> usize {
    // SAFETY: computes a length from a length.
    unsafe { libc::CMSG_LEN(size_of::<libc::c_int>() as libc::c_uint) as usize }
}

/// Sends one byte and with it a descriptor, of which the receiver gets one of its own. Waits for
/// room; never raises SIGPIPE.
pub fn send_descriptor(
    socket: BorrowedFd<'_>,
    byte: u8,
    descriptor: BorrowedFd<'_>,
) -> io::Result<()> {
    let mut control = Control { bytes: [0; 32] };
    let mut part = libc::iovec {
        iov_base: (&raw const byte).cast_mut().cast(),
        iov_len: 1,
    };
    let message = message(&mut part, &mut control);
    // SAFETY: the message describes live memory; the first header lies in `control`, which has
    // room for it and one descriptor behind it.
    unsafe {
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = control_len() as _;
        libc::CMSG_DATA(header)
            .cast::<libc::c_int>()
            .write_unaligned(descriptor.as_raw_fd());
    }
    let (fd, message) = (socket.as_raw_fd(), &raw const message);
    // SAFETY: the message describes one readable byte and one control message.
    retry(|| counted(unsafe { libc::sendmsg(fd, message, libc::MSG_NOSIGNAL) })).map(drop)
}

/// Reads some bytes, 0 at the end, and the descriptor that came with the last of them, if one did.
/// A second one is not taken. `WouldBlock` when the socket's timeout has passed.
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
    let mut control = Control { bytes: [0; 32] };
    let mut part = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    let mut message = message(&mut part, &mut control);
    // SAFETY: the message describes writable memory that outlives the call.
    let count =
        unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_CMSG_CLOEXEC) };
    let count = counted(count)?;
    // SAFETY: the kernel has written whole control messages into `control` and said how long they
    // are; a descriptor among them is fresh and owned by nobody else.
    let descriptor = unsafe {
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        let is_one = !header.is_null()
            && (*header).cmsg_level == libc::SOL_SOCKET
            && (*header).cmsg_type == libc::SCM_RIGHTS
            && (*header).cmsg_len as usize >= control_len();
        is_one.then(|| {
            let number = libc::CMSG_DATA(header).cast::<libc::c_int>();
            OwnedFd::from_raw_fd(number.read_unaligned())
        })
    };
    Ok((count, descriptor))
}

/// A message of one part with room for one descriptor. It points to both arguments.
fn message(part: &mut libc::iovec, control: &mut Control) -> libc::msghdr {
    // SAFETY: all zero is a valid msghdr, and leaves fields out that only some C libraries have.
    let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    message.msg_name = null_mut();
    message.msg_iov = part;
    message.msg_iovlen = 1;
    message.msg_control = (&raw mut *control).cast();
    message.msg_controllen = control_len() as _;
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{Read, Write};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_descriptor_arrives_with_its_byte_and_closes_on_exec() {
        let (here, mut there) = UnixStream::pair().unwrap();
        let (mut reader, writer) = io::pipe().unwrap();
        there.write_all(b"before").unwrap();
        send_descriptor(there.as_fd(), b'!', writer.as_fd()).unwrap();
        drop(writer);
        there.write_all(b"after").unwrap();
        let mut buffer = [0; 64];
        let (count, passed) = receive(here.as_fd(), &mut buffer).unwrap();
        assert_eq!(&buffer[..count], b"before!", "nothing behind the byte");
        let mut passed = File::from(passed.unwrap());
        // SAFETY: takes no pointers.
        let flags = unsafe { libc::fcntl(passed.as_raw_fd(), libc::F_GETFD) };
        assert_eq!(flags & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
        passed.write_all(b"through").unwrap();
        drop(passed);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "through");
        let (count, none) = receive(here.as_fd(), &mut buffer).unwrap();
        assert!(none.is_none());
        assert_eq!(&buffer[..count], b"after");
        drop(there);
        assert_eq!(receive(here.as_fd(), &mut buffer).unwrap().0, 0);
    }
}
