//! The tests that run inside a virtual machine, each as a process of its own.
//!
//! `vm GROUP` runs all of a group, and `vm GROUP TEST` one. Who starts it is a test outside (`support/vm.rs`): these would
//! change the machine that they run on.

use std::env::{args, current_exe};
use std::process::{Command, ExitCode};

use support::vm;

/// The list of a module's tests, which would be dead code if it did not name them all.
macro_rules! tests {
    ($($name:ident)+) => {
        pub const TESTS: &[crate::Test] = &[$((stringify!($name), $name)),+];
    };
}

mod cgroups;

/// A test and its name.
type Test = (&'static str, fn());

const GROUPS: [(&str, &[Test]); 2] = [
    ("cgroups-delegated", cgroups::delegated::TESTS),
    ("cgroups-of-version-1", cgroups::of_version_1::TESTS),
];

fn main() -> ExitCode {
    vm::inside();
    let words: Vec<String> = args().skip(1).collect();
    let (group, tests) = GROUPS
        .into_iter()
        .find(|(name, _)| words.first().is_some_and(|word| word == name))
        .expect("the name of a group");
    if let Some(name) = words.get(1) {
        let (_, test) = tests.iter().find(|it| it.0 == name).expect("a test's name");
        test();
        return ExitCode::SUCCESS;
    }
    let me = current_exe().unwrap();
    let mut failed = 0;
    for (name, _) in tests {
        println!("test {name}");
        let status = Command::new(&me).args([group, name]).status().unwrap();
        if !status.success() {
            println!("FAILED: {name}, {status}");
            failed += 1;
        }
    }
    println!("{} tests, {failed} failed", tests.len());
    match failed {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}
