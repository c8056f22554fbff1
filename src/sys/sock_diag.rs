//! What the kernel knows of one TCP socket of this network namespace, asked over netlink.
//!
//! The kernel looks the socket up as it does for a packet that has arrived, so the number of
//! other sockets does not matter. It has answered when the call that asks returns, and wants no
//! privilege.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use super::socket::send_now;
use super::{counted, retry};

/// One end of a TCP connection on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpEnd {
    /// Its own address and port.
    pub local: SocketAddr,
    /// Those of its peer.
    pub remote: SocketAddr,
    /// What has become of the connection, by the kernel's number.
    pub state: u8,
    /// The user who has made it, in our user namespace. Many kernels say 0 once it is closed.
    pub user: u32,
    /// Its number as a file; 0 if no process has it any more.
    pub inode: u64,
}

/// The type of a request and of its answer.
const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// The number of `lo`, the same in every network namespace. What we send to an address of this
/// machine arrives there; a socket that is bound to another interface would not get it.
const LOOPBACK_INTERFACE: u32 = 1;
/// In the place of a cookie: any socket will do.
const NO_COOKIE: [u8; 8] = [0xff; 8];
/// A `nlmsghdr`; behind it, in a request, an `inet_diag_req_v2` of 56 bytes.
const HEADER: usize = 16;
/// With an `inet_diag_msg` behind it; what may follow that are attributes.
const ANSWER: usize = HEADER + 72;

/// A way to ask the kernel.
pub struct SockDiag(OwnedFd);

impl SockDiag {
    /// Opens it.
    ///
    /// # Errors
    /// This kernel, or a filter of system calls, does not have it.
    pub fn open() -> io::Result<Self> {
        // SAFETY: no pointers.
        let socket = super::check(unsafe {
            libc::socket(
                libc::AF_NETLINK,
                libc::SOCK_DGRAM | libc::SOCK_CLOEXEC,
                libc::NETLINK_SOCK_DIAG,
            )
        })?;
        // SAFETY: the descriptor is new and nobody else's.
        let socket = unsafe { OwnedFd::from_raw_fd(socket) };
        // SAFETY: all zero is a valid sockaddr_nl, and with the family the kernel's address.
        let mut kernel: libc::sockaddr_nl = unsafe { std::mem::zeroed() };
        kernel.nl_family = libc::AF_NETLINK as libc::sa_family_t;
        let size = size_of::<libc::sockaddr_nl>() as libc::socklen_t;
        // Once connected, the socket takes messages of the kernel alone.
        // SAFETY: the address is a whole sockaddr_nl that outlives the call.
        let connected =
            unsafe { libc::connect(socket.as_raw_fd(), (&raw const kernel).cast(), size) };
        super::check(connected)?;
        Ok(Self(socket))
    }

    /// The end at `local` of the connection with `remote`; both are addresses of this machine.
    ///
    /// # Errors
    /// `NotFound`: there is none, or the kernel has no such question.
    pub fn tcp_end(&self, local: SocketAddr, remote: SocketAddr) -> io::Result<TcpEnd> {
        let request = request(local, remote);
        retry(|| send_now(self.0.as_fd(), &request))?;
        let mut answer = [0; 512];
        let (fd, into, room) = (self.0.as_raw_fd(), answer.as_mut_ptr().cast(), answer.len());
        // SAFETY: the pointer and the length describe one writable slice.
        let count = retry(|| counted(unsafe { libc::recv(fd, into, room, libc::MSG_DONTWAIT) }))?;
        tcp_end(&answer[..count])
    }
}

fn request(local: SocketAddr, remote: SocketAddr) -> Vec<u8> {
    // Version 4 in the clothes of version 6 is version 4 in the kernel's table.
    let (own, other) = (local.ip().to_canonical(), remote.ip().to_canonical());
    let (family, own, other) = match (own, other) {
        (IpAddr::V4(own), IpAddr::V4(other)) => (libc::AF_INET, padded(own), padded(other)),
        (own, other) => (libc::AF_INET6, mapped(own), mapped(other)),
    };
    let body = [
        // Family, protocol, no attributes, padding; any state.
        &[family as u8, libc::IPPROTO_TCP as u8, 0, 0][..],
        &u32::MAX.to_ne_bytes(),
        &local.port().to_be_bytes(),
        &remote.port().to_be_bytes(),
        &own,
        &other,
        &LOOPBACK_INTERFACE.to_ne_bytes(),
        &NO_COOKIE,
    ]
    .concat();
    [
        &((HEADER + body.len()) as u32).to_ne_bytes()[..],
        &SOCK_DIAG_BY_FAMILY.to_ne_bytes(),
        &(libc::NLM_F_REQUEST as u16).to_ne_bytes(),
        // The number of the message and of its sender, which do not matter here.
        &[0; 8],
        &body,
    ]
    .concat()
}

