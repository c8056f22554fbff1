//! The helper child program, and directories of a test's own.

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// The `child` example.
pub fn child() -> String {
    example("child")
}

/// The child program with these arguments, which becomes or starts the command.
pub fn through_child(arguments: &[&str], plain: &Command) -> Command {
    through(&child(), arguments, plain)
}

/// The same of another program.
pub fn through(program: &str, arguments: &[&str], plain: &Command) -> Command {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .arg(plain.get_program())
        .args(plain.get_args());
    for (name, value) in plain.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

/// An example of this project.
pub fn example(name: &str) -> String {
    let example = built(&format!("examples/{name}"));
    assert!(
        example.exists(),
        "{} is missing: plain `cargo test` builds it, `cargo test --test it` alone does not; run `cargo build --examples` first",
        example.display()
    );
    example.into_os_string().into_string().unwrap()
}

/// What cargo has built for the same profile: this test's executable is target/TRIPLE/PROFILE/deps/it-HASH.
pub fn built(name: &str) -> PathBuf {
    let me = std::env::current_exe().unwrap();
    let profile = me.parent().and_then(|deps| deps.parent()).unwrap();
    profile.join(name)
}

/// A fresh directory that goes with its test.
pub struct Scratch(PathBuf);

/// Makes a fresh directory; what is inside goes when it is dropped.
pub fn scratch() -> Scratch {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let path =
        std::env::temp_dir().join(format!("exec-server-test-{}-{number}", std::process::id()));
    std::fs::create_dir(&path).unwrap();
    Scratch(path.canonicalize().unwrap())
}

impl Scratch {
    /// The path of a name inside, as text.
    pub fn path(&self, name: &str) -> String {
        self.0.join(name).into_os_string().into_string().unwrap()
    }

    /// The directory itself, as text.
    pub fn dir(&self) -> String {
        self.0.to_str().unwrap().to_string()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The names in a directory, sorted.
pub fn names(directory: &str) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
