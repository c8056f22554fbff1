//! Every message for a wrong file; what right ones mean is in [`meaning`].

mod meaning;

use std::path::Path;

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
