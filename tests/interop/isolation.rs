//! A PID and mount namespace for the whole run, and one directory that goes with it.
//!
//! The program starts itself again below a shell that is the namespace's first process. When that ends, for whatever
//! reason, the kernel kills everything inside.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::thread;

/// Tells the inner program its directory; the outer one has none.
const INSIDE: &str = "EXEC_SERVER_INTEROP_INSIDE";

/// Where the run takes place.
pub struct Place {
    /// A directory of this run alone, below `/var/tmp`: the references complain about a home in `/tmp`.
    pub scratch: PathBuf,
    /// Whether this is the real root, who can become somebody else.
    pub root: bool,
    /// Whether namespaces can be made.
    pub namespaces: bool,
}

/// Gives the place if this is the inner program; else runs the inner one and gives its exit code.
pub fn enter() -> Result<Place, ExitCode> {
    let root = owner("/proc/self") == 0;
    if let Some(scratch) = std::env::var_os(INSIDE) {
        thread::spawn(end_with_the_outer);
        // What is in memory leaves nothing behind, even if nobody comes back to clean up.
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "mode=755", "none"])
            .arg(&scratch)
            .status();
        assert!(
            mounted.is_ok_and(|status| status.success()),
            "no tmpfs on {}",
            scratch.display()
        );
        return Ok(Place {
            scratch: scratch.into(),
            // Root of a user namespace has no other users.
            root: root
                && std::fs::read_to_string("/proc/self/uid_map")
                    .is_ok_and(|map| !map.trim_end().ends_with(" 1")),
            namespaces: true,
        });
    }
    let scratch = Scratch::make();
    let kinds: &[&str] = if root {
        &[]
    } else {
        &["--user", "--map-root-user"]
    };
    let inside = |program: &[&str]| {
        let mut unshare = Command::new("unshare");
        unshare
            .args(kinds)
            .args(["--pid", "--fork", "--kill-child", "--mount", "--mount-proc"]);
        unshare.args(program);
        unshare
    };
    let possible = inside(&["true"]).stderr(Stdio::null()).status();
    if !possible.is_ok_and(|status| status.success()) {
        println!("no namespaces here (unshare is missing or refused)");
        let scratch = scratch.keep();
        return Ok(Place {
            scratch,
            root,
            namespaces: false,
        });
    }
    // The shell is the namespace's first process; the program is not, so that Ctrl-C ends it.
    let inner = inside(&["/bin/sh", "-c", "\"$@\"; exit $?", "sh"])
        .arg(std::env::current_exe().expect("the program has a path"))
        .args(std::env::args_os().skip(1))
        .env(INSIDE, &scratch.0)
        .stdin(Stdio::piped())
        .spawn();
    let status = inner.and_then(|mut inner| {
        // Open for as long as this process lives.
        let _lifeline = inner.stdin.take();
        inner.wait()
    });
    match status.map(|status| status.code()) {
        Ok(Some(0)) => Err(ExitCode::SUCCESS),
        Ok(Some(2)) => Err(ExitCode::from(2)),
        _ => Err(ExitCode::FAILURE),
    }
}

/// Ends the inner program once the outer one is gone, however that came.
fn end_with_the_outer() {
    let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
    std::process::exit(1);
}

/// Who owns a path; of `/proc/self` that is who we are.
fn owner(path: &str) -> u32 {
    std::fs::metadata(path).map_or(u32::MAX, |metadata| metadata.uid())
}

struct Scratch(PathBuf);

impl Scratch {
    fn make() -> Self {
        let path =
            Path::new("/var/tmp").join(format!("exec-server-interop-{}", std::process::id()));
        std::fs::create_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        // Whatever the umask is: the ordinary user has to get in.
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("it is ours");
        Self(path)
    }

    /// Leaves it there for the rest of this process.
    fn keep(self) -> PathBuf {
        std::mem::ManuallyDrop::new(self).0.clone()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
