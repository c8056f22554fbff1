//! PROTOCOL.md held against the server: its examples are run, and what is served is looked up in it.
//!
//! Every block fenced as `rpc` is spoken on a connection of its own, over both transports. A line `> ` is sent; a line
//! `< ` must come, in that order among the messages about the same id, process or watch, and nothing else may. `~` cuts
//! the connection and makes a new one. `/srv/demo` and `http://127.0.0.1:8000` are what [`Fixture`] makes. Behind `rpc`:
//! `silent` for a connection that has not said `initialize`, `ws` or `stdio` for one transport only, and flags of the
//! server. What may stand for what varies is in [`pattern`].

mod document;
mod pattern;

use std::collections::BTreeSet;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::Value;

use crate::support::{Client, Scratch, Server, Web, scratch};
use document::{Document, Example, Step};
use pattern::{Bindings, Pattern};

const TEXT: &str = include_str!("../../PROTOCOL.md");
const ERRORS: &str = include_str!("../../src/rpc/error.rs");

/// What the examples call the directory of their files.
const DEMO: &str = "/srv/demo";
/// What they call their web server.
const WEB: &str = "http://127.0.0.1:8000";

/// The transports of the examples, by their name behind `rpc`.
const TRANSPORTS: [&str; 2] = ["ws", "stdio"];

#[test]
fn every_example_is_true_on_a_websocket() {
    run_all("ws");
}

#[test]
fn every_example_is_true_on_stdio() {
    run_all("stdio");
}

fn run_all(transport: &str) {
    let document = Document::parse(TEXT);
    let examples: Vec<_> = document
        .examples()
        .filter(|example| {
            let mut named = example.tags.iter().filter(|tag| is_transport(tag));
            example.tags.iter().any(|tag| tag == transport) || named.next().is_none()
        })
        .collect();
    assert!(examples.len() > 20, "{} examples", examples.len());
    for example in examples {
        run(example, transport);
    }
}

fn is_transport(tag: &str) -> bool {
    TRANSPORTS.contains(&tag)
}

/// What the examples call `/srv/demo` and `http://127.0.0.1:8000`.
struct Fixture {
    directory: Scratch,
    web: Web,
}

impl Fixture {
    fn new() -> Self {
        let directory = scratch();
        std::fs::write(directory.path("hello.txt"), "hello\n").unwrap();
        std::fs::create_dir(directory.path("src")).unwrap();
        std::fs::write(directory.path("src/main.rs"), "fn main() {}\n").unwrap();
        symlink("hello.txt", directory.path("latest")).unwrap();
        let web = Web::serve(|asked, wire| match asked.path() {
            "/hello.txt" => wire.reply("200 OK\r\ncontent-type: text/plain", b"hello\n"),
            "/moved" => wire.reply("302 Found\r\nlocation: /hello.txt", b""),
            _ => wire.reply("404 Not Found", b""),
        });
        Self { directory, web }
    }

    /// A line of an example as it is on this machine.
    fn localize(&self, line: &str) -> String {
        line.replace(DEMO, &self.directory.dir())
            .replace(WEB, &self.web.url(""))
    }
}

fn run(example: &Example, transport: &str) {
    let place = format!("PROTOCOL.md:{}", example.line);
    let fixture = Fixture::new();
    let flags: Vec<&str> = example.tags.iter().map(String::as_str).collect();
    let is_silent = flags.contains(&"silent");
    let flags: Vec<&str> = flags
        .into_iter()
        .filter(|tag| *tag != "silent" && !is_transport(tag))
        .collect();
    let mut server = None;
    let mut client = if transport == "stdio" {
        Client::stdio_silent(&flags)
    } else {
        server.insert(Server::websocket(&flags)).connect_silent()
    };
    if !is_silent {
        client.initialize();
    }
    client.record();
    let mut heard = Heard::default();
    let mut bindings = Bindings::default();
    for step in &example.steps {
        match step {
            Step::Send(line) => client.send(&bindings.fill_in(&fixture.localize(line))),
            Step::Receive(line) => {
                let expected = Pattern::parse(&fixture.localize(line));
                let expected = expected.unwrap_or_else(|why| panic!("{place}: {why}: {line}"));
                let actual = heard.next(&mut client, &expected.topic(), &place);
                if let Err(why) = expected.compare(&actual, &mut bindings) {
                    panic!("{place}: {why}\n  expected {line}\n  received {actual}");
                }
            }
            Step::Reconnect => {
                heard.nothing_more(&mut client, &place);
                // To the end, after which the session has no connection: what an example shows
                // is no race with a server that still has to notice.
                client.send_close(1000);
                client.hang_up();
                let server = server.as_ref();
                client = server.expect("`~` is for `ws` only").connect_silent();
                client.record();
                heard = Heard::default();
            }
        }
    }
    heard.nothing_more(&mut client, &place);
}

/// What has come on a connection, and which of it an example has named.
#[derive(Default)]
struct Heard(BTreeSet<usize>);

impl Heard {
    /// The next message about `topic` that was not named yet.
    fn next(&mut self, client: &mut Client, topic: &str, place: &str) -> Value {
        let number = client.wait(&format!("{place}: a message about {topic}"), |client| {
            let mut messages = client.recorded().iter().enumerate();
            let found = messages
                .find(|(number, message)| !self.0.contains(number) && topic_of(message) == topic);
            found.map(|(number, _)| number)
        });
        self.0.insert(number);
        client.recorded()[number].clone()
    }

