//! What the compiler has to know that is not in the source: where it comes from, the bwrap that goes inside, and
//! what the linker leaves out.

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;

#[path = "build/bubblewrap.rs"]
mod bubblewrap;
#[path = "build/commit.rs"]
mod commit;
#[path = "build/link.rs"]
mod link;

fn main() -> ExitCode {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=build");
    let variable = |name: &str| env::var_os(name).map(PathBuf::from).unwrap_or_default();
    let root = variable("CARGO_MANIFEST_DIR");

    println!("cargo::rustc-env=EXEC_SERVER_COMMIT={}", commit::id(&root));
    let target = env::var("TARGET").unwrap_or_default();
    println!("cargo::rustc-env=EXEC_SERVER_TARGET={target}");

    link::smaller(&root);

    match bubblewrap::embed(&root.join("vendor/bubblewrap"), &variable("OUT_DIR")) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            println!("cargo::error={}", failure.replace('\n', " | "));
            ExitCode::FAILURE
        }
    }
}
