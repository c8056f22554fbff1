//! The `envPolicy` of `process/start`: what a child may have of the server's environment.

use std::collections::BTreeMap;
use std::ffi::OsStr;

use serde::{Deserialize, Serialize};

/// What no child gets, whoever asks: they open the server itself or the account it acts for.
pub const NEVER_PASSED: [&str; 7] = [
    "CODEX_EXEC_SERVER_EXIT_ON_STDIN_CLOSE",
    "CODEX_EXEC_SERVER_NOISE_AUTH_TOKEN",
    "EXEC_SERVER_TOKEN",
    "NODE_REPL_AUTH_TOKEN",
    "OPENAI_FEDERATION_RULE_ID",
    "OPENAI_IDENTITY_TOKEN_FILE",
    "OPENAI_WORKLOAD_IDENTITY_CONTEXT",
];

/// What a child gets only when the client spells it out, never by inheritance: keys that the
/// operator gave to the server, which a client that asks for "all" does not mean to have.
pub const NEVER_INHERITED: [&str; 4] = [
    "CODEX_ACCESS_TOKEN",
    "CODEX_API_KEY",
    "CODEX_EXEC_SERVER_REMOTE_BEARER_TOKEN",
    "OPENAI_API_KEY",
];

/// Whether a variable of ours is a secret that a program between us and a server must not inherit:
/// those above, and what is called a bearer token.
pub fn is_our_secret(name: &OsStr) -> bool {
    let known = NEVER_PASSED.iter().chain(&NEVER_INHERITED);
    known
        .into_iter()
        .any(|known| name.eq_ignore_ascii_case(known))
        || name
            .to_string_lossy()
            .to_ascii_uppercase()
            .contains("BEARER")
}

/// How to make a child's environment. Every member is required on the wire.
// The decoder's messages name the type, and clients see them.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Inherit {
    /// Those that a login session has anyway: `PATH`, `HOME`, ...
    Core,
    All,
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
