//! Which user of this machine is at the other end of a connection, and whether that user may run
//! commands as the server.
//!
//! Whoever is let in has the server's rights. So where nobody has to show a token, that is for
//! those who have these rights already: the server's own user, and root.
//!
//! The four numbers of a connection name one socket at its other end as long as ours is open: a
//! new one with the same numbers would be answered by our old one, and could not get connected.
//! So what has to be ruled out is only that nobody has that socket any more. The kernel shows a
//! closed socket as root's, while what was sent through it waits here to be read; but it shows it
//! without an inode, and what has none never gets one again. The kernel is asked twice: a socket
//! that has its inode at the second answer had it at the first, so the first tells its user.
//!
//! Where netlink is not to be had, the same answer comes from `/proc/net/tcp`: a list of all
//! connections, which takes the longer the more there are.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;

use crate::net::Socket;
use crate::net::local_user::{OtherUser, other_user};
use crate::sys::process::user_id;
use crate::sys::sock_diag::{SockDiag, TcpEnd};
use crate::sys::socket::peer_user;

/// Somebody who may not run commands as the server. `Display` says why, and what would help.
#[derive(Debug)]
pub(crate) enum Stranger {
    /// Another user of this machine.
    Other(OtherUser),
    /// Nobody knows who.
    Untold(Untold),
}

/// Who is at the other end of a connection within this machine, if not the server's user or root.
pub(crate) fn stranger(socket: &Socket) -> Option<Stranger> {
    match user(socket) {
        Ok(user) => other_user(user).map(Stranger::Other),
        Err(why) => Some(Stranger::Untold(why)),
    }
}

fn user(socket: &Socket) -> Result<u32, Untold> {
    match socket {
        Socket::Unix(socket) => peer_user(socket.as_fd()).map_err(|_| Untold::Closed),
        Socket::Tcp(socket) => match (socket.local_addr(), socket.peer_addr()) {
            (Ok(ours), Ok(theirs)) => owner(ours, theirs),
            _ => Err(Untold::Closed),
        },
    }
}

impl fmt::Display for Stranger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let own = user_id();
        match self {
            Self::Other(user) => write!(
                f,
                "{user} may not run commands as user {own}, whom this server runs as"
            )?,
            Self::Untold(why) => why.fmt(f)?,
        }
        f.write_str(
            "; start it with --ws-auth to ask for a token, or with --allow-local-users to let \
             every user in",
        )
    }
}

/// States in which a client can be: connected, or done with sending.
const ESTABLISHED: u8 = 1;
const FIN_WAIT_1: u8 = 4;
const FIN_WAIT_2: u8 = 5;

/// Why the user is not known.
#[derive(Debug)]
pub(crate) enum Untold {
    /// Nobody has the other end any more.
    Closed,
    /// Neither way of asking works here.
    Unanswered {
        /// By netlink.
        netlink: io::Error,
        /// In the table of connections.
        table: io::Error,
    },
}

impl fmt::Display for Untold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("nobody has the other end of this connection any more"),
            Self::Unanswered { netlink, table } => write!(
                f,
                "the kernel does not tell here who has connected (netlink: {netlink}; \
                 /proc/net/tcp: {table})"
            ),
        }
    }
}

/// The user at the other end of our connection from `ours` to `theirs`.
pub(crate) fn owner(ours: SocketAddr, theirs: SocketAddr) -> Result<u32, Untold> {
    let asked = SockDiag::open()
        .and_then(|netlink| user_of(ours, theirs, || netlink.tcp_end(theirs, ours).map(Some)));
    let user = match asked {
        Ok(user) => user,
        // "Not found" may also mean that the kernel has no such question.
        Err(netlink) => match user_of(ours, theirs, || tcp_end(theirs, ours)) {
            Ok(user) => user,
            Err(table) => return Err(Untold::Unanswered { netlink, table }),
        },
    };
    user.ok_or(Untold::Closed)
}

