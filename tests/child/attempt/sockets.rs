//! Sockets, to the network and to servers on this machine.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream};
use std::time::Duration;

use super::{Tried, bytes, done};
use crate::kernel::{at, call};
use crate::number;

pub fn attempt(arguments: &[&str]) -> Option<Tried> {
    Some(match *arguments {
        ["connect", path] => UnixStream::connect(path).and_then(greet),
        ["connect-abstract", name] => abstract_name(name)
            .and_then(|name| UnixStream::connect_addr(&name))
            .and_then(greet),
        ["send", path] => {
            done(UnixDatagram::unbound().and_then(|socket| socket.send_to(b"hello", path)))
        }
        ["send-abstract", name] => abstract_name(name)
            .and_then(|name| done(UnixDatagram::unbound()?.send_to_addr(b"hello", &name))),
        ["sendmsg", path] => send_message(path),
        ["sendmmsg", path] => send_messages(path),
        ["tcp", address] => {
            TcpStream::connect_timeout(&address.parse().unwrap(), Duration::from_secs(5))
                .and_then(greet)
        }
        ["udp", address] => {
            done(UdpSocket::bind("0.0.0.0:0").and_then(|socket| socket.send_to(b"hello", address)))
        }
        ["fast-open", address] => fast_open(address),
        ["listen", address] => TcpListener::bind(address)
            .and_then(|listener| listener.local_addr())
            .map(|address| address.to_string()),
        ["listen-path", path] => done(UnixListener::bind(path)),
        ["family", family, kind, protocol] => done(call(
            libc::SYS_socket,
            &[
                number(family) as usize,
                number(kind) as usize,
                number(protocol) as usize,
            ],
        )),
        ["pass", path] => UnixStream::connect(path).and_then(|stream| pass(stream.into())),
        ["pass-in-datagram", path] => UnixDatagram::unbound().and_then(|socket| {
            socket.connect(path)?;
            pass(socket.into())
        }),
        ["pass-to", number] => pass_to(number),
        _ => return None,
    })
}

fn abstract_name(name: &str) -> io::Result<SocketAddr> {
    SocketAddr::from_abstract_name(name)
}

/// Says hello on a connection and gives the answer.
fn greet(mut stream: impl Read + Write) -> Tried {
    stream.write_all(b"hello\n")?;
    let mut answer = [0; 64];
    let count = stream.read(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer[..count]).trim().to_string())
}

/// `struct sockaddr_un`
pub(super) fn path_address(path: &str) -> Vec<u8> {
    let mut address = (libc::AF_UNIX as u16).to_ne_bytes().to_vec();
    address.extend(path.bytes());
    address.push(0);
    address
}

/// `struct msghdr` of one buffer to an address; the parts must outlive it.
pub(super) fn message(address: &[u8], buffer: &[u8]) -> Vec<u8> {
    bytes::words([
        at(address) as u64,
        address.len() as u64,
        at(buffer) as u64,
        1,
        0,
        0,
        0,
    ])
}

/// Sends a datagram to a path; `send` gets the socket and the message, a `struct msghdr`.
fn send_to_path(path: &str, send: impl FnOnce(usize, Vec<u8>) -> io::Result<usize>) -> Tried {
    let socket = call(
        libc::SYS_socket,
        &[libc::AF_UNIX as usize, libc::SOCK_DGRAM as usize, 0],
    )?;
    let (address, text) = (path_address(path), b"hello");
    let buffer = bytes::words([at(text) as u64, text.len() as u64]);
    done(send(socket, message(&address, &buffer)))
}

fn send_message(path: &str) -> Tried {
    send_to_path(path, |socket, message| {
        call(libc::SYS_sendmsg, &[socket, at(&*message), 0])
    })
}

fn send_messages(path: &str) -> Tried {
    send_to_path(path, |socket, mut messages| {
        messages.extend(bytes::words([0]));
        call(libc::SYS_sendmmsg, &[socket, at(&*messages), 1, 0])
    })
}

/// Connects to an IPv4 address with the first bytes, and so without `connect`.
fn fast_open(address: &str) -> Tried {
    let address: std::net::SocketAddrV4 = address.parse().unwrap();
    let mut name = (libc::AF_INET as u16).to_ne_bytes().to_vec();
    name.extend(address.port().to_be_bytes());
    name.extend(address.ip().octets());
    name.extend([0; 8]);
    let socket = call(
        libc::SYS_socket,
        &[libc::AF_INET as usize, libc::SOCK_STREAM as usize, 0],
    )?;
    let text = b"hello\n";
    let buffer = bytes::words([at(text) as u64, text.len() as u64]);
    let message = message(&name, &buffer);
    done(call(
        libc::SYS_sendmsg,
        &[socket, at(&*message), libc::MSG_FASTOPEN as usize],
    ))
}

/// Sends a descriptor of ours to who is at the other end.
fn pass(socket: OwnedFd) -> Tried {
    pass_by(socket.as_raw_fd() as usize)
}

/// The same by a descriptor that we were born with.
fn pass_to(number: &str) -> Tried {
    pass_by(crate::number(number) as usize)
}

fn pass_by(socket: usize) -> Tried {
    let held = File::open("/proc/self/exe")?;
    let text = b"x";
    let buffer = bytes::words([at(text) as u64, 1]);
    // `struct cmsghdr`: its length, SOL_SOCKET and SCM_RIGHTS, and then the descriptor.
    let header = (libc::SOL_SOCKET as u64) | (libc::SCM_RIGHTS as u64) << 32;
    let control = bytes::words([20, header, held.as_raw_fd() as u64]);
    let message = bytes::words([
        0,
        0,
        at(&*buffer) as u64,
        1,
        at(&*control) as u64,
        control.len() as u64,
        0,
    ]);
    done(call(libc::SYS_sendmsg, &[socket, at(&*message), 0]))
}
