//! The system's list of users.
//!
//! Read by hand: a static binary has no name service to ask, and a directory service that the
//! machine asks for users must not delay our start.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What the list says about a user. Either path may be empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    pub(super) home: &'a Path,
    pub(super) shell: &'a Path,
}

/// The first entry of that user id in the text of `/etc/passwd`.
pub(super) fn find(passwd: &[u8], user_id: u32) -> Option<Entry<'_>> {
    let id = user_id.to_string();
    passwd.split(|byte| *byte == b'\n').find_map(|line| {
        // name:password:uid:gid:comment:home:shell
        let mut fields = line.split(|byte| *byte == b':').skip(2);
        if fields.next() != Some(id.as_bytes()) {
            return None;
        }
        let mut path = |skip| fields.nth(skip).map(OsStr::from_bytes).map(Path::new);
        Some(Entry {
            home: path(2)?,
            shell: path(0)?,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_found_by_user_id() {
        let passwd = b"root:x:0:0:root:/root:/bin/bash\n\n# odd\nshort:x:7:7\n\
            a:x:70:0::/home/a:\na2:x:70:0:second:/no:/no\nb:x:7:7:x,y:/home/\xff:/bin/sh";
        let entry = |home: &'static [u8], shell: &'static str| {
            Some(Entry {
                home: Path::new(OsStr::from_bytes(home)),
                shell: Path::new(shell),
            })
        };
        assert_eq!(find(passwd, 0), entry(b"/root", "/bin/bash"));
        assert_eq!(find(passwd, 70), entry(b"/home/a", ""));
        assert_eq!(find(passwd, 7), entry(b"/home/\xff", "/bin/sh"));
        assert_eq!(find(passwd, 1), None);
    }
}
