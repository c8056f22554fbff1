//! Pairs of sockets, which programs use among their own processes: each call that can be made on one.

use std::io;

use super::sockets::{message, path_address};
use super::{Tried, bytes, done};
use crate::kernel::{at, at_mut, call};

/// One byte, to be sent from one end to the other.
const TEXT: &[u8] = b"x";
/// How long that may take; `struct timespec`.
const PATIENCE: [u64; 2] = [10, 0];

pub fn attempt(arguments: &[&str]) -> Option<Tried> {
    let ["pair", kind, ref what @ ..] = *arguments else {
        return None;
    };
    let kind = match kind {
        "stream" => libc::SOCK_STREAM,
        "packets" => libc::SOCK_SEQPACKET,
        "datagrams" => libc::SOCK_DGRAM,
        _ => return None,
    };
    let mut ends = [0_i32; 2];
    let made = call(
        libc::SYS_socketpair,
        &[libc::AF_UNIX as usize, kind as usize, 0, at_mut(&mut ends)],
    );
    if let Err(error) = made {
        return Some(Err(error));
    }
    let [one, other] = ends.map(|end| end as usize);
    send(one, other, what)
        .or_else(|| receive(one, other, what))
        .or_else(|| wait(one, other, what))
        .or_else(|| look(one, other, what))
}

/// Sends from `one`; gives what has arrived at `other`.
fn send(one: usize, other: usize, what: &[&str]) -> Option<Tried> {
    let (how, path) = match *what {
        [how] => (how, None),
        [how, path] => (how, Some(path)),
        _ => return None,
    };
    let address = path.map(path_address).unwrap_or_default();
    let buffer = bytes::words([at(TEXT) as u64, TEXT.len() as u64]);
    let message = message(&address, &buffer);
    let sent = match how {
        "send" => send_to(one, libc::MSG_NOSIGNAL, &address),
        "sendmsg" => send_message(one, &message, 0),
        "sendmmsg" => send_messages(one, message, 0),
        "send-out-of-line" => return Some(done(send_to(one, libc::MSG_OOB, &[]))),
        "sendmsg-out-of-line" => return Some(done(send_message(one, &message, libc::MSG_OOB))),
        "sendmmsg-out-of-line" => return Some(done(send_messages(one, message, libc::MSG_OOB))),
        _ => return None,
    };
    Some(sent.and_then(|_| {
        let mut got = [0; 8];
        let count = call(libc::SYS_read, &[other, at_mut(&mut got), got.len()])?;
        Ok(String::from_utf8_lossy(&got[..count]).into_owned())
    }))
}

/// Without an address, as `send`, its pointer is null.
fn send_to(one: usize, flags: i32, address: &[u8]) -> io::Result<usize> {
    let (pointer, length) = match address {
        [] => (0, 0),
        address => (at(address), address.len()),
    };
    call(
        libc::SYS_sendto,
        &[one, at(TEXT), TEXT.len(), flags as usize, pointer, length],
    )
}

fn send_message(one: usize, message: &[u8], flags: i32) -> io::Result<usize> {
    call(libc::SYS_sendmsg, &[one, at(message), flags as usize])
}

fn send_messages(one: usize, mut messages: Vec<u8>, flags: i32) -> io::Result<usize> {
    messages.extend(bytes::words([0]));
    call(
        libc::SYS_sendmmsg,
        &[one, at(&*messages), 1, flags as usize],
    )
}

/// Receives what was written to the other end.
fn receive(one: usize, other: usize, what: &[&str]) -> Option<Tried> {
    let mut got = [0_u8; 8];
    let buffer = bytes::words([at_mut(&mut got) as u64, got.len() as u64]);
    let messages = bytes::words([0, 0, at(&*buffer) as u64, 1, 0, 0, 0, 0]);
    let messages = at(&*messages);
    let (number, arguments) = match *what {
        ["recv"] => (
            libc::SYS_recvfrom,
            [other, at_mut(&mut got), got.len(), 0, 0],
        ),
        ["recvmsg"] => (libc::SYS_recvmsg, [other, messages, 0, 0, 0]),
        ["recvmmsg"] => (libc::SYS_recvmmsg, [other, messages, 1, 0, 0]),
        _ => return None,
    };
    let received =
        call(libc::SYS_write, &[one, at(TEXT), TEXT.len()]).and_then(|_| call(number, &arguments));
    Some(received.map(|_| String::from_utf8_lossy(&got[..1]).into_owned()))
}

