//! Which user of this machine is at the other end of a connection, and whether that user may run
//! commands as the server.
//!
//! Whoever is let in has the server's rights. So where nobody has to show a token, that is for
//! those who have these rights already: the server's own user, and root.

mod owner;
mod table;

use std::fmt;
use std::fs;
use std::os::fd::AsFd;
use std::sync::OnceLock;

use crate::net::Socket;
use crate::sys::identity::user_id;
use crate::sys::socket::peer_user;
use owner::{Untold, owner};

const ROOT: u32 = 0;
/// What the kernel shows of a user without a number here, unless told otherwise.
const OVERFLOW_USER: u32 = 65534;

/// Somebody who may not run commands as the server. `Display` says why, and what would help.
#[derive(Debug)]
pub(super) enum Stranger {
    /// Another user of this machine.
    User(u32),
    /// A user of another user namespace, who has no number in ours.
    Unmapped,
    /// Nobody knows who.
    Untold(Untold),
}

/// Who is at the other end of a connection within this machine, if not the server's user or root.
pub(super) fn stranger(socket: &Socket) -> Option<Stranger> {
    user(socket)
        .map_err(Stranger::Untold)
        .and_then(|user| judge(user, user_id(), unmapped()))
        .err()
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

/// Whether `user` may run commands as `own`; `unmapped` stands for users without a number.
fn judge(user: u32, own: u32, unmapped: Option<u32>) -> Result<(), Stranger> {
    if Some(user) == unmapped {
        Err(Stranger::Unmapped)
    } else if user == ROOT || user == own {
        Ok(())
    } else {
        Err(Stranger::User(user))
    }
}

/// What the kernel shows of users who have no number in our user namespace; none if all have one.
fn unmapped() -> Option<u32> {
    static FOUND: OnceLock<Option<u32>> = OnceLock::new();
    *FOUND.get_or_init(|| {
        let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
        if maps_everybody(&map) {
            return None;
        }
        let set = fs::read_to_string("/proc/sys/kernel/overflowuid");
        let set = set.ok().and_then(|text| text.trim().parse().ok());
        Some(set.unwrap_or(OVERFLOW_USER))
    })
}

/// Whether a map of users, whose lines end with a count, leaves out nobody.
fn maps_everybody(map: &str) -> bool {
    let counts = map
        .lines()
        .filter_map(|line| line.split_whitespace().nth(2)?.parse::<u64>().ok());
    // The last number of all is no user's.
    counts.sum::<u64>() >= u64::from(u32::MAX)
}

impl fmt::Display for Stranger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let own = user_id();
        match self {
            Self::User(user) => write!(
                f,
                "user {user} may not run commands as user {own}, whom this server runs as"
            )?,
            Self::Unmapped => write!(
                f,
                "a user of another user namespace may not run commands as user {own}, whom this \
                 server runs as"
            )?,
            Self::Untold(why) => why.fmt(f)?,
        }
        f.write_str(
            "; start it with --ws-auth to ask for a token, or with --allow-local-users to let \
             every user in",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_root_and_the_server_s_own_user_are_no_strangers() {
        for (user, own, unmapped, good) in [
            (0, 0, None, true),
            (0, 1000, None, true),
            (1000, 1000, None, true),
            (1000, 0, None, false),
            (1001, 1000, None, false),
            // A server of nobody knows its own user only where everybody has a number.
            (65534, 65534, None, true),
            (65534, 65534, Some(65534), false),
            (0, 1000, Some(65534), true),
            (0, 0, Some(0), false),
        ] {
            let judged = judge(user, own, unmapped);
            assert_eq!(judged.is_ok(), good, "{user} {own} {unmapped:?}");
        }
    }

    #[test]
    fn a_map_is_whole_or_not() {
        for (map, whole) in [
            ("         0          0 4294967295\n", true),
            ("0 0 1000\n1000 1000 4294966295\n", true),
            ("0 100000 65536\n", false),
            ("0 1000 1\n", false),
            ("", false),
            ("0 0 x\n", false),
        ] {
            assert_eq!(maps_everybody(map), whole, "{map}");
        }
    }
}
