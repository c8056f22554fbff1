//! Command lines, good and bad.

use std::ffi::OsString;
use std::time::Duration;

use super::*;
use crate::cli::grammar::{Request, UsageError};
use crate::env::local::{CgroupConfig, CgroupLimits, CpuLimit, HostConfig};
use crate::sandbox::launcher;
use crate::sandbox::policy::Waivers;
use crate::serve::access::auth;
use crate::serve::access::tls::TlsFiles;

fn run(words: &[&str]) -> Result<Request<ServeFlags>, UsageError> {
    run_with(words, |_| None)
}

fn run_with(
    words: &[&str],
    env: impl Fn(&str) -> Option<OsString>,
) -> Result<Request<ServeFlags>, UsageError> {
    let args = ["exec-server"].iter().chain(words).map(OsString::from);
    GRAMMAR.parse(args.collect(), env)
}

fn flags(words: &[&str]) -> ServeFlags {
    match run(words) {
        Ok(Request::Perform(flags)) => *flags,
        other => panic!("{words:?}: {other:?}"),
    }
}

fn fault(words: &[&str]) -> String {
    run(words).expect_err("refused").message
}

#[test]
fn defaults() {
    assert_eq!(
        flags(&[]),
        ServeFlags {
            listen: None,
            cloud: cloud::Settings {
                reconnect_max_delay: Duration::from_secs(30),
                ..cloud::Settings::default()
            },
            options: Options {
                auth: auth::Settings::default(),
                tls: TlsFiles::default(),
                max_connections: 1024,
                concurrent_requests: None,
                memory_limit: None,
                allow_origins: vec![],
                allow_hosts: vec![],
                allow_local_users: false,
                ping_interval: Duration::from_secs(30),
                session_retention: Duration::from_secs(90),
                processes: HostConfig {
                    retained_output: 1 << 20,
                    retained_total: 64 << 20,
                    drain_window: Duration::from_secs(2),
                    max_processes: 1024,
                    keeps_daemons: false,
                },
                cgroups: CgroupConfig::default(),
                sandbox: launcher::Config::default(),
                no_http: false,
                allow_link_local: false,
                log_argv: false,
                metrics: None,
                manager: ServiceManager::default(),
            },
            log: LogFlags {
                level: Level::Warn,
                format: Format::Text,
                file: None,
            },
            unused: vec![],
        }
    );
}

#[test]
fn a_server_in_process_has_the_defaults_of_one_that_listens() {
    assert_eq!(flags(&[]).options, Options::default());
}

#[test]
fn every_value_is_taken() {
    let words = "--listen=stdio --ws-auth signed-bearer-token --ws-token-file /t --ws-token-sha256 00 \
                 --ws-shared-secret-file s --ws-issuer i --ws-audience a \
                 --ws-max-clock-skew-seconds 0 --tls-cert c --tls-key k --max-connections 3 --concurrent-requests 5 --memory-limit 32m --allow-origin https://a.example \
                 --allow-origin=null --allow-host b.example --allow-host c.example:81 --allow-local-users \
                 --session-retention 0.25 --retained-output 2048 --retained-total 3K \
                 --cloud --cloud-base-url b --cloud-environment-id e --cloud-name n --remote r \
                 --executor-id x --environment-id i --name m --remote-transport direct --registration-bearer-stdin \
                 --chatgpt-token-stdin --chatgpt-account-id a --exit-on-stdin-close \
                 --reconnect-max-delay 0.5 \
                 --ping-interval 1.5 --drain-window 0 --max-processes=7 --cgroup /c --session-memory 2G --session-pids 9 --session-cpu 1.5 --keep-daemons --no-http --allow-link-local --sandbox-launcher landlock --bwrap /b --accept-weaker metadata \
                 --log-level DEBUG --log-format json --log /l --log-argv --metrics /m";
    let words: Vec<&str> = words.split_whitespace().collect();
    assert_eq!(
        flags(&words),
        ServeFlags {
            listen: Some("stdio".into()),
            cloud: cloud::Settings {
                cloud: true,
                cloud_base_url: Some("b".into()),
                cloud_environment_id: Some("e".into()),
                cloud_name: Some("n".into()),
                remote: Some("r".into()),
                executor_id: Some("x".into()),
                environment_id: Some("i".into()),
                name: Some("m".into()),
                transport: Some(cloud::Transport::Direct),
                bearer_on_stdin: true,
                account_token_on_stdin: true,
                account_id: Some("a".into()),
                connect: None,
                exit_on_stdin_close: true,
                reconnect_max_delay: Duration::from_millis(500),
            },
            options: Options {
                auth: auth::Settings {
                    mode: Some(auth::Mode::SignedBearerToken),
                    token_file: Some("/t".into()),
                    token_sha256: Some("00".into()),
                    shared_secret_file: Some("s".into()),
                    issuer: Some("i".into()),
                    audience: Some("a".into()),
                    max_clock_skew: Some(0),
                    token: None,
                },
                tls: TlsFiles {
                    certificate: Some("c".into()),
                    key: Some("k".into()),
                },
                max_connections: 3,
                concurrent_requests: Some(5),
                memory_limit: Some(32 << 20),
                allow_origins: vec!["https://a.example".into(), "null".into()],
                allow_hosts: vec!["b.example".into(), "c.example:81".into()],
                ping_interval: Duration::from_millis(1500),
                session_retention: Duration::from_millis(250),
                processes: HostConfig {
                    retained_output: 2048,
                    retained_total: 3 << 10,
                    drain_window: Duration::ZERO,
                    max_processes: 7,
                    keeps_daemons: true,
                },
                cgroups: CgroupConfig {
                    base: Some("/c".into()),
                    session: CgroupLimits {
                        memory: Some(2 << 30),
                        pids: Some(9),
                        cpu: CpuLimit::of(1.5),
                    },
                },
                sandbox: launcher::Config {
                    pinned: Some(launcher::LauncherKind::Landlock),
                    bwrap: Some("/b".into()),
                    waivers: Waivers { metadata: true },
                },
                no_http: true,
                allow_link_local: true,
                allow_local_users: true,
                log_argv: true,
                metrics: Some(MetricsPlace::Own(ListenAddress::Unix("/m".into()))),
                manager: ServiceManager::default(),
            },
            log: LogFlags {
                level: Level::Debug,
                format: Format::Json,
                file: Some("/l".into()),
            },
            unused: vec![],
        }
    );
    assert_eq!(flags(&["--listen="]).listen.as_deref(), Some(""));
}

