//! What the linker leaves out of the shipped binary.

use std::env;
use std::path::Path;

/// Tells the linker, for optimised builds with musl; a linker that does not know how only warns.
pub fn smaller(root: &Path) {
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|found| found == value);
    if !is("PROFILE", "release") || !is("CARGO_CFG_TARGET_ENV", "musl") {
        return;
    }
    let script = root.join("build/no-unwind-tables.ld");
    for argument in [
        // An address that is relocated at the start takes bits here and not 24 bytes; musl reads this since 1.2.4.
        "-Wl,-z,pack-relative-relocs".to_owned(),
        "-Wl,--no-eh-frame-hdr".to_owned(),
        format!("-Wl,-T,{}", script.display()),
    ] {
        println!("cargo::rustc-link-arg-bins={argument}");
    }
}
