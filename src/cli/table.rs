//! The table of flags, from which arguments are read and `--help` is made.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::flags::ServeFlags;
use crate::serve::auth::Mode;

/// One row of the table.
pub(super) struct Flag {
    pub(super) category: Category,
    pub(super) short: Option<char>,
    pub(super) long: &'static str,
    pub(super) help: &'static str,
    pub(super) kind: Kind,
}

/// Where `--help` lists a flag.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Category {
    Listening,
    Access,
    Limits,
    General,
}

pub(super) enum Kind {
    Help,
    Version,
    Verbose,
    /// Sets something when it is there.
    Switch(fn(&mut ServeFlags)),
    Value(Value),
}

pub(super) struct Value {
    /// What `--help` and errors call it.
    pub(super) name: &'static str,
    /// The text that holds when there is none.
    pub(super) default: Option<&'static str>,
    /// The variable that holds when the flag is absent.
    pub(super) env: Option<&'static str>,
    pub(super) repeatable: bool,
    /// Reads the text into its place; the error says what is wrong with it.
    pub(super) store: Store,
}

type Store = fn(&mut ServeFlags, &str) -> Result<(), String>;

impl Value {
    const fn new(name: &'static str, default: &'static str, store: Store) -> Value {
        Value {
            default: Some(default),
            ..Value::optional(name, store)
        }
    }

    const fn optional(name: &'static str, store: Store) -> Value {
        Value {
            name,
            default: None,
            env: None,
            repeatable: false,
            store,
        }
    }

    const fn list(name: &'static str, store: Store) -> Value {
        Value {
            repeatable: true,
            ..Value::optional(name, store)
        }
    }
}

impl Flag {
    const fn value(
        category: Category,
        long: &'static str,
        help: &'static str,
        value: Value,
    ) -> Flag {
        Flag {
            category,
            short: None,
            long,
            help,
            kind: Kind::Value(value),
        }
    }

    const fn switch(
        short: Option<char>,
        long: &'static str,
        help: &'static str,
        kind: Kind,
    ) -> Flag {
        Flag {
            category: Category::General,
            short,
            long,
            help,
            kind,
        }
    }
}

