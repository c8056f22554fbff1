//! What this program says about itself.

use crate::sandbox::bundled::BUNDLED_BWRAP;

/// The version alone, as in `0.1.0`.
pub const NUMBER: &str = env!("CARGO_PKG_VERSION");

/// What it was built from.
pub const COMMIT: &str = env!("EXEC_SERVER_COMMIT");

/// Name and version, as in `exec-server 0.1.0`.
pub fn short() -> String {
    concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")).to_owned()
}

/// The short version with what it was built from and for, as in `exec-server 0.1.0 (0123456789ab, x86_64-unknown-linux-musl)`.
pub fn with_origin() -> String {
    format!("{} ({COMMIT}, {})", short(), env!("EXEC_SERVER_TARGET"))
}

/// The short version, then a line each for the commit, the target and the bwrap inside; no line end after the last.
pub fn verbose() -> String {
    let bwrap = match BUNDLED_BWRAP {
        Some(bwrap) => format!(
            "{} (sha256 {}, {} bytes)",
            bwrap.version, bwrap.sha256, bwrap.size
        ),
        None => "no bwrap inside (bubblewrap's source was missing at build time)".to_owned(),
    };
    format!(
        "{}\ncommit: {}\ntarget: {}\nbubblewrap: {bwrap}",
        short(),
        COMMIT,
        env!("EXEC_SERVER_TARGET"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbose_begins_with_short_and_names_what_is_inside() {
        let text = verbose();
        assert!(text.starts_with(&format!("{}\n", short())));
        let bwrap = text.lines().last().unwrap();
        match BUNDLED_BWRAP {
            Some(inside) => {
                let elf = inside.elf().unwrap();
                assert!(elf.starts_with(b"\x7fELF") && elf.len() == inside.size);
                assert_eq!(inside.sha256.len(), 64);
                assert!(bwrap.contains(inside.version) && bwrap.contains(inside.sha256));
            }
            None => assert!(bwrap.contains("no bwrap inside")),
        }
    }
}
