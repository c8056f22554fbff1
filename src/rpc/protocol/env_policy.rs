//! The `envPolicy` of `process/start`: what a child may have of the server's environment.

use std::collections::BTreeMap;

use serde::Deserialize;

/// How to make a child's environment. Every member is required on the wire.
// The decoder's messages name the type, and clients see them.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", expecting = "struct ExecEnvPolicy")]
pub struct EnvPolicy {
    /// Which variables of the server to start from.
    pub inherit: Inherit,
    /// Keeps names that look like credentials (`KEY`, `SECRET`, `TOKEN` anywhere in them).
    pub ignore_default_excludes: bool,
    /// Patterns (`*`, `?`, case ignored) of inherited names to drop.
    pub exclude: Vec<String>,
    /// Variables to add after that.
    pub set: BTreeMap<String, String>,
    /// If not empty: patterns of the names to keep, also among `set`.
    pub include_only: Vec<String>,
}

/// Which of the server's variables a child starts from.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub enum Inherit {
    /// Those that a login session has anyway: `PATH`, `HOME`, ...
    Core,
    /// All.
    All,
    /// None.
    None,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(json: &str) -> String {
        let mut text = serde_json::from_str::<EnvPolicy>(json)
            .expect_err(json)
            .to_string();
        // The caller decodes from a raw value and cuts the position off.
        text.truncate(text.rfind(" at line").unwrap_or(text.len()));
        text
    }

    #[test]
    fn a_full_policy_decodes_and_unknown_members_are_ignored() {
        let policy: EnvPolicy = serde_json::from_str(
            r#"{"inherit":"core","ignoreDefaultExcludes":true,"exclude":["A*"],
                "set":{"B":"1"},"includeOnly":["C"],"later":1}"#,
        )
        .unwrap();
        assert_eq!(policy.inherit, Inherit::Core);
        assert!(policy.ignore_default_excludes);
        assert_eq!(policy.exclude, ["A*"]);
        assert_eq!(policy.set["B"], "1");
        assert_eq!(policy.include_only, ["C"]);
    }

    #[test]
    fn every_member_is_required_and_errors_name_it() {
        let members = [
            ("inherit", r#""all""#),
            ("ignoreDefaultExcludes", "false"),
            ("exclude", "[]"),
            ("set", "{}"),
            ("includeOnly", "[]"),
        ];
        for missing in 0..members.len() {
            let rest: Vec<String> = members
                .iter()
                .enumerate()
                .filter(|(index, _)| *index != missing)
                .map(|(_, (name, value))| format!("\"{name}\":{value}"))
                .collect();
            assert_eq!(
                error(&format!("{{{}}}", rest.join(","))),
                format!("missing field `{}`", members[missing].0)
            );
        }
        assert_eq!(
            error(r#"{"inherit":"zzz"}"#),
            "unknown variant `zzz`, expected one of `core`, `all`, `none`"
        );
        assert_eq!(
            error(r#""x""#),
            "invalid type: string \"x\", expected struct ExecEnvPolicy"
        );
        assert_eq!(
            error("[]"),
            "invalid length 0, expected struct ExecEnvPolicy"
        );
    }
}
