//! What a right file means.

use std::time::Duration;

use super::*;

#[test]
fn the_default_follows_its_table() {
    let id = |id: &str| Ok(DefaultSelection::Id(id.to_owned()));
    let unknown = |id: &str| Err(format!("default environment `{id}` is not configured"));
    let empty = || Err("default environment id cannot be empty".to_owned());
    for (default, include_local, expected) in [
        (None, None, id("local")),
        (None, Some(true), id("local")),
        (None, Some(false), Ok(DefaultSelection::Disabled)),
        (Some("none"), None, Ok(DefaultSelection::Disabled)),
        (Some(" NoNe "), Some(false), Ok(DefaultSelection::Disabled)),
        (Some("none"), Some(true), Ok(DefaultSelection::Disabled)),
        (Some("a"), None, id("a")),
        (Some(" a "), Some(false), id("a")),
        (Some("a"), Some(true), id("a")),
        (Some("local"), None, id("local")),
        (Some("local"), Some(true), id("local")),
        (Some("local"), Some(false), unknown("local")),
        (Some("Local"), Some(true), unknown("Local")),
        (Some("nope"), None, unknown("nope")),
        (Some("nope"), Some(false), unknown("nope")),
        (Some(""), None, empty()),
        (Some(" "), Some(false), empty()),
    ] {
        let mut text = String::new();
        if let Some(default) = default {
            text += &format!("default = \"{default}\"\n");
        }
        if let Some(include_local) = include_local {
            text += &format!("include_local = {include_local}\n");
        }
        text += &item("url = \"ws://h\"");
        match expected {
            Ok(expected) => {
                let config = parse(&text).expect(&text);
                assert_eq!(config.default, expected, "{text}");
                assert_eq!(config.include_local, include_local.unwrap_or(true));
            }
            Err(words) => assert_refused(&text, &words, "1:11"),
        }
    }
}

#[test]
fn all_keys_mean_what_they_say() {
    let text = r#"
        default = "box"
        [[environments]]
        id = "dev"
        url = " ws://u:p@127.0.0.1:1/x#f "
        connect_timeout_sec = 5
        initialize_timeout_sec = 0.25
        bearer_token_env = "TOKEN"
        [[environments]]
        id = "sock"
        url = "unix:///run/x"
        [[environments]]
        id = "box"
        program = " ssh "
        args = ["box", "exec-server"]
        env = { A = "b" }
        cwd = "jobs/../w"
    "#;
    let config = parse(text).expect("a good file");
    let position = |line| {
        Origin::File(Position {
            path: PATH.into(),
            line,
            column: 14,
        })
    };
    let ten = Duration::from_secs(10);
    assert_eq!(
        config,
        Config {
            environments: vec![
                Definition {
                    id: "dev".into(),
                    transport: Transport::WebSocket {
                        url: "ws://u:p@127.0.0.1:1/x#f".into(),
                        bearer_token_env: Some("TOKEN".into()),
                    },
                    connect_timeout: Duration::from_secs(5),
                    initialize_timeout: Duration::from_millis(250),
                    origin: position(4),
                },
                Definition {
                    id: "sock".into(),
                    transport: Transport::Unix {
                        path: "/run/x".into(),
                        bearer_token_env: None,
                    },
                    connect_timeout: ten,
                    initialize_timeout: ten,
                    origin: position(10),
                },
                Definition {
                    id: "box".into(),
                    transport: Transport::Program {
                        program: "ssh".into(),
                        args: vec!["box".into(), "exec-server".into()],
                        env: [("A".to_owned(), "b".to_owned())].into(),
                        cwd: Some("/etc/exec/jobs/../w".into()),
                    },
                    connect_timeout: ten,
                    initialize_timeout: ten,
                    origin: position(13),
                },
            ],
            default: DefaultSelection::Id("box".into()),
            include_local: true,
        }
    );
    let shown: Vec<String> = config
        .environments
        .iter()
        .map(|environment| environment.transport.to_string())
        .collect();
    assert_eq!(
        shown,
        ["ws://127.0.0.1:1/x", "unix:///run/x", "stdio command `ssh`"]
    );
}

#[test]
fn an_empty_file_is_this_machine_alone() {
    let config = parse("").expect("an empty file is valid");
    assert_eq!(config.environments, []);
    assert_eq!(config.default, DefaultSelection::Id("local".into()));
    assert!(config.include_local);
}
