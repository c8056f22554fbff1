//! What `std::net` does not offer: a send that never waits, a connect to a path that does not
//! wait for ever, a listener whose file is nobody else's from its first moment.

use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

/// Sends what fits into the socket's buffer now and tells how much that was.
///
/// The socket itself stays blocking, so its reader still sleeps in one
/// system call. `WouldBlock` when nothing fits; never raises SIGPIPE.
pub fn send_now(socket: BorrowedFd<'_>, data: &[u8]) -> io::Result<usize> {
    // SAFETY: the pointer and the length describe one readable slice.
    let sent = unsafe {
        libc::send(
            socket.as_raw_fd(),
            data.as_ptr().cast(),
            data.len(),
            libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
        )
    };
    super::counted(sent)
}

/// The same for several slices, of which the kernel takes the first 1024.
pub fn send_vectored_now(socket: BorrowedFd<'_>, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    // SAFETY: all zero is a valid msghdr, and leaves fields out that only some C libraries have.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    // An IoSlice is an iovec in memory; the kernel only reads it.
    message.msg_iov = slices.as_ptr().cast::<libc::iovec>().cast_mut();
    message.msg_iovlen = slices.len().min(libc::UIO_MAXIOV as usize) as _;
    // SAFETY: the message describes readable slices that outlive the call.
    let sent = unsafe {
        libc::sendmsg(
            socket.as_raw_fd(),
            &raw const message,
            libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
        )
    };
    super::counted(sent)
}

/// Reads without taking: the same bytes come again. Sleeps as a read does.
pub fn peek(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the pointer and the length describe one writable slice.
    let count = unsafe {
        libc::recv(
            socket.as_raw_fd(),
            buffer.as_mut_ptr().cast(),
            buffer.len(),
            libc::MSG_PEEK,
        )
    };
    super::counted(count)
}

/// Connects to the Unix stream socket at `path`. `WouldBlock` when its listener has not made room
/// in its queue within `timeout`.
pub fn connect_unix(path: &Path, timeout: Duration) -> io::Result<UnixStream> {
    let address = unix_address(path)?;
    let stream = UnixStream::from(unix_socket()?);
    // The kernel's limit on sending is its limit on this wait too; zero would mean none.
    stream.set_write_timeout(Some(timeout.max(Duration::from_millis(1))))?;
    // SAFETY: the address is a whole sockaddr_un that outlives the call.
    let connected = unsafe {
        libc::connect(
            stream.as_raw_fd(),
            (&raw const address).cast(),
            size_of::<libc::sockaddr_un>() as libc::socklen_t,
        )
    };
    super::check(connected)?;
    stream.set_write_timeout(None)?;
    Ok(stream)
}

/// Listens at `path`, where nothing is yet. Its file never has other permissions than `mode`.
pub fn listen_unix(path: &Path, mode: libc::mode_t) -> io::Result<UnixListener> {
    /// As many as `std` lets wait.
    const WAITING: libc::c_int = 128;
    let address = unix_address(path)?;
    let socket = unix_socket()?;
    // SAFETY: no pointers. The file will get the mode that the socket has, less the umask.
    super::check(unsafe { libc::fchmod(socket.as_raw_fd(), mode) })?;
    // SAFETY: the address is a whole sockaddr_un that outlives the call.
    let bound = unsafe {
        libc::bind(
            socket.as_raw_fd(),
            (&raw const address).cast(),
            size_of::<libc::sockaddr_un>() as libc::socklen_t,
        )
    };
    super::check(bound)?;
    // SAFETY: no pointers.
    super::check(unsafe { libc::listen(socket.as_raw_fd(), WAITING) })?;
    Ok(UnixListener::from(socket))
}

fn unix_socket() -> io::Result<OwnedFd> {
    // SAFETY: no pointers.
    let socket = super::check(unsafe {
        libc::socket(libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0)
    })?;
    // SAFETY: the descriptor is new and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(socket) })
}

fn unix_address(path: &Path) -> io::Result<libc::sockaddr_un> {
    // SAFETY: all zero is a valid sockaddr_un.
    let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    address.sun_family = libc::AF_UNIX as libc::sa_family_t;
    let bytes = path.as_os_str().as_bytes();
    if bytes.len() >= address.sun_path.len() || bytes.contains(&0) {
        let why = "the path is too long for a socket, or no path";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    for (place, byte) in address.sun_path.iter_mut().zip(bytes) {
        *place = *byte as libc::c_char;
    }
    Ok(address)
}

/// The user at the other end of a Unix socket, as of its connecting.
pub fn peer_user(socket: BorrowedFd<'_>) -> io::Result<u32> {
    let mut peer = std::mem::MaybeUninit::<libc::ucred>::uninit();
    let mut size = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: both pointers are to writable memory of the size that is passed.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            peer.as_mut_ptr().cast(),
            &raw mut size,
        )
    };
    super::check(result)?;
    // SAFETY: the kernel has filled the whole structure.
    Ok(unsafe { peer.assume_init() }.uid)
}

