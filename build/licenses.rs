//! The licences of all that is linked into the program or embedded in it, for `exec-server licenses`.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the texts of the crates do not cover: this program, and what the toolchain links.
const OURS: [(&str, &str); 3] = [
    ("exec-server", ""),
    (
        "Rust's standard library (MIT OR Apache-2.0)",
        "Copyright (c) The Rust Project Contributors",
    ),
    ("musl (MIT)", "Copyright (c) 2005-2020 Rich Felker, et al."),
];

/// Writes `licenses.rs` into `out`, and the packed texts beside it.
pub fn embed(root: &Path, out: &Path) -> Result<(), String> {
    println!(
        "cargo::rerun-if-changed={}",
        root.join("Cargo.lock").display()
    );
    println!("cargo::rerun-if-changed={}", root.join("LICENSE").display());
    let mut text = String::from(
        "exec-server is under the MIT licence, and has the programs and libraries below in it.\n\
         Where one may be had under several licences, it is used under the one that is shown.\n",
    );
    let own = read(&root.join("LICENSE"))?;
    let (_, mit) = divided(&own);
    let mut groups = vec![Group {
        names: OURS.iter().map(|(name, _)| (*name).to_owned()).collect(),
        rights: divided(&own).0,
        body: mit,
    }];
    let rights = OURS.iter().map(|(_, rights)| (*rights).to_owned());
    groups[0]
        .rights
        .extend(rights.filter(|rights| !rights.is_empty()));
    for (name, directory) in crates(root)? {
        let texts = texts_of(&directory)?;
        if texts.is_empty() {
            // It has its licence in Cargo.toml alone, which is MIT for all of those.
            groups[0].names.push(name.clone());
        }
        for text in texts {
            add(&mut groups, &name, &text);
        }
    }
    for group in &groups {
        push(&mut text, group);
    }
    let bubblewrap = out.join("bubblewrap/COPYING");
    if bubblewrap.exists() {
        let _ = write!(
            text,
            "\n{RULE}\n\nbubblewrap, a program of its own that is carried inside, with its source at the place\n\
             that vendor/bubblewrap/pin names (LGPL-2.1-or-later)\n\n{}",
            read(&bubblewrap)?
        );
    }
    let packed = out.join("licenses.deflate");
    fs::write(
        &packed,
        miniz_oxide::deflate::compress_to_vec(text.as_bytes(), 10),
    )
    .and_then(|()| {
        fs::write(
            out.join("licenses.rs"),
            format!(
                "/// The texts, packed, and their size.\nstatic PACKED: (&[u8], usize) = \
                     (include_bytes!(\"licenses.deflate\"), {});\n",
                text.len()
            ),
        )
    })
    .map_err(|e| format!("cannot write into {}: {e}", out.display()))
}

const RULE: &str =
    "--------------------------------------------------------------------------------";

/// Packages under the same text, but for the lines that say whose it is.
struct Group {
    names: Vec<String>,
    rights: Vec<String>,
    body: String,
}

fn add(groups: &mut Vec<Group>, name: &str, text: &str) {
    let (rights, body) = divided(text);
    let words =
        |text: &str| -> Vec<String> { text.split_whitespace().map(str::to_owned).collect() };
    let group = match groups
        .iter()
        .position(|group| words(&group.body) == words(&body))
    {
        Some(at) => &mut groups[at],
        None => {
            groups.push(Group {
                names: Vec::new(),
                rights: Vec::new(),
                body,
            });
            // The one that was pushed.
            groups.last_mut().expect("a group")
        }
    };
    group.names.push(name.to_owned());
    for right in rights {
        if !group.rights.contains(&right) {
            group.rights.push(right);
        }
    }
}

fn push(text: &mut String, group: &Group) {
    let _ = write!(text, "\n{RULE}\n\n{}\n\n", group.names.join(", "));
    for right in &group.rights {
        let _ = writeln!(text, "{right}");
    }
    let _ = writeln!(text, "\n{}", group.body.trim_matches('\n'));
}

/// The lines that say whose it is, at the beginning of a text, and the rest without its title.
fn divided(text: &str) -> (Vec<String>, String) {
    let text = text.replace('\r', "");
    let is_head = |line: &str| {
        let line = line.trim();
        line.is_empty()
            || line.starts_with("Copyright")
            || line == "All rights reserved."
            || line
                .to_ascii_lowercase()
                .trim_start_matches("the ")
                .trim_end_matches('.')
                == "mit license"
            || line == "The MIT License (MIT)"
            || line == "MIT License (MIT)"
    };
    let head: Vec<&str> = text.lines().take_while(|line| is_head(line)).collect();
    let rights = head
        .iter()
        .filter(|line| line.trim().starts_with("Copyright"));
    let rights = rights.map(|line| line.trim().to_owned()).collect();
    let body: Vec<&str> = text.lines().skip(head.len()).collect();
    (rights, body.join("\n"))
}

/// The crates that are linked for this target, with their directories.
fn crates(root: &Path) -> Result<Vec<(String, PathBuf)>, String> {
    let target = env::var("TARGET").unwrap_or_default();
    let tree = cargo(
        root,
        &[
            "tree",
            "--edges",
            "normal,no-proc-macro",
            "--prefix",
            "none",
            "--no-dedupe",
            "--format",
            "{p}",
            "--target",
            &target,
        ],
    )?;
    let metadata = cargo(
        root,
        &[
            "metadata",
            "--format-version",
            "1",
            "--filter-platform",
            &target,
        ],
    )?;
    let manifests: Vec<PathBuf> = metadata
        .split("\"manifest_path\":\"")
        .skip(1)
        .filter_map(|rest| Some(PathBuf::from(rest.split('"').next()?.replace("\\\\", "\\"))))
        .collect();
    let mut names: Vec<String> = tree
        .lines()
        .filter_map(|line| {
            let (name, version) = line.split_once(" v")?;
            let version = version.split(' ').next()?;
            Some(format!("{name}-{version}"))
        })
        .filter(|name| !name.starts_with("exec-server-"))
        .collect();
    names.sort();
    names.dedup();
    let with_directory = |name: String| {
        let directory = manifests.iter().find_map(|manifest| {
            let directory = manifest.parent()?;
            (directory.file_name()? == name.as_str()).then(|| directory.to_owned())
        });
        match directory {
            Some(directory) => Ok((name, directory)),
            None => Err(format!("cargo does not tell where {name} is")),
        }
    };
    names.into_iter().map(with_directory).collect()
}

fn cargo(root: &Path, arguments: &[&str]) -> Result<String, String> {
    let program = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(program)
        .args(arguments)
        .args(["--locked", "--offline", "--manifest-path"])
        .arg(root.join("Cargo.toml"))
        .output()
        .map_err(|e| format!("cargo {}: {e}", arguments[0]))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(format!(
            "cargo {}: {}",
            arguments[0],
            String::from_utf8_lossy(&output.stderr).trim()
        )),
    }
}

/// The texts that hold: MIT's where a crate can be had under that, otherwise all that it has.
fn texts_of(directory: &Path) -> Result<Vec<String>, String> {
    let entries = fs::read_dir(directory).map_err(|e| format!("{}: {e}", directory.display()))?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("LICENSE") && path.is_file()
        })
        .collect();
    files.sort();
    let is_mit = |path: &PathBuf| path.to_string_lossy().contains("LICENSE-MIT");
    if files.iter().any(is_mit) {
        files.retain(is_mit);
    }
    files.iter().map(|path| read(path)).collect()
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|e| format!("cannot read {}: {e}", path.display()))
}