#[test]
fn the_environment_is_asked_when_the_flag_is_absent() {
    let env = |name: &str| (name == "EXEC_SERVER_LOG").then(|| OsString::from("info"));
    let level = |words: &[&str]| match run_with(words, env) {
        Ok(Request::Perform(flags)) => flags.log.level,
        other => panic!("{other:?}"),
    };
    assert_eq!(level(&[]), Level::Info);
    assert_eq!(level(&["--log-level", "error"]), Level::Error);

    let empty = run_with(&[], |_| Some(OsString::new()));
    assert_eq!(empty, run(&[]));
    let odd = run_with(&[], |_| Some("loud".into())).unwrap_err();
    assert_eq!(
        odd.message,
        "invalid value 'loud' for 'EXEC_SERVER_LOG': expected error, warn, info or debug"
    );
}

#[test]
fn help_and_version() {
    for words in [
        &["-h"][..],
        &["--help"],
        &["--listen", "x", "--help", "junk"],
    ] {
        assert_eq!(run(words), Ok(Request::Help));
    }
    for (words, verbose) in [
        (&["-V"][..], false),
        (&["--version"], false),
        (&["--version", "--verbose"], true),
        (&["--verbose", "-V"], true),
    ] {
        assert_eq!(run(words), Ok(Request::Version { verbose }));
    }
    assert!(fault(&["--verbose"]).contains("goes with '--version'"));
}

#[test]
fn faults_are_named_and_a_remedy_follows() {
    for (words, expected) in [
        (
            &["--listen", "a", "--listen", "b"][..],
            "the argument '--listen <URL>' cannot be used multiple times",
        ),
        (
            &["--listen"],
            "a value is required for '--listen <URL>' but none was supplied",
        ),
        (
            &["--listen", "--log-level", "info"],
            "a value is required for '--listen <URL>' but none was supplied",
        ),
        (
            &["--lisen", "stdio"],
            "unexpected argument '--lisen' found\n\n  tip: a similar argument exists: '--listen'",
        ),
        (&["--zzz"], "unexpected argument '--zzz' found"),
        (&["-x"], "unexpected argument '-x' found"),
        (&["serve"], "unexpected argument 'serve' found"),
        (&["--", "--help"], "unexpected argument '--help' found"),
        (
            &["--max-connections", "0"],
            "invalid value '0' for '--max-connections <N>': must be at least 1",
        ),
        (
            &["--max-processes", "abc"],
            "invalid value 'abc' for '--max-processes <N>': invalid digit found in string",
        ),
        (
            &["--retained-output", "99999999999999m"],
            "invalid value '99999999999999m' for '--retained-output <BYTES>': number too large",
        ),
    ] {
        assert_eq!(fault(words), expected);
    }
    let shown = run(&["--zzz"]).unwrap_err().to_string();
    assert!(shown.starts_with("error: unexpected") && shown.ends_with("try '--help'."));
}

