//! A container runtime's profile of system calls as a filter, as runc and libseccomp make it for a container that has
//! Docker's default capabilities.

use libc::sock_filter;
use serde_json::Value;

use crate::deny::{fails, step};

/// What Docker leaves to a container, as far as profiles ask for it.
const CAPABILITIES: [&str; 4] = [
    "CAP_SYS_CHROOT",
    "CAP_NET_RAW",
    "CAP_MKNOD",
    "CAP_AUDIT_WRITE",
];

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: (&str, &str) = ("amd64", "/usr/include/x86_64-linux-gnu/asm/unistd_64.h");
#[cfg(not(target_arch = "x86_64"))]
const ARCHITECTURE: (&str, &str) = ("arm64", "/usr/include/asm-generic/unistd.h");

const ALLOW: u32 = 0x7fff_0000;
const ERRNO: u32 = 0x0005_0000;

/// The steps of a profile, which decide about every call; the number of the call is loaded before.
pub fn filter(path: &str) -> Vec<sock_filter> {
    let profile = std::fs::read_to_string(path).unwrap();
    let profile: Value = serde_json::from_str(&profile).unwrap();
    assert_eq!(profile["defaultAction"], "SCMP_ACT_ERRNO");
    let numbers = std::fs::read_to_string(ARCHITECTURE.1).unwrap();
    let number = |name: &str| {
        let mut lines = numbers.lines().filter_map(|line| {
            let (known, number) = line.strip_prefix("#define __NR_")?.split_once(' ')?;
            (known == name).then(|| number.trim().parse::<u32>().unwrap())
        });
        lines.next()
    };
    let mut steps = Vec::new();
    let mut newest = 0;
    for rule in profile["syscalls"].as_array().unwrap() {
        let names = rule["names"].as_array().unwrap().iter();
        let known: Vec<u32> = names
            .filter_map(|name| number(name.as_str().unwrap()))
            .collect();
        newest = known.iter().copied().chain([newest]).max().unwrap();
        if !applies(rule) {
            continue;
        }
        for number in known {
            match rule["action"].as_str().unwrap() {
                "SCMP_ACT_ALLOW" => steps.extend(allows(number, rule["args"].as_array())),
                _ => {
                    let errno = rule["errnoRet"].as_u64().unwrap() as u32;
                    steps.extend(fails(number.into(), errno));
                }
            }
        }
    }
    // runc says of calls that are newer than a profile that they are not there.
    steps.extend([
        step(0x25, 0, 1, newest),
        step(0x06, 0, 0, ERRNO | libc::ENOSYS as u32),
        step(0x06, 0, 0, ERRNO | libc::EPERM as u32),
    ]);
    steps
}

/// Whether a rule is for a container like ours.
fn applies(rule: &Value) -> bool {
    let has_one = |list: &Value, ours: &[&str]| {
        let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
        let found = list
            .iter()
            .any(|name| ours.contains(&name.as_str().unwrap()));
        (list.is_empty(), found)
    };
    let asks = |side: &str| {
        [("caps", &CAPABILITIES[..]), ("arches", &[ARCHITECTURE.0])]
            .map(|(kind, ours)| has_one(&rule[side][kind], ours))
    };
    let includes = asks("includes")
        .iter()
        .all(|(is_empty, found)| *is_empty || *found);
    let excludes = asks("excludes").iter().any(|(_, found)| *found);
    includes && !excludes
}

/// A call that is allowed if all its arguments are as they should be.
fn allows(number: u32, arguments: Option<&Vec<Value>>) -> Vec<sock_filter> {
    let mut body = Vec::new();
    let arguments = arguments.map(Vec::as_slice).unwrap_or_default();
    for (index, argument) in arguments.iter().enumerate() {
        // What follows of this rule, and is left out if it does not fit: three steps an argument, and the last one.
        let rest = ((arguments.len() - index - 1) * 3 + 1) as u8;
        let of = |member: &str| argument[member].as_u64().unwrap_or(0) as u32;
        body.push(step(0x20, 0, 0, 16 + 8 * of("index")));
        let (mask, value, fits) = match argument["op"].as_str().unwrap() {
            "SCMP_CMP_EQ" => (u32::MAX, of("value"), (0, rest)),
            "SCMP_CMP_NE" => (u32::MAX, of("value"), (rest, 0)),
            "SCMP_CMP_MASKED_EQ" => (of("value"), of("valueTwo"), (0, rest)),
            other => panic!("nothing is known of {other}"),
        };
        body.push(step(0x54, 0, 0, mask));
        body.push(step(0x15, fits.0, fits.1, value));
    }
    body.push(step(0x06, 0, 0, ALLOW));
    let mut steps = vec![step(0x15, 0, body.len() as u8, number)];
    steps.extend(body);
    if !arguments.is_empty() {
        steps.push(step(0x20, 0, 0, 0));
    }
    steps
}
