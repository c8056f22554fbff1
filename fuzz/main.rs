//! `make fuzz`: searches for inputs that break a target of `src/fuzz.rs`, which `FUZZ_TARGET` names.

#![no_main]

use std::sync::LazyLock;

use exec_server::fuzz::TARGETS;
use libfuzzer_sys::fuzz_target;

static RUN: LazyLock<fn(&[u8])> = LazyLock::new(|| {
    let names = TARGETS.map(|(name, _)| name);
    let wanted = std::env::var("FUZZ_TARGET").unwrap_or_default();
    let found = TARGETS.iter().find(|(name, _)| *name == wanted);
    found.unwrap_or_else(|| panic!("set FUZZ_TARGET to one of {names:?}")).1
});

fuzz_target!(|data: &[u8]| RUN(data));
