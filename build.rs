//! What the compiler has to know that is not in the source: where it comes from, the bwrap and the licences that
//! go inside, and what the linker leaves out.

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;

#[path = "build/bubblewrap.rs"]
mod bubblewrap;
#[path = "build/commit.rs"]
mod commit;
#[path = "build/licenses.rs"]
mod licenses;
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

    // The licences after bubblewrap, whose text is in its source.
    let out = variable("OUT_DIR");
    let embedded = bubblewrap::embed(&root.join("vendor/bubblewrap"), &out);
    match embedded.and_then(|()| licenses::embed(&root, &out)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            println!("cargo::error={}", failure.replace('\n', " | "));
            ExitCode::FAILURE
        }
    }
}