pub(super) static FLAGS: [Flag; 25] = [
    Flag::value(
        Category::Listening,
        "listen",
        "Where to listen: ws://IP:PORT (port 0: any free one), unix:///PATH, or stdio",
        Value::new("URL", "ws://127.0.0.1:0", |flags, text| {
            flags.listen = text.to_owned();
            Ok(())
        }),
    ),
    Flag::value(
        Category::Listening,
        "tls-cert",
        "Speak wss:// with the certificate chain in this PEM file, read again on SIGHUP",
        Value::optional("FILE", |flags, text| {
            flags.options.tls.certificate = Some(path(text)?);
            Ok(())
        }),
    ),
    Flag::value(
        Category::Listening,
        "tls-key",
        "The PEM file with the private key of the certificate, read again on SIGHUP",
        Value::optional("FILE", |flags, text| {
            flags.options.tls.key = Some(path(text)?);
            Ok(())
        }),
    ),
    Flag::value(
        Category::Access,
        "ws-auth",
        "Ask clients for a bearer token: capability-token or signed-bearer-token (a JWT, HS256)",
        Value::optional("MODE", |flags, text| {
            flags.options.auth.mode = Some(Mode::from_name(text)?);
            Ok(())
        }),
    ),
    Flag::value(
        Category::Access,
        "ws-token-file",
        "The file with the capability token, read again on SIGHUP; instead of a file the token \
         may be in the variable EXEC_SERVER_TOKEN, which also turns capability-token on",
        Value::optional("PATH", |flags, text| {
            flags.options.auth.token_file = Some(path(text)?);
            Ok(())
        }),
    ),
    Flag::value(
        Category::Access,
        "ws-token-sha256",
        "The SHA-256 digest of the capability token, so that the token need not be here",
        Value::optional("HEX", |flags, text| {
            flags.options.auth.token_sha256 = Some(text.to_owned());
            Ok(())
        }),
    ),
    Flag::value(
        Category::Access,
        "ws-shared-secret-file",
        "The file with the secret that signs tokens, 32 bytes or more; read again on SIGHUP",
        Value::optional("PATH", |flags, text| {
            flags.options.auth.shared_secret_file = Some(path(text)?);
            Ok(())
        }),
    ),
    Flag::value(
        Category::Access,
        "ws-issuer",
        "What `iss` of a signed token must be",
        Value::optional("ISSUER", |flags, text| {
            flags.options.auth.issuer = Some(text.to_owned());
            Ok(())
        }),
    ),
    Flag::value(
        Category::Access,
        "ws-audience",
        "What `aud` of a signed token must be or contain",
        Value::optional("AUDIENCE", |flags, text| {
            flags.options.auth.audience = Some(text.to_owned());
            Ok(())
        }),
    ),
    Flag::value(
        Category::Access,
        "ws-max-clock-skew-seconds",
        "By how much the clock that signs tokens may differ; 30 unless given",
        Value::optional("SECONDS", |flags, text| {
            flags.options.auth.max_clock_skew = Some(parsed(text)?);
            Ok(())
        }),
    ),
    Flag::value(
        Category::Access,
        "allow-origin",
        "Let pages of this origin connect, e.g. https://app.example; may be repeated",
        Value::list("ORIGIN", |flags, text| {
            flags.options.allow_origins.push(origin(text)?);
            Ok(())
        }),
    ),
    Flag::value(
        Category::Access,
        "allow-host",
        "On a loopback listener also accept this name in `Host`; may be repeated",
        Value::list("HOST", |flags, text| {
            flags.options.allow_hosts.push(host(text)?);
            Ok(())
        }),
    ),
    Flag {
        category: Category::Access,
        short: None,
        long: "no-http",
        help: "Make no HTTP requests for clients",
        kind: Kind::Switch(|flags| flags.options.no_http = true),
    },
    Flag {
        category: Category::Access,
        short: None,
        long: "allow-link-local",
        help: "Let HTTP requests go to link-local and cloud metadata addresses, too",
        kind: Kind::Switch(|flags| flags.options.allow_link_local = true),
    },
    Flag::value(
        Category::Limits,
        "max-connections",
        "Most websocket connections at once; further ones get 503",
        Value::new("N", "1024", |flags, text| {
            flags.options.max_connections = count(text)?;
            Ok(())
        }),
    ),
    Flag::value(
        Category::Limits,
        "max-processes",
        "Most processes at once",
        Value::new("N", "1024", |flags, text| {
            flags.options.max_processes = count(text)?;
            Ok(())
        }),
    ),
    Flag::value(
        Category::Limits,
        "ping-interval",
        "Time between pings; a websocket client that is silent for three of them is gone",
        Value::new("SECONDS", "30", |flags, text| {
            flags.options.ping_interval = seconds(text)?;
            Ok(())
        }),
    ),
    Flag::value(
        Category::Limits,
        "session-retention",
        "How long a session without a connection, and an ended process, are kept",
        Value::new("SECONDS", "90", |flags, text| {
            flags.options.session_retention = seconds(text)?;
            Ok(())
        }),
    ),
    Flag::value(
        Category::Limits,
        "retained-output",
        "Output kept for each process, for clients that come back (suffixes k, m)",
        Value::new("BYTES", "1m", |flags, text| {
            flags.options.retained_output = bytes(text)?;
            Ok(())
        }),
    ),
    Flag::value(
        Category::Limits,
        "retained-total",
        "Output kept for all processes together (suffixes k, m)",
        Value::new("BYTES", "64m", |flags, text| {
            flags.options.retained_total = bytes(text)?;
            Ok(())
        }),
    ),
    Flag::value(
        Category::Limits,
        "drain-window",
        "How long output goes on after a process ended, when a descendant holds its pipes",
        Value::new("SECONDS", "2", |flags, text| {
            flags.options.drain_window = seconds(text)?;
            Ok(())
        }),
    ),
    Flag::value(
        Category::General,
        "log-level",
        "What to log on standard error: error, warn, info or debug",
        Value {
            env: Some("EXEC_SERVER_LOG"),
            ..Value::new("LEVEL", "warn", |flags, text| {
                flags.log_level = parsed(text)?;
                Ok(())
            })
        },
    ),
    Flag::switch(Some('h'), "help", "Print this and exit", Kind::Help),
    Flag::switch(
        Some('V'),
        "version",
        "Print the version and exit",
        Kind::Version,
    ),
    Flag::switch(
        None,
        "verbose",
        "With --version: also the commit, the target and what is inside",
        Kind::Verbose,
    ),
];

fn parsed<T: FromStr<Err: fmt::Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| error.to_string())
}

fn count(text: &str) -> Result<usize, String> {
    match parsed(text)? {
        0 => Err("must be at least 1".to_owned()),
        count => Ok(count),
    }
}

fn bytes(text: &str) -> Result<usize, String> {
    let lower = text.to_ascii_lowercase();
    let (digits, unit) = if let Some(digits) = lower.strip_suffix('k') {
        (digits, 1 << 10)
    } else if let Some(digits) = lower.strip_suffix('m') {
        (digits, 1 << 20)
    } else {
        (&lower[..], 1)
    };
    count(digits)?
        .checked_mul(unit)
        .ok_or_else(|| "number too large".to_owned())
}

fn seconds(text: &str) -> Result<Duration, String> {
    // `f64` would also take `inf`, `1e3` and signs.
    if !text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return Err("expected seconds, such as 90 or 0.5".to_owned());
    }
    Duration::try_from_secs_f64(parsed(text)?).map_err(|error| error.to_string())
}

fn path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() {
        Err("expected the path of a file".to_owned())
    } else {
        Ok(PathBuf::from(text))
    }
}

fn origin(text: &str) -> Result<String, String> {
    let is_origin = text.split_once("://").is_some_and(|(scheme, host)| {
        !scheme.is_empty() && !host.is_empty() && !host.contains(['/', '*', ' '])
    });
    if is_origin || text == "null" {
        Ok(text.to_owned())
    } else {
        Err("expected SCHEME://HOST[:PORT] as browsers send it, with no path".to_owned())
    }
}

fn host(text: &str) -> Result<String, String> {
    if text.is_empty() || text.contains(['/', '*', '@', ' ']) {
        Err("expected a host name, with or without :PORT".to_owned())
    } else {
        Ok(text.to_owned())
    }
}