/// Two connected sockets that keep messages apart. The first is told who sends: see
/// [`receive_from`].
pub fn packet_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut pair = [-1; 2];
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
    // SAFETY: the kernel writes two ints.
    super::check(unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, pair.as_mut_ptr()) })?;
    // SAFETY: both descriptors are fresh and owned by nobody else.
    let (ours, theirs) = unsafe { (OwnedFd::from_raw_fd(pair[0]), OwnedFd::from_raw_fd(pair[1])) };
    let yes: libc::c_int = 1;
    // SAFETY: the kernel reads one int.
    super::check(unsafe {
        libc::setsockopt(
            ours.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PASSCRED,
            (&raw const yes).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    })?;
    Ok((ours, theirs))
}

/// Receives a message of a [`packet_pair`] and the number that its sender has in our pid
/// namespace. Nothing is received when nobody has the other end any more.
pub fn receive_from(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<(usize, i32)> {
    let mut slice = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    // Room for one header and one ucred, aligned as the headers are.
    let mut control = [0_u64; 8];
    // SAFETY: all zero is a valid msghdr.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut slice;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control) as _;
    let fd = socket.as_raw_fd();
    // SAFETY: the message describes writable memory that outlives the call.
    let mut receive = || unsafe { libc::recvmsg(fd, &raw mut message, libc::MSG_CMSG_CLOEXEC) };
    let count = super::retry(|| super::counted(receive()))?;
    let mut sender = 0;
    // SAFETY: the kernel has filled the control buffer as far as it says, and the macros stay
    // inside; the data of this type is a ucred, perhaps unaligned.
    unsafe {
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        if !header.is_null() && (*header).cmsg_type == libc::SCM_CREDENTIALS {
            let credentials = libc::CMSG_DATA(header).cast::<libc::ucred>();
            sender = credentials.read_unaligned().pid;
        }
    }
    Ok((count, sender))
}

/// Whether reads and writes on `fd` may be made non-blocking without
/// surprising others: true of pipes and sockets, false of a terminal, which a
/// shell shares with us, and of files.
pub fn is_private_stream(fd: BorrowedFd<'_>) -> bool {
    let mut stat = std::mem::MaybeUninit::<libc::stat>::uninit();
    // SAFETY: fstat fills the structure whole when it returns 0.
    let mode = unsafe {
        if libc::fstat(fd.as_raw_fd(), stat.as_mut_ptr()) != 0 {
            return false;
        }
        stat.assume_init().st_mode
    };
    matches!(mode & libc::S_IFMT, libc::S_IFIFO | libc::S_IFSOCK)
}

/// Makes reads and writes on `fd` return `WouldBlock` instead of waiting. Whether they waited
/// before.
pub fn set_nonblocking(fd: BorrowedFd<'_>) -> io::Result<bool> {
    change_flags(fd, |flags| flags | libc::O_NONBLOCK)
}

/// Makes reads and writes on `fd` wait again.
pub fn set_blocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    change_flags(fd, |flags| flags & !libc::O_NONBLOCK).map(drop)
}

/// Whether that changed anything.
fn change_flags(
    fd: BorrowedFd<'_>,
    change: impl Fn(libc::c_int) -> libc::c_int,
) -> io::Result<bool> {
    // SAFETY: F_GETFL and F_SETFL take no pointers.
    unsafe {
        let flags = super::check(libc::fcntl(fd.as_raw_fd(), libc::F_GETFL))?;
        let wanted = change(flags);
        if wanted != flags {
            super::check(libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, wanted))?;
        }
        Ok(wanted != flags)
    }
}

/// Asks for a pipe of `bytes`; what the kernel refuses stays as it was.
pub fn widen_pipe(fd: BorrowedFd<'_>, bytes: i32) {
    // SAFETY: F_SETPIPE_SZ takes no pointers; a refusal is harmless.
    unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETPIPE_SZ, bytes) };
}

/// How many bytes can be read from `fd` without waiting.
pub fn readable_bytes(fd: BorrowedFd<'_>) -> usize {
    count(fd, libc::FIONREAD as _)
}

/// Bytes that were written to a socket and that the other side's system has not taken yet; 0 where
/// the system does not tell.
pub fn unacknowledged_bytes(fd: BorrowedFd<'_>) -> usize {
    // SIOCOUTQ, which has the same number.
    count(fd, libc::TIOCOUTQ as _)
}

/// What an ioctl that counts something says; 0 if nothing.
fn count(fd: BorrowedFd<'_>, question: libc::Ioctl) -> usize {
    let mut count: libc::c_int = 0;
    // SAFETY: FIONREAD and TIOCOUTQ, which are all that this is called with, write one int.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), question, &raw mut count) };
    if result < 0 {
        return 0;
    }
    usize::try_from(count).unwrap_or(0)
}
