//! Whether a user of this machine, who is at the other end of a connection, has our rights already:
//! our own user has, and root.

use std::fmt;
use std::fs;
use std::sync::OnceLock;

use crate::sys::process::user_id;

const ROOT: u32 = 0;
/// What the kernel shows of a user without a number here, unless told otherwise.
const OVERFLOW_USER: u32 = 65534;

/// A user who is neither ours nor root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OtherUser {
    /// The one of this number.
    Numbered(u32),
    /// One of another user namespace, who has no number in ours.
    Unmapped,
}

impl fmt::Display for OtherUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Numbered(user) => write!(f, "user {user}"),
            Self::Unmapped => f.write_str("a user of another user namespace"),
        }
    }
}

/// Who has this number, if not our user or root.
pub(crate) fn other_user(user: u32) -> Option<OtherUser> {
    judge(user, user_id(), unmapped()).err()
}

/// Whether `user` has the rights of `own`; `unmapped` stands for users without a number.
fn judge(user: u32, own: u32, unmapped: Option<u32>) -> Result<(), OtherUser> {
    if Some(user) == unmapped {
        Err(OtherUser::Unmapped)
    } else if user == ROOT || user == own {
        Ok(())
    } else {
        Err(OtherUser::Numbered(user))
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
