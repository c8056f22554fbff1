//! Who the server runs as.

use std::os::unix::fs::MetadataExt;

/// A user without rights or a home, whom root can become.
pub const ORDINARY: u32 = 12345;

/// Whether the tests run as root.
pub fn is_root() -> bool {
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}