/// The user who has the end that `ask` finds; none if nobody has it.
fn user_of(
    ours: SocketAddr,
    theirs: SocketAddr,
    mut ask: impl FnMut() -> io::Result<Option<TcpEnd>>,
) -> io::Result<Option<u32>> {
    let (Some(first), Some(second)) = (ask()?, ask()?) else {
        return Ok(None);
    };
    let is_open = |end: &TcpEnd| {
        same(end.local, theirs)
            && same(end.remote, ours)
            && matches!(end.state, ESTABLISHED | FIN_WAIT_1 | FIN_WAIT_2)
            && end.inode != 0
    };
    let is_told = is_open(&first) && is_open(&second) && first.inode == second.inode;
    Ok(is_told.then_some(first.user))
}

/// Whether two addresses are one, in whichever clothes.
fn same(one: SocketAddr, other: SocketAddr) -> bool {
    one.port() == other.port() && one.ip().to_canonical() == other.ip().to_canonical()
}

/// Lines have some 200 bytes.
const MAX_LINE: u64 = 4096;

/// The end at `local` of the connection with `remote`; none if there is none, or more than one.
///
/// # Errors
/// The table cannot be read.
pub(crate) fn tcp_end(local: SocketAddr, remote: SocketAddr) -> io::Result<Option<TcpEnd>> {
    let canonical = |address: SocketAddr| (address.ip().to_canonical(), address.port());
    let wanted = (canonical(local), canonical(remote));
    let mut found = Vec::new();
    let mut look = |path| {
        for_each_end(BufReader::new(File::open(path)?), |end| {
            if (canonical(end.local), canonical(end.remote)) == wanted {
                found.push(end);
            }
        })
    };
    let read = look("/proc/self/net/tcp");
    // A socket of version 6 may be connected to an address of version 4. Its table is missing
    // where the kernel has no version 6.
    let read_6 = look("/proc/self/net/tcp6");
    if wanted.0.0.is_ipv4() {
        read?;
    } else {
        read_6?;
    }
    Ok(match found[..] {
        [end] => Some(end),
        _ => None,
    })
}

fn for_each_end(mut table: impl BufRead, mut visit: impl FnMut(TcpEnd)) -> io::Result<()> {
    let mut line = String::new();
    loop {
        line.clear();
        if (&mut table).take(MAX_LINE).read_line(&mut line)? == 0 {
            return Ok(());
        }
        // The first line has names.
        if let Some(end) = end(&line) {
            visit(end);
        }
    }
}

fn end(line: &str) -> Option<TcpEnd> {
    let mut words = line.split_ascii_whitespace().skip(1);
    let local = address(words.next()?)?;
    let remote = address(words.next()?)?;
    let state = u8::from_str_radix(words.next()?, 16).ok()?;
    // Queues, timers, retransmissions.
    let mut words = words.skip(3);
    let user = words.next()?.parse().ok()?;
    let inode = words.nth(1)?.parse().ok()?;
    Some(TcpEnd {
        local,
        remote,
        state,
        user,
        inode,
    })
}

