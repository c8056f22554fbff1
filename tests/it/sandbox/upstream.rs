//! bubblewrap's own tests, run against the bwrap that is built in.
//!
//! Their files come from the archive that the build took its source from, and go away with the test.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use exec_server::sandbox::bundled::BUNDLED_BWRAP;

use crate::support::sandbox::{ORDINARY, is_root};
use crate::support::{Need, has, within};

/// Where the programs are that upstream's tests call; the user's own PATH may lead into a home that the other uid cannot enter.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// One script takes 5 s, and four times that with every core busy.
const LIMIT: Duration = Duration::from_secs(240);

/// Points that fail by a fault of the test alone: its buffer for `statfs` has 16 bytes where the call writes 120.
const OVERFLOWING: [&str; 3] = ["test_tmpfs", "test_tmpfs_perms", "test_tmpfs_size"];

/// The unpacked archive and the built-in bwrap beside it, outside /tmp, which many of their sandboxes cover.
struct Upstream(PathBuf);

impl Drop for Upstream {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Upstream {
    /// `None` if this machine cannot run them; says why.
    fn unpack(name: &str, programs: &[&'static str]) -> Option<Self> {
        let bundled = BUNDLED_BWRAP?;
        if !["tar", "xz"]
            .iter()
            .chain(programs)
            .all(|&name| has(Need::Program(name)))
        {
            return None;
        }
        let archive = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!(
            "vendor/bubblewrap/source/bubblewrap-{}.tar.xz",
            bundled.version
        ));
        let place = PathBuf::from(format!(
            "/var/tmp/exec-server-{name}-{}",
            std::process::id()
        ));
        fs::create_dir(&place).unwrap();
        let upstream = Self(place);
        let unpacked = Command::new("tar")
            .args(["--no-same-owner", "--strip-components=1", "-xf"])
            .arg(&archive)
            .arg("-C")
            .arg(&upstream.0)
            .status()
            .unwrap();
        assert!(unpacked.success(), "tar -xf {}", archive.display());
        fs::write(upstream.bwrap(), bundled.elf().unwrap()).unwrap();
        fs::set_permissions(upstream.bwrap(), fs::Permissions::from_mode(0o755)).unwrap();
        Some(upstream)
    }

    fn bwrap(&self) -> PathBuf {
        self.0.join("bwrap-under-test")
    }

    /// Runs one of its scripts as another user, or as whoever we are; every point must be good but those `excused`.
    fn passes(
        &self,
        script: &str,
        interpreter: &str,
        user: Option<u32>,
        least: usize,
        excused: &[&str],
    ) {
        let (out, log) = (self.0.join("points"), self.0.join("log"));
        let mut command = Command::new(interpreter);
        command
            .arg(self.0.join("tests").join(script))
            .current_dir(&self.0)
            .env_clear()
            .env("PATH", PATH)
            .env("BWRAP", self.bwrap())
            .env("BWRAP_MUST_WORK", "1")
            .stdin(Stdio::null())
            .stdout(fs::File::create(&out).unwrap())
            .stderr(fs::File::create(&log).unwrap());
        if let Some(user) = user {
            command.uid(user).gid(user);
        }
        let mut child = command.spawn().unwrap();
        let mut status = None;
        within(LIMIT, &format!("{script} ends"), || {
            status = child.try_wait().unwrap();
            status.is_some()
        });
        let points = fs::read_to_string(&out).unwrap();
        let verdict = judge(&points, least, excused);
        let good = excused.is_empty() && !status.unwrap().success();
        assert!(
            verdict.is_ok() && !good,
            "{script} as {user:?}: {verdict:?}, {status:?}\n{points}\n{}",
            fs::read_to_string(&log).unwrap()
        );
    }
}

/// Holds the lines of a test against its plan: as many points as planned, at least `least` of them good and not skipped.
fn judge(points: &str, least: usize, excused: &[&str]) -> Result<(), String> {
    let plan = points.lines().find_map(|line| line.strip_prefix("1.."));
    let planned: usize = plan
        .ok_or("no plan")?
        .trim()
        .parse()
        .map_err(|_| "no number in the plan")?;
    let is_excused = |line: &str| {
        excused
            .iter()
            .any(|name| line.ends_with(&format!(" {name}")))
    };
    let (mut run, mut done) = (0, 0);
    for line in points.lines() {
        let good = line.starts_with("ok ");
        run += usize::from(good || line.starts_with("not ok "));
        done += usize::from(good && !line.contains("# SKIP"));
        if line.starts_with("not ok ") && !is_excused(line) {
            return Err(line.to_string());
        }
    }
    match (run == planned, done >= least) {
        (false, _) => Err(format!("{run} points of {planned} planned")),
        (_, false) => Err(format!(
            "only {done} points were not skipped, of at least {least}"
        )),
        _ => Ok(()),
    }
}

/// As root and as somebody else where we are root; otherwise as ourselves.
fn users() -> &'static [Option<u32>] {
    if is_root() {
        &[None, Some(ORDINARY)]
    } else {
        &[None]
    }
}

#[test]
fn the_scripts_of_bubblewrap_pass_with_the_bwrap_inside() {
    let Some(upstream) = Upstream::unpack("test-run", &["bash", "getpcaps", "capsh"]) else {
        return;
    };
    for &user in users() {
        upstream.passes("test-run.sh", "bash", user, 55, &[]);
    }
}

#[test]
fn the_namespace_scripts_of_bubblewrap_pass_with_the_bwrap_inside() {
    let programs = ["bash", "python3"];
    let Some(upstream) = Upstream::unpack("test-namespaces", &programs) else {
        return;
    };
    for &user in users() {
        upstream.passes("test-specifying-userns.sh", "bash", user, 1, &[]);
    }
    // To enter a pid namespace takes CAP_SYS_ADMIN over it, which an ordinary user lacks here.
    upstream.passes("test-specifying-pidns.sh", "bash", None, 1, &[]);
}

#[test]
fn the_unit_tests_of_bubblewrap_pass_with_the_bwrap_inside() {
    let Some(upstream) = Upstream::unpack("test-sandbox", &["python3"]) else {
        return;
    };
    for &user in users() {
        upstream.passes("test-sandbox.py", "python3", user, 60, &OVERFLOWING);
    }
}