fn padded(address: Ipv4Addr) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&address.octets());
    bytes
}

fn mapped(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

/// Reads an answer.
fn tcp_end(answer: &[u8]) -> io::Result<TcpEnd> {
    let unclear = || io::Error::new(io::ErrorKind::InvalidData, "the kernel's answer is unclear");
    let kind = bytes_at(answer, 4).map(u16::from_ne_bytes);
    if kind == Some(libc::NLMSG_ERROR as u16) {
        let error = bytes_at(answer, HEADER).map(i32::from_ne_bytes);
        return Err(error.map_or_else(unclear, |error| {
            io::Error::from_raw_os_error(error.saturating_neg())
        }));
    }
    if kind != Some(SOCK_DIAG_BY_FAMILY) || answer.len() < ANSWER {
        return Err(unclear());
    }
    let number = |at| bytes_at(answer, at).map(u32::from_ne_bytes);
    let family = libc::c_int::from(answer[HEADER]);
    let end = |port, address| {
        let port = bytes_at(answer, port).map(u16::from_be_bytes)?;
        let address: IpAddr = match family {
            libc::AF_INET => Ipv4Addr::from(bytes_at::<4>(answer, address)?).into(),
            libc::AF_INET6 => Ipv6Addr::from(bytes_at::<16>(answer, address)?).into(),
            _ => return None,
        };
        Some(SocketAddr::new(address.to_canonical(), port))
    };
    let read = || {
        Some(TcpEnd {
            local: end(20, 24)?,
            remote: end(22, 40)?,
            state: answer[HEADER + 1],
            user: number(80)?,
            inode: number(84)?.into(),
        })
    };
    read().ok_or_else(unclear)
}

fn bytes_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    /// The client's end of a connection to `listener`, as the kernel tells it.
    fn asked(listener: &TcpListener) -> (TcpEnd, TcpStream, TcpStream) {
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, remote) = listener.accept().unwrap();
        let end = SockDiag::open()
            .unwrap()
            .tcp_end(remote, server.local_addr().unwrap())
            .unwrap();
        (end, client, server)
    }

    #[test]
    fn an_end_is_found_by_its_four_numbers() {
        for address in ["127.0.0.1:0", "[::1]:0", "[::ffff:127.0.0.1]:0"] {
            if address.starts_with('[') && !support::has(support::Need::Ipv6) {
                continue;
            }
            let listener = TcpListener::bind(address).unwrap();
            let (end, client, server) = asked(&listener);
            let canonical =
                |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
            assert_eq!(end.local, canonical(client.local_addr().unwrap()));
            assert_eq!(end.remote, canonical(server.local_addr().unwrap()));
            assert_eq!((end.state, end.user), (1, crate::sys::process::user_id()));
            assert_ne!(end.inode, 0);
        }
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let nowhere = "127.0.0.1:1".parse().unwrap();
        let error = SockDiag::open()
            .unwrap()
            .tcp_end(nowhere, listener.local_addr().unwrap())
            .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn an_unclear_answer_is_an_error() {
        let mut answer = vec![0; ANSWER];
        answer[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
        for length in 0..=ANSWER {
            assert!(tcp_end(&answer[..length]).is_err());
        }
        answer[HEADER] = libc::AF_INET as u8;
        assert!(tcp_end(&answer).is_ok());
        assert!(tcp_end(&answer[..ANSWER - 1]).is_err());
        answer[4..6].copy_from_slice(&(libc::NLMSG_ERROR as u16).to_ne_bytes());
        answer[16..20].copy_from_slice(&i32::MIN.to_ne_bytes());
        assert!(tcp_end(&answer).is_err());
    }
}