/// Waits for what another thread sends to the other end.
fn wait(one: usize, other: usize, what: &[&str]) -> Option<Tried> {
    let wait = match *what {
        ["poll"] => poll,
        ["select"] => select,
        ["epoll"] => epoll,
        _ => return None,
    };
    let sender = std::thread::spawn(move || send_to(one, 0, &[]));
    Some(wait(other).and_then(|count| {
        sender.join().unwrap()?;
        Ok(count.to_string())
    }))
}

fn poll(socket: usize) -> io::Result<usize> {
    // `struct pollfd`
    let mut one = [socket as u64 | (libc::POLLIN as u64) << 32];
    let arguments = [at_mut(&mut one), 1, at(&PATIENCE), 0, 0];
    call(libc::SYS_ppoll, &arguments)
}

fn select(socket: usize) -> io::Result<usize> {
    let mut set = [0_u64; 16];
    set[socket / 64] |= 1 << (socket % 64);
    let arguments = [socket + 1, at_mut(&mut set), 0, 0, at(&PATIENCE), 0];
    call(libc::SYS_pselect6, &arguments)
}

fn epoll(other: usize) -> io::Result<usize> {
    let all = call(libc::SYS_epoll_create1, &[0])?;
    let mut event = libc::epoll_event {
        events: libc::EPOLLIN as u32,
        u64: 0,
    };
    call(
        libc::SYS_epoll_ctl,
        &[all, libc::EPOLL_CTL_ADD as usize, other, at(&event)],
    )?;
    let limit = PATIENCE[0] as usize * 1000;
    let arguments = [all, at_mut(&mut event), 1, limit, 0, 0];
    call(libc::SYS_epoll_pwait, &arguments)
}

/// What else can be asked of a socket or told it.
fn look(one: usize, other: usize, what: &[&str]) -> Option<Tried> {
    let mut value = [0_u32; 32];
    let mut length = [size_of_val(&value) as u32];
    let mut name = |number| {
        let (value, length) = (at_mut(&mut value), at_mut(&mut length));
        done(call(number, &[one, value, length]))
    };
    Some(match *what {
        ["getsockname"] => name(libc::SYS_getsockname),
        ["getpeername"] => name(libc::SYS_getpeername),
        ["getsockopt"] => call(
            libc::SYS_getsockopt,
            &[
                one,
                libc::SOL_SOCKET as usize,
                libc::SO_DOMAIN as usize,
                at_mut(&mut value),
                at_mut(&mut length),
            ],
        )
        .map(|_| value[0].to_string()),
        ["setsockopt"] => done(set_option(one, libc::SO_SNDBUF, &[1 << 16, 0])),
        ["attach-filter"] => {
            // `struct sock_fprog` of one instruction: all of the packet.
            let all = 0xffff_ffff_0000_0006_u64.to_ne_bytes();
            done(set_option(
                one,
                libc::SO_ATTACH_FILTER,
                &[1, at(&all) as u64],
            ))
        }
        ["shutdown"] => call(libc::SYS_shutdown, &[one, libc::SHUT_WR as usize]).and_then(|_| {
            let mut rest = [0_u8];
            let count = call(libc::SYS_read, &[other, at_mut(&mut rest), 1])?;
            Ok(count.to_string())
        }),
        _ => return None,
    })
}

fn set_option(socket: usize, option: i32, value: &[u64; 2]) -> io::Result<usize> {
    call(
        libc::SYS_setsockopt,
        &[
            socket,
            libc::SOL_SOCKET as usize,
            option as usize,
            at(value),
            size_of_val(value),
        ],
    )
}
