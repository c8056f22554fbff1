//! `exec-server cp`, between this machine and environments of every kind.

mod crowded;
mod endless;
mod failures;
mod files;
mod hostile;
mod kept;
mod latency;
mod links;
mod replaced;
mod resume;
mod trees;

use std::path::Path;

/// Names of parts in a directory.
fn parts(directory: &str) -> Vec<String> {
    let names = std::fs::read_dir(directory).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    names.filter(|name| name.contains(".PART-")).collect()
}

/// The permission bits of a file.
fn mode(path: impl AsRef<Path>) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    std::fs::symlink_metadata(path)
        .unwrap()
        .permissions()
        .mode()
        & 0o7777
}

fn set_mode(path: impl AsRef<Path>, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}