/// An address as words of 32 bits, each as this machine reads it from the network's order; behind
/// a colon the port.
fn address(text: &str) -> Option<SocketAddr> {
    let (words, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let mut octets = Vec::with_capacity(16);
    for at in (0..words.len()).step_by(8) {
        let word = u32::from_str_radix(words.get(at..at + 8)?, 16).ok()?;
        octets.extend(word.to_ne_bytes());
    }
    let ip: IpAddr = match octets.len() {
        4 => Ipv4Addr::from(*octets.first_chunk()?).into(),
        16 => Ipv6Addr::from(*octets.first_chunk()?).into(),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    const OURS: &str = "127.0.0.1:8765";
    const THEIRS: &str = "127.0.0.1:40000";

    fn end() -> TcpEnd {
        TcpEnd {
            local: THEIRS.parse().unwrap(),
            remote: OURS.parse().unwrap(),
            state: ESTABLISHED,
            user: 7,
            inode: 1,
        }
    }

    fn told(first: TcpEnd, second: TcpEnd) -> Option<u32> {
        let mut answers = [first, second].into_iter();
        user_of(OURS.parse().unwrap(), THEIRS.parse().unwrap(), || {
            Ok(answers.next())
        })
        .unwrap()
    }

    #[test]
    fn an_end_that_somebody_has_tells_its_user() {
        assert_eq!(told(end(), end()), Some(7));
        let mapped = TcpEnd {
            local: "[::ffff:127.0.0.1]:40000".parse().unwrap(),
            ..end()
        };
        assert_eq!(told(mapped, end()), Some(7));
        let done = TcpEnd {
            state: FIN_WAIT_2,
            ..end()
        };
        assert_eq!(told(end(), done), Some(7));
    }

    #[test]
    fn an_end_that_is_closed_before_or_between_tells_nobody() {
        // As the kernel shows it: of root, and without an inode.
        let closed = TcpEnd {
            user: 0,
            inode: 0,
            state: FIN_WAIT_2,
            ..end()
        };
        // Closed while it was looked at, the user last.
        let torn = TcpEnd { user: 0, ..end() };
        for (first, second) in [(closed, closed), (end(), closed), (torn, closed)] {
            assert_eq!(told(first, second), None);
        }
    }

    #[test]
    fn what_is_not_the_other_end_tells_nobody() {
        for other in [
            TcpEnd { state: 10, ..end() },
            TcpEnd { state: 2, ..end() },
            TcpEnd { inode: 2, ..end() },
            TcpEnd {
                local: OURS.parse().unwrap(),
                ..end()
            },
            TcpEnd {
                remote: THEIRS.parse().unwrap(),
                ..end()
            },
        ] {
            assert_eq!(told(end(), other), None, "{other:?}");
        }
    }

    #[test]
    fn an_end_is_found_in_the_tables() {
        for place in ["127.0.0.1:0", "[::1]:0", "[::ffff:127.0.0.1]:0"] {
            if place.starts_with('[') && !support::has(support::Need::Ipv6) {
                continue;
            }
            let listener = TcpListener::bind(place).unwrap();
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (server, remote) = listener.accept().unwrap();
            let end = tcp_end(remote, server.local_addr().unwrap()).unwrap();
            let end = end.expect("in a table");
            assert_eq!(end.local.port(), client.local_addr().unwrap().port());
            assert_eq!((end.state, end.user), (1, crate::sys::process::user_id()));
            assert_ne!(end.inode, 0);
            let nowhere = "127.0.0.1:1".parse().unwrap();
            assert_eq!(tcp_end(nowhere, nowhere).unwrap(), None);
        }
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn lines_are_read_as_the_kernel_writes_them() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
         0: 0100007F:9C40 0100007F:223D 01 00000000:00000000 02:00000A8C 00000000  1000        0 4321 2 0000 20 4 30 10 -1\n   \
         1: 0100007F:9C40 0100007F:223D 06 00000000:00000000 03:000017 00000000     0        0 0 3 0000\n   \
         2: 0000000000000000FFFF00000100007F:0050 00000000000000000000000001000000:1F90 05 0:0 0:0 0 7 0 9\n   \
         3: 0100007F:9C40\n   4: 0100007F:9C40 007F:223D 01 0:0 0:0 0 0 0 1\n\n";
        let mut ends = Vec::new();
        for_each_end(table.as_bytes(), |end| ends.push(end)).unwrap();
        let read: Vec<_> = ends
            .iter()
            .map(|end| {
                let addresses = format!("{} {}", end.local, end.remote);
                (addresses, end.state, end.user, end.inode)
            })
            .collect();
        let first = "127.0.0.1:40000 127.0.0.1:8765".to_owned();
        let last = "[::ffff:127.0.0.1]:80 [::1]:8080".to_owned();
        assert_eq!(
            read,
            [
                (first.clone(), 1, 1000, 4321),
                (first, 6, 0, 0),
                (last, 5, 7, 9)
            ]
        );
    }
}