    /// Checks that everything that has come was named.
    fn nothing_more(&self, client: &mut Client, place: &str) {
        client.send(r#"{"id":"the end","method":"environment/status"}"#);
        client.wait("the end of an example", |client| {
            client.has_answer("the end").then_some(())
        });
        for (number, message) in client.recorded().iter().enumerate() {
            assert!(
                self.0.contains(&number) || message["id"] == "the end",
                "{place}: not in the example: {message}"
            );
        }
    }
}

/// Messages about the same thing come in a known order, those about different things in any.
fn topic_of(message: &Value) -> String {
    let params = &message["params"];
    let names = [
        &message["id"],
        &params["processId"],
        &params["requestId"],
        &params["watchId"],
    ];
    let name = names.into_iter().find(|name| !name.is_null());
    let kind = message["method"].as_str().unwrap_or("answer");
    let family = kind.split('/').next().unwrap_or_default();
    format!("{family} {}", name.unwrap_or(&Value::Null))
}

#[test]
fn every_method_served_has_a_section_with_an_example() {
    let document = Document::parse(TEXT);
    let served = served();
    assert!(served.len() > 10, "{served:?}");
    for method in &served {
        assert!(
            document.section(method).is_some(),
            "{method} is served, and PROTOCOL.md has no section `### \\`{method}\\``"
        );
    }
    for section in document.sections() {
        let spoken: Vec<String> = section
            .examples
            .iter()
            .flat_map(|example| &example.steps)
            .filter_map(|step| match step {
                Step::Send(line) | Step::Receive(line) => method_of(line),
                Step::Reconnect => None,
            })
            .collect();
        assert!(
            spoken.contains(&section.name),
            "the section on {} has no example in which it occurs",
            section.name
        );
    }
}

/// The method of a line of an example, which need not be JSON as it stands.
fn method_of(line: &str) -> Option<String> {
    let rest = line.split_once("\"method\":\"")?.1;
    Some(rest.split('"').next()?.to_owned())
}

/// Every method that the server knows, by asking for all that the sources could mean: each quoted `family/name`, and
/// each quoted word alone and in each family, because dispatch may take names apart.
fn served() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut words = BTreeSet::new();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    collect_quoted(&source, &mut |text| {
        let parts: Vec<&str> = text.split('/').collect();
        let is_name = |part: &&str| {
            part.starts_with(|c: char| c.is_ascii_lowercase())
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric())
        };
        if !parts.iter().all(is_name) {
            return;
        }
        match parts.len() {
            1 => words.insert(text.to_owned()),
            _ => names.insert(text.to_owned()),
        };
    });
    let families: BTreeSet<&str> = names
        .iter()
        .filter_map(|name| Some(name.rsplit_once('/')?.0))
        .collect();
    let joined = families
        .iter()
        .flat_map(|family| words.iter().map(move |word| format!("{family}/{word}")));
    let candidates: BTreeSet<String> = joined.chain(words.iter().cloned()).collect();
    let mut client = Client::stdio_silent(&[]);
    let mut is_served = |name: &String| client.err(name, Value::Null).code != -32601;
    names
        .iter()
        .chain(&candidates)
        .filter(|name| is_served(name))
        .cloned()
        .collect()
}

/// Hands over everything between two quotation marks in the sources; also what is between two texts, which does no harm.
fn collect_quoted(directory: &Path, each: &mut impl FnMut(&str)) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect_quoted(&path, each);
        } else if path.extension().is_some_and(|end| end == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            text.lines()
                .flat_map(|line| line.split('"'))
                .for_each(&mut *each);
        }
    }
}

#[test]
fn every_extension_is_marked_and_explained() {
    let document = Document::parse(TEXT);
    let client = Client::stdio();
    let capabilities = &client.greeting["environmentInfo"]["capabilities"];
    let extensions = capabilities["execServer"]["extensions"].as_array().unwrap();
    let extensions: BTreeSet<&str> = extensions.iter().map(|it| it.as_str().unwrap()).collect();
    for extension in &extensions {
        let (method, member) = extension.split_once('.').unwrap_or((extension, ""));
        let section = document.section(method);
        let section = section.unwrap_or_else(|| panic!("no section on {method}"));
        assert!(
            member.is_empty() || section.text.contains(&format!("`{member}`")),
            "the section on {method} does not speak of the extension `{member}`"
        );
        assert!(
            member.is_empty() || section.text.contains("xtension"),
            "the section on {method} does not mark its extension"
        );
    }
    for section in document.sections() {
        assert_eq!(
            section.is_extension,
            extensions.contains(section.name.as_str()),
            "{}: the heading says whether the whole is an extension",
            section.name
        );
    }
}

#[test]
fn every_error_code_is_in_the_table() {
    let codes: Vec<&str> = ERRORS
        .split("=> -32")
        .skip(1)
        .filter_map(|rest| rest.get(..3))
        .collect();
    assert!(codes.len() >= 7, "{codes:?}");
    for code in codes {
        assert!(
            TEXT.contains(&format!("\n| -32{code} |")),
            "no row on -32{code}"
        );
    }
}

#[test]
fn every_flag_that_is_named_exists() {
    let help = Server::command().arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let known: BTreeSet<&str> = help.split_whitespace().collect();
    let named: BTreeSet<&str> = TEXT
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '-')
        .filter(|word| word.starts_with("--") && word.bytes().any(|byte| byte != b'-'))
        .collect();
    assert!(named.len() > 5, "{named:?}");
    // Those of a 0.130 client's helper, which the document explains.
    let helper = [
        "--sandbox-policy-cwd",
        "--command-cwd",
        "--permission-profile",
    ];
    for flag in named {
        let is_known = known.contains(flag) || helper.contains(&flag);
        assert!(is_known, "{flag} is not in --help");
    }
}
