//! Tests of files by descriptor.

use super::*;

#[test]
fn both_ways_without_links_agree() {
    let base = std::env::temp_dir().join(format!("exec-server-links-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&base);
    std::fs::create_dir_all(base.join("a/b")).unwrap();
    std::fs::write(base.join("file"), "").unwrap();
    std::os::unix::fs::symlink("a", base.join("link")).unwrap();
    // The temporary directory itself may be behind a link.
    let base = base.canonicalize().unwrap();
    for (path, expected) in [
        ("a/b", None),
        ("a", None),
        ("link", Some(libc::ENOTDIR)),
        ("link/b", Some(libc::ENOTDIR)),
        ("file", Some(libc::ENOTDIR)),
        ("none", Some(libc::ENOENT)),
    ] {
        let path = CString::new(base.join(path).into_os_string().into_vec()).unwrap();
        let fast = locate_without_links(ROOTED, &path);
        let slow = locate_step_by_step(ROOTED, &path);
        for found in [fast, slow] {
            assert_eq!(
                found.err().map(|error| error.raw_os_error().unwrap()),
                expected
            );
        }
    }
    std::fs::remove_dir_all(&base).unwrap();
}

#[test]
fn a_birth_time_is_known_where_the_system_keeps_it() {
    let executable = std::env::current_exe().unwrap();
    let path = CString::new(executable.into_os_string().into_vec()).unwrap();
    let status = status_at(ROOTED, &path, LastLink::Follow).unwrap();
    assert_eq!(status.kind, Kind::Regular);
    assert!(status.created_ms.is_none_or(|created| created > 0));
    assert!(status.modified_ms > 0);
}
