//! The user who has the other end of a TCP connection within this machine.
//!
//! The four numbers of a connection name one socket at its other end as long as ours is open: a
//! new one with the same numbers would be answered by our old one, and could not get connected.
//! So what has to be ruled out is only that nobody has that socket any more. The kernel shows a
//! closed socket as root's, while what was sent through it waits here to be read; but it shows it
//! without an inode, and what has none never gets one again. The kernel is asked twice: a socket
//! that has its inode at the second answer had it at the first, so the first tells its user.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use super::table;
use crate::sys::sock_diag::{SockDiag, TcpEnd};

/// States in which a client can be: connected, or done with sending.
const ESTABLISHED: u8 = 1;
const FIN_WAIT_1: u8 = 4;
const FIN_WAIT_2: u8 = 5;

/// Why the user is not known.
#[derive(Debug)]
pub(in crate::serve) enum Untold {
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
pub(super) fn owner(ours: SocketAddr, theirs: SocketAddr) -> Result<u32, Untold> {
    let asked = SockDiag::open()
        .and_then(|netlink| user_of(ours, theirs, || netlink.tcp_end(theirs, ours).map(Some)));
    let user = match asked {
        Ok(user) => user,
        // "Not found" may also mean that the kernel has no such question.
        Err(netlink) => match user_of(ours, theirs, || table::tcp_end(theirs, ours)) {
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