#[test]
fn metrics_have_the_listener_or_an_address_of_their_own() {
    let place = |words: &[&str]| flags(words).options.metrics;
    let own = |url: &str| Some(MetricsPlace::Own(ListenAddress::parse(url, false).unwrap()));
    assert_eq!(place(&["--metrics"]), Some(MetricsPlace::Listener));
    assert_eq!(
        place(&["--metrics", "--no-http"]),
        Some(MetricsPlace::Listener)
    );
    assert_eq!(
        place(&["--metrics", "127.0.0.1:9464"]),
        own("ws://127.0.0.1:9464")
    );
    assert_eq!(place(&["--metrics=localhost:1"]), own("ws://127.0.0.1:1"));
    assert_eq!(place(&["--metrics", "unix:///x"]), own("unix:///x"));
    for text in ["9464", "x", "stdio", "unix://x", "ws://127.0.0.1:1"] {
        assert!(
            fault(&["--metrics", text]).contains("expected IP:PORT"),
            "{text}"
        );
    }
    for words in [
        &["--listen", "stdio", "--metrics"][..],
        &["--cloud", "--metrics"],
    ] {
        assert!(conflict(&flags(words)).is_some(), "{words:?}");
    }
    assert_eq!(
        conflict(&flags(&["--listen", "stdio", "--metrics", "/x"])),
        None
    );
}

#[test]
fn values_of_the_wrong_kind_are_refused() {
    for words in [
        ["--session-retention", "inf"],
        ["--session-retention", "1e3"],
        ["--session-retention", ""],
        ["--session-retention", "."],
        ["--drain-window", "99999999999999999999999"],
        ["--retained-total", "1g2"],
        ["--retained-total", "k"],
        ["--retained-total", "0m"],
        ["--allow-origin", "*"],
        ["--allow-origin", "app.example"],
        ["--allow-origin", "https://app.example/"],
        ["--allow-host", ""],
        ["--allow-host", "http://x"],
        ["--log-level", "trace"],
        ["--ws-auth", "basic"],
        ["--ws-token-file", ""],
        ["--tls-cert", ""],
        ["--ws-shared-secret-file", ""],
        ["--ws-max-clock-skew-seconds", "1.5"],
    ] {
        let fault = fault(&words);
        assert!(fault.starts_with("invalid value '"), "{words:?}: {fault}");
    }
    assert!(fault(&["--verbose=1"]).contains("--verbose"));
    let word = std::os::unix::ffi::OsStringExt::from_vec(b"--listen=\xff".to_vec());
    let error = GRAMMAR
        .parse(vec!["exec-server".into(), word], |_| None)
        .unwrap_err();
    assert!(error.message.ends_with("it is not UTF-8"), "{error}");
}

#[test]
fn a_machine_is_offered_or_listens() {
    let offer = ["--cloud", "--cloud-base-url", "https://plane.example"];
    for (more, text) in [
        (&[][..], None),
        (&["--listen", "stdio"][..], Some("--listen <URL>")),
        (&["--tls-cert", "c"][..], Some("--tls-cert <FILE>")),
        (
            &["--ws-auth", "capability-token"][..],
            Some("--ws-auth <MODE>"),
        ),
    ] {
        let found = conflict(&flags(&[&offer, more].concat()));
        let wanted =
            text.map(|flag| format!("the argument '--cloud' cannot be used with '{flag}'"));
        assert_eq!(found, wanted);
    }
    assert!(conflict(&flags(&["--executor-id", "x"])).is_some());
    assert_eq!(conflict(&flags(&["--listen", "stdio"])), None);
}

#[test]
fn the_options_that_mean_nothing_here_are_those_of_the_document() {
    let document = include_str!("../../../docs/command-line.md");
    let table = document
        .split("\n| option of the reference |")
        .nth(1)
        .unwrap();
    let rows: Vec<&str> = table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .collect();
    let wanted = FLAGS.iter().filter_map(|flag| {
        let FlagKind::Unused(unused) = &flag.kind else {
            return None;
        };
        let short = flag.short.map(|short| format!("-{short}, "));
        let value = unused.value.map(|form| format!(" <{}>", form.name));
        let usage = format!(
            "{}--{}{}",
            short.unwrap_or_default(),
            flag.long,
            value.unwrap_or_default()
        );
        let outcome = unused.outcome().to_lowercase();
        Some(format!("| `{usage}` | {outcome} | {} |", flag.help))
    });
    assert_eq!(rows, wanted.collect::<Vec<_>>());
}

#[test]
fn options_that_mean_nothing_here_are_noted_and_their_values_looked_at() {
    let noted = flags(&["-c", "a=b", "--enable", "x", "--strict-config", "-c", "y"]).unused;
    let names: Vec<_> = noted.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["config", "enable", "strict-config", "config"]);
    for (words, text) in [
        (&["--enable", "a b"][..], "expected the name of a feature"),
        (&["--tcp-upstream-proxy", "host"], "missing port"),
        (&["--tcp-upstream-proxy", "host:99999"], "number too large"),
        (
            &["--tcp-upstream-proxy", "http://h:80"],
            "expected HOST:PORT",
        ),
        (
            &["--enable"],
            "a value is required for '--enable <FEATURE>'",
        ),
        (
            &["--aws-sigv4"],
            "'--aws-sigv4' is not supported: requests are not signed",
        ),
    ] {
        assert!(fault(words).contains(text), "{words:?}: {}", fault(words));
    }
}
