//! All that a program inside has, can reach and can change, held against lists of what it is meant to: what is new fails.

mod has;
mod vandal;

use std::fs;

use serde_json::{Value, json};

use crate::support::child;
use crate::support::sandbox::{Launcher, Sandbox, Stage};

/// The policies, by name; of those that a launcher cannot enforce, none.
fn policies(stage: &mut Stage) -> Vec<(&'static str, Value)> {
    let workspace = stage.policy();
    let minimal = Sandbox::minimal().read(&child());
    let files = json!({"type": "unrestricted"});
    let permissions = json!({"type": "managed", "file_system": files, "network": "restricted"});
    let offline = json!({"permissions": permissions, "windowsSandboxLevel": "disabled"});
    let mut policies = vec![
        ("read-only", Sandbox::read_only().json()),
        ("workspace", workspace.json()),
        ("minimal", minimal.json()),
        ("offline", offline),
    ];
    if stage.launcher != Launcher::Landlock {
        let denied = stage.path("workspace/denied");
        let pattern = stage.path("**/*.env");
        let denying = workspace.deny(&denied).deny_glob(&pattern);
        policies.push(("denying", denying.json()));
    }
    policies
}

/// Whether a program has devices of its own to try everything with: what it does to the machine's disturbs other tests.
fn has_devices(stage: &Stage, policy: &str) -> bool {
    stage.launcher != Launcher::Landlock && policy != "offline"
}

/// What is wrong unless the lines are those that tests/data/inventory.txt has for this launcher, user and policy, in any order.
///
/// A line of the list is the conditions, `|`, and what is expected. Each condition must hold, and does if one of its words,
/// with `/` between, is the launcher (`bwrap` for two of them, `offline` in place of all), the user or the policy.
fn same(found: &[String], stage: &Stage, policy: &str, said: &str) -> Option<String> {
    let launcher = stage.launcher.to_string();
    let user = if stage.is_root() { "root" } else { "another" };
    let kind = match stage.launcher {
        Launcher::Landlock => "landlock",
        _ => "bwrap",
    };
    let holds = match policy {
        "offline" => vec![policy, user],
        _ => vec![&*launcher, kind, user, policy],
    };
    let path = format!("{}/tests/data/inventory.txt", env!("CARGO_MANIFEST_DIR"));
    let lines = fs::read_to_string(path).unwrap();
    let lines = lines.lines().filter(|line| !line.starts_with('#'));
    let lines = lines.filter_map(|line| line.split_once(" | "));
    let expected: Vec<&str> = lines
        .filter(|(conditions, _)| {
            let mut conditions = conditions.split_whitespace();
            conditions.all(|one| one == "all" || one.split('/').any(|word| holds.contains(&word)))
        })
        .map(|(_, line)| line.trim())
        .collect();
    let new: Vec<&String> = found
        .iter()
        .filter(|line| !expected.contains(&line.as_str()))
        .collect();
    let missing: Vec<&&str> = expected
        .iter()
        .filter(|line| !found.iter().any(|found| found == **line))
        .collect();
    let is_same = new.is_empty() && missing.is_empty();
    (!is_same).then(|| {
        format!(
            "{holds:?}\nnot expected:\n{new:#?}\nmissing:\n{missing:#?}\nall that was said:\n{said}"
        )
    })
}
