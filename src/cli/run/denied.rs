//! What is said when a sandbox was why a command failed: what was denied, by which rule, and what would permit it.

use std::path::Path;

use crate::env::{Denial, DenyingRule};
use crate::sandbox::policy::PROTECTED;

/// The line about what was denied to a command that has, or has not, the network.
pub(crate) fn line(denial: Option<&Denial>, has_network: bool) -> String {
    let Some(denial) = denial else {
        return "the sandbox may be why it failed".to_owned();
    };
    let known = |text: &Option<String>| text.clone().unwrap_or_else(|| "?".to_owned());
    let line = match denial.kind.as_str() {
        "path" => {
            let path = known(&denial.path);
            let rule = denial.rule.as_ref();
            let why = rule.and_then(|rule| why(rule, Path::new(&path)));
            let why = why.map_or(String::new(), |why| format!(": {why}"));
            let errno = known(&denial.errno);
            format!("denied by the sandbox: {path} ({errno}){why}")
        }
        "syscall" => {
            "denied by the sandbox: a system call that is not permitted has killed it".to_owned()
        }
        _ => {
            let more = match has_network {
                true => "--write PATH permits more",
                false => "--write PATH and --network permit more",
            };
            let text = known(&denial.text);
            format!("the sandbox may be why it failed, as it said `{text}`; {more}")
        }
    };
    line.replace('\n', " ")
}

/// What a rule says of a path, and the flags that would permit it to be written; none if the rule is of a kind that we do
/// not know.
fn why(rule: &DenyingRule, path: &Path) -> Option<String> {
    let place = rule.path.as_deref();
    let rule = match (rule.origin.as_str(), rule.access.as_str()) {
        ("metadata", _) => {
            let place = place?;
            return Some(format!(
                "{place} is protected in a directory that may be written; --write {place} would permit it"
            ));
        }
        ("policy", "read") => format!("{} may only be read", place?),
        ("default", "none") => "nothing lets it be seen".to_owned(),
        // A denial is not lifted by a permission beside it.
        ("policy", "deny") => {
            return Some(match &rule.pattern {
                Some(pattern) => format!("the pattern `{pattern}` denies it"),
                None => format!("{} is denied", place?),
            });
        }
        _ => return None,
    };
    let directory = path.parent().filter(|parent| *parent != Path::new("/"));
    let is_protected = path
        .file_name()
        .is_some_and(|name| PROTECTED.iter().any(|one| name == *one));
    let flags = match directory {
        Some(directory) if is_protected => {
            format!("--write {} --write {}", directory.display(), path.display())
        }
        directory => format!("--write {}", directory.unwrap_or(path).display()),
    };
    Some(format!("{rule}; {flags} would permit it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_path(path: &str, rule: Option<DenyingRule>) -> String {
        let denial = Denial {
            kind: "path".into(),
            path: Some(path.into()),
            errno: Some("EROFS".into()),
            rule,
            ..Denial::default()
        };
        line(Some(&denial), false)
    }

    fn rule(path: &str, access: &str, origin: &str) -> DenyingRule {
        DenyingRule {
            path: Some(path.into()),
            access: access.into(),
            origin: origin.into(),
            ..DenyingRule::default()
        }
    }

    #[test]
    fn a_path_is_told_with_its_rule_and_the_flags_that_permit_it() {
        let root = rule("/", "read", "policy");
        let protected = rule("/w/.git", "read", "metadata");
        let uncovered = DenyingRule {
            path: None,
            ..rule("", "none", "default")
        };
        for (path, rule, why) in [
            (
                "/srv/x/y",
                &root,
                "/ may only be read; --write /srv/x would permit it",
            ),
            (
                "/x",
                &root,
                "/ may only be read; --write /x would permit it",
            ),
            (
                "/web/.git",
                &root,
                "/ may only be read; --write /web --write /web/.git would permit it",
            ),
            (
                "/w/.git/x",
                &protected,
                "/w/.git is protected in a directory that may be written; --write /w/.git would permit it",
            ),
            (
                "/srv/x",
                &uncovered,
                "nothing lets it be seen; --write /srv would permit it",
            ),
        ] {
            let line = format!("denied by the sandbox: {path} (EROFS): {why}");
            assert_eq!(of_path(path, Some(rule.clone())), line);
        }
    }

    #[test]
    fn no_flag_is_named_that_would_not_permit_it() {
        let pattern = DenyingRule {
            path: None,
            pattern: Some("/w/**/*.env".into()),
            ..rule("", "deny", "policy")
        };
        for (rule, why) in [
            (Some(rule("/w/s", "deny", "policy")), ": /w/s is denied"),
            (Some(pattern), ": the pattern `/w/**/*.env` denies it"),
            // Of a server that does not say, or says what we do not know.
            (None, ""),
            (Some(rule("/w", "read", "moon")), ""),
            (Some(DenyingRule::default()), ""),
        ] {
            let line = format!("denied by the sandbox: /w/s/x (EROFS){why}");
            assert_eq!(of_path("/w/s/x", rule), line);
        }
    }

    #[test]
    fn it_is_one_line_whatever_the_server_says() {
        assert!(!of_path("/a\nb/c", Some(rule("/\n", "read", "policy"))).contains('\n'));
    }

    #[test]
    fn a_guess_is_told_as_one() {
        let denial = Denial {
            kind: "text".into(),
            text: Some("permission denied".into()),
            ..Denial::default()
        };
        let told = line(Some(&denial), false);
        assert!(told.starts_with("the sandbox may be why"), "{told}");
        assert!(told.contains("--network"), "{told}");
        let told = line(Some(&denial), true);
        assert!(!told.contains("--network"), "{told}");
    }
}
