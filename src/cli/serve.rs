//! Serving: what the program does when no command is named.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::description::Candidates;
use super::grammar::{
    Category, Flag, FlagKind, Form, Grammar, Operands, Unused, Value, bytes, count, host, origin,
    parsed, path, pids, processors, seconds,
};
use super::{Command, RunError, UsageError, told, with_flags};
use crate::cloud::{self, Transport};
use crate::env::local::CpuLimit;
use crate::log::{self, Format, Level};
use crate::net::Target;
use crate::sandbox::launcher;
use crate::serve::access::auth::Mode;
use crate::serve::listen::{ListenAddress, ListenUrlError};
use crate::serve::{self, Config, MetricsPlace, Options, ServiceManager};
use crate::sys::initial_environment;

/// Where to listen when nobody says it.
const DEFAULT_LISTEN: &str = "ws://127.0.0.1:0";

/// The flags of serving, as given or by default.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ServeFlags {
    /// Where to listen, if that was said; not looked into yet.
    listen: Option<String>,
    /// Where to be offered; not looked into yet.
    cloud: cloud::Settings,
    /// How to serve; nothing in it is looked into yet.
    options: Options,
    log: LogFlags,
    /// Options that mean nothing here, and why.
    unused: Vec<(&'static str, &'static str)>,
}

/// What to log, how and where.
#[derive(Clone, Debug, PartialEq)]
struct LogFlags {
    level: Level,
    format: Format,
    /// None for standard error.
    file: Option<PathBuf>,
}

impl Default for LogFlags {
    fn default() -> Self {
        Self {
            level: Level::default(),
            format: Format::Text,
            file: None,
        }
    }
}

/// Serves as the flags say, until told to stop.
pub(crate) fn run(mut flags: ServeFlags) -> Result<(), RunError> {
    // First, while no descriptor of ours can be taken for it.
    let handed = serve::handed_socket().map_err(RunError::Serve)?;
    flags.options.manager = ServiceManager::find();
    if let Some(message) = conflict(&flags) {
        return Err(RunError::Usage(GRAMMAR.error(message)));
    }
    prepare(&flags)?;
    if flags.cloud.is_wanted() {
        return cloud::run(&flags.cloud, &flags.options).map_err(RunError::Offer);
    }
    let mut config = config(flags).map_err(RunError::Listen)?;
    if let Some(handed) = handed.filter(|_| config.listen != ListenAddress::Stdio) {
        config.listen = handed.address;
        config.handed = Some(handed.socket);
    }
    serve::run(config).map_err(RunError::Serve)
}

/// Sets what is logged, how and where, and says what was given in vain.
fn prepare(flags: &ServeFlags) -> Result<(), RunError> {
    let LogFlags {
        level,
        format,
        file,
    } = &flags.log;
    let file = file.as_deref().filter(|file| *file != Path::new("-"));
    log::to(file, *level, *format).map_err(RunError::Log)?;
    for (option, why) in &flags.unused {
        log::debug!("--{option} changes nothing here: {why}");
    }
    Ok(())
}

/// What cannot be meant together.
fn conflict(flags: &ServeFlags) -> Option<String> {
    let cloud = &flags.cloud;
    if let Some(message) = cloud.conflict() {
        return Some(message);
    }
    let options = &flags.options;
    if let (Some(MetricsPlace::Listener), true) = (&options.metrics, has_no_listener(flags)) {
        return Some(
            "'--metrics' alone needs a listener, and there is none; give it an address, as \
             '--metrics 127.0.0.1:9464'"
                .to_owned(),
        );
    }
    let has_listener = [
        ("--listen <URL>", flags.listen.is_some()),
        ("--tls-cert <FILE>", options.tls.is_wanted()),
        ("--ws-auth <MODE>", options.auth.mode.is_some()),
    ];
    let (listener, _) = has_listener.iter().find(|(_, is_given)| *is_given)?;
    let offer = if cloud.cloud {
        "--cloud"
    } else {
        "--remote <URL>"
    };
    cloud
        .is_wanted()
        .then(|| format!("the argument '{offer}' cannot be used with '{listener}'"))
}

/// Whether nobody can connect to this server.
fn has_no_listener(flags: &ServeFlags) -> bool {
    let is_stdio = |url: &str| ListenAddress::parse(url, false) == Ok(ListenAddress::Stdio);
    flags.cloud.is_wanted() || flags.listen.as_deref().is_some_and(is_stdio)
}

fn config(flags: ServeFlags) -> Result<Config, ListenUrlError> {
    let mut options = flags.options;
    // Never in argv, where every user of this machine could read it.
    options.auth.token = initial_environment::take_variable("EXEC_SERVER_TOKEN");
    Ok(Config {
        listen: ListenAddress::parse(
            flags.listen.as_deref().unwrap_or(DEFAULT_LISTEN),
            options.tls.is_wanted(),
        )?,
        handed: None,
        options,
    })
}

pub(crate) static GRAMMAR: Grammar<ServeFlags> = Grammar {
    about: "Runs commands and reads and writes files of this machine for a client elsewhere,\n\
            over JSON-RPC on a websocket or on standard input and output.\n",
    usage: "exec-server [OPTIONS]",
    flags: FLAGS,
    candidates: Candidates::Unknown,
    operands: Operands::None,
    notes: "The token of --executor-id is in CODEX_EXEC_SERVER_REMOTE_BEARER_TOKEN.\n",
};

static FLAGS: &[Flag<ServeFlags>] = &[
    Flag::value(
        Category::Listening,
        "listen",
        "Where to listen: ws://IP:PORT (port 0: any free one), ws://localhost:PORT (127.0.0.1), \
         unix:///PATH, or stdio; ws://127.0.0.1:0 unless given. A socket that systemd hands over comes first",
        Value::optional("URL", |flags: &mut ServeFlags, text| {
            flags.listen = Some(text.to_owned());
            Ok(())
        }),
    ).completes(Candidates::Words(&["ws://127.0.0.1:0", "unix://", "stdio"])),
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
        Value::optional("MODE", |flags: &mut ServeFlags, text| {
            flags.options.auth.mode = Some(Mode::from_name(text)?);
            Ok(())
        }),
    ).completes(Candidates::Words(&["capability-token", "signed-bearer-token"])),
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
    Flag::switch(
        Category::Access,
        None,
        "allow-local-users",
        "Without a token, let every user of this machine in, not only the server's own and root; \
         whoever is in has the server's rights",
        FlagKind::Switch(|flags| flags.options.allow_local_users = true),
    ),
    Flag {
        category: Category::Access,
        short: None,
        long: "no-http",
        help: "Make no HTTP requests for clients",
        kind: FlagKind::Switch(|flags| flags.options.no_http = true),
    },
    Flag {
        category: Category::Access,
        short: None,
        long: "allow-link-local",
        help: "Let HTTP requests go to link-local and cloud metadata addresses, too",
        kind: FlagKind::Switch(|flags| flags.options.allow_link_local = true),
    },
    Flag::switch(
        Category::Cloud,
        None,
        "cloud",
        "Instead of listening, register with cloud environments, and serve who comes through them",
        FlagKind::Switch(|flags| flags.cloud.cloud = true),
    ),
    Flag::value(
        Category::Cloud,
        "cloud-base-url",
        "Where cloud environments are, else in CODEX_CLOUD_ENVIRONMENTS_BASE_URL",
        Value::optional("URL", |flags, text| {
            flags.cloud.cloud_base_url = Some(text.to_owned());
            Ok(())
        }),
    ),
    Flag::value(
        Category::Cloud,
        "cloud-environment-id",
        "The environment to join; without it one is made",
        Value::optional("ID", |flags, text| {
            flags.cloud.cloud_environment_id = Some(text.to_owned());
            Ok(())
        }),
    ),
    Flag::value(
        Category::Cloud,
        "cloud-name",
        "What this machine is called there; codex-exec-server unless given",
        Value::optional("NAME", |flags, text| {
            flags.cloud.cloud_name = Some(text.to_owned());
            Ok(())
        }),
    ),
    REMOTE,
    Flag::value(
        Category::Cloud,
        "executor-id",
        "Register as this executor, with the token in a variable (see below)",
        Value::optional("ID", |flags, text| {
            flags.cloud.executor_id = Some(text.to_owned());
            Ok(())
        }),
    ),
    ENVIRONMENT_ID,
    NAME,
    REMOTE_TRANSPORT,
    REGISTRATION_BEARER,
    ACCOUNT_TOKEN,
    ACCOUNT_ID,
    EXIT_ON_STDIN_CLOSE,
    RECONNECT_DELAY,
    Flag::value(
        Category::Access,
        "sandbox-launcher",
        "Confine with this only: system (the machine's bwrap), bundled (the one inside) or landlock; \
         otherwise the first of them that can, with a system one of known faults after the bundled one",
        Value::optional("NAME", |flags: &mut ServeFlags, text| {
            flags.options.sandbox.pinned = Some(launcher::LauncherKind::from_name(text)?);
            Ok(())
        }),
    ).completes(Candidates::Words(&["system", "bundled", "landlock"])),
    Flag::value(
        Category::Access,
        "bwrap",
        "Take this file as the bundled bwrap; it must have the digest of the one that was built with this program",
        Value::optional("FILE", |flags, text| {
            flags.options.sandbox.bwrap = Some(path(text)?);
            Ok(())
        }),
    ),
    PID_NAMESPACE,
    Flag::value(
        Category::Access,
        "accept-weaker",
        "Where a policy cannot be enforced whole, run without this protection, for every client: \
         metadata (.git, .codex, .agents and .aws in directories that may be written); may be repeated",
        Value::list("NAMES", |flags: &mut ServeFlags, text| {
            flags.options.sandbox.waivers.add(text)
        }),
    ).completes(Candidates::Words(&["metadata"])),
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
        "memory-limit",
        "Memory that all clients together can make the server hold: messages, requests that wait, \
         unsent answers, kept output (suffixes k, m); without it 256m, or a quarter of the memory limit \
         of the server's cgroup or of its address space, where that is less",
        Value::optional("BYTES", |flags, text| {
            flags.options.memory_limit = Some(bytes(text)?);
            Ok(())
        }),
    ),
    Flag::value(
        Category::Limits,
        "concurrent-requests",
        "Most requests of a connection at work at once; further ones wait, but for those that end or \
         signal a process. Without it only file requests wait for each other",
        Value::optional("N", |flags, text| {
            flags.options.concurrent_requests = Some(count(text)?);
            Ok(())
        }),
    ),
    Flag::value(
        Category::Limits,
        "max-processes",
        "Most processes at once",
        Value::new("N", "1024", |flags, text| {
            flags.options.processes.max_processes = count(text)?;
            Ok(())
        }),
    ),
    Flag::value(
        Category::Limits,
        "session-memory",
        "Most memory of all that a session runs together (suffixes k, m, g); needs a delegated cgroup v2",
        Value::optional("BYTES", |flags, text| {
            flags.options.cgroups.session.memory = Some(bytes(text)? as u64);
            Ok(())
        }),
    ),
    Flag::value(
        Category::Limits,
        "session-pids",
        "Most processes and threads of a session together; needs a delegated cgroup v2",
        Value::optional("N", |flags, text| {
            flags.options.cgroups.session.pids = Some(pids(text)?);
            Ok(())
        }),
    ),
    Flag::value(
        Category::Limits,
        "session-cpu",
        "Most processors' time of a session together, such as 1.5; needs a delegated cgroup v2",
        Value::optional("N", |flags, text| {
            flags.options.cgroups.session.cpu = CpuLimit::of(processors(text)?);
            Ok(())
        }),
    ),
    Flag::value(
        Category::Limits,
        "cgroup",
        "Make the cgroups for limits in this one, a directory that the server may write; its own unless given",
        Value::optional("DIR", |flags, text| {
            flags.options.cgroups.base = Some(path(text)?);
            Ok(())
        }),
    ),
    Flag::switch(
        Category::Limits,
        None,
        "keep-daemons",
        "Let processes that have left their group (setsid) outlive their session and the server",
        FlagKind::Switch(|flags| flags.options.processes.keeps_daemons = true),
    ),
    PING_INTERVAL,
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
        "Output kept for each process, for clients that come back (suffixes k, m, g)",
        Value::new("BYTES", "1m", |flags, text| {
            flags.options.processes.retained_output = bytes(text)?;
            Ok(())
        }),
    ),
    Flag::value(
        Category::Limits,
        "retained-total",
        "Output kept for all processes together (suffixes k, m, g)",
        Value::new("BYTES", "64m", |flags, text| {
            flags.options.processes.retained_total = bytes(text)?;
            Ok(())
        }),
    ),
    Flag::value(
        Category::Limits,
        "drain-window",
        "How long output goes on after a process ended, when a descendant holds its pipes",
        Value::new("SECONDS", "2", |flags, text| {
            flags.options.processes.drain_window = seconds(text)?;
            Ok(())
        }),
    ),
    Flag::value(
        Category::General,
        "metrics",
        "Tell metrics in Prometheus's format: at /metrics where clients connect, to who shows the \
         same token or is the same user, or at an address of their own",
        Value {
            alone: Some(""),
            ..Value::optional("ADDRESS", |flags, text| {
                flags.options.metrics = Some(MetricsPlace::parse(text)?);
                Ok(())
            })
        },
    ),
    LOG_LEVEL,
    LOG_FORMAT,
    LOG_FILE,
    Flag::switch(
        Category::General,
        None,
        "log-argv",
        "Log the arguments of processes, too, each shortened: there may be secrets in them",
        FlagKind::Switch(|flags| flags.options.log_argv = true),
    ),
    Flag::help(),
    Flag::switch(
        Category::General,
        Some('V'),
        "version",
        "Print the version and exit",
        FlagKind::Version,
    ),
    Flag::switch(
        Category::General,
        None,
        "verbose",
        "With --version: also the commit, the target and what is inside",
        FlagKind::VersionDetails,
    ),
    CONFIG,
    ENABLE,
    DISABLE,
    STRICT_CONFIG,
    TRANSPARENT_TCP,
    UPSTREAM_PROXY,
    PRIVATE_IPS,
    AWS_SIGV4,
    AWS_PROFILE,
    AWS_REGION,
    AWS_SERVICE,
    ENABLE_NOISE,
    AGENT_IDENTITY,
    EXECUTOR_CREDENTIAL,
];

/// The command that offers a server elsewhere.
pub(super) static FORWARD: Command = Command {
    name: "forward",
    summary: "Register a server that listens elsewhere with a control plane",
    perform: |args| with_flags(&FORWARD_GRAMMAR, args, forward),
    describe: || FORWARD_GRAMMAR.describe(),
};

static FORWARD_GRAMMAR: Grammar<ServeFlags> = Grammar {
    about: "Registers an environment with a control plane, and connects each of its clients to an\n\
            exec-server that listens elsewhere.\n",
    usage: "exec-server forward [OPTIONS] --remote <URL> --environment-id <ID> --connect <URL>",
    flags: &[
        Flag::value(
            Category::Cloud,
            "connect",
            "The server that clients are connected to: ws://, wss:// or unix:///PATH; its token is in \
             the variable EXEC_SERVER_TOKEN",
            Value::optional("URL", |flags, text| {
                let target = Target::parse(text).map_err(|error| error.reason())?;
                flags.cloud.connect = Some(target);
                Ok(())
            }),
        ),
        REMOTE,
        ENVIRONMENT_ID,
        NAME,
        REMOTE_TRANSPORT,
        REGISTRATION_BEARER,
        ACCOUNT_TOKEN,
        ACCOUNT_ID,
        EXIT_ON_STDIN_CLOSE,
        RECONNECT_DELAY,
        PID_NAMESPACE,
        PING_INTERVAL,
        LOG_LEVEL,
        LOG_FORMAT,
        LOG_FILE,
        Flag::help(),
        CONFIG,
        ENABLE,
        DISABLE,
        STRICT_CONFIG,
        TRANSPARENT_TCP,
        UPSTREAM_PROXY,
        PRIVATE_IPS,
        AWS_SIGV4,
        AWS_PROFILE,
        AWS_REGION,
        AWS_SERVICE,
        ENABLE_NOISE,
        AGENT_IDENTITY,
        EXECUTOR_CREDENTIAL,
    ],
    candidates: Candidates::Unknown,
    operands: Operands::None,
    notes: "",
};

fn forward(mut flags: ServeFlags) -> Result<ExitCode, UsageError> {
    flags.options.manager = ServiceManager::find();
    let cloud = &flags.cloud;
    let missing = [
        ("--remote <URL>", cloud.remote.is_none()),
        ("--environment-id <ID>", cloud.environment_id.is_none()),
        ("--connect <URL>", cloud.connect.is_none()),
    ];
    let missing = missing.iter().find(|(_, is_missing)| *is_missing);
    let fault = match missing {
        Some((flag, _)) => Some(format!("'forward' needs '{flag}'")),
        None if cloud.transport == Some(Transport::Direct) => {
            Some("'forward' goes with '--remote-transport relay'".to_owned())
        }
        None => cloud.conflict(),
    };
    if let Some(fault) = fault {
        return Err(FORWARD_GRAMMAR.error(fault));
    }
    let offered = || {
        prepare(&flags)?;
        cloud::run(cloud, &flags.options).map_err(RunError::Offer)
    };
    Ok(match offered() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => told(&error),
    })
}

const NO_CONFIGURATION: &str = "no configuration or feature of Codex decides how this server works";
const NO_PROXY: &str = "there is no network proxy here, and a start that asks for one is refused";
const NO_SIGNATURE: &str = "requests are not signed here; leave it out, and register with \
                            --registration-bearer-stdin or a key in CODEX_API_KEY";

const FEATURE: Form = Form {
    name: "FEATURE",
    check: |text| {
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        match !text.is_empty() && text.bytes().all(is_name) {
            true => Ok(()),
            false => Err("expected the name of a feature".to_owned()),
        }
    },
};

const fn accepted(value: Option<Form>) -> Unused<ServeFlags> {
    Unused {
        value,
        note: Some(|flags, option, why| flags.unused.push((option, why))),
    }
}

const fn refused(value: Option<&'static str>) -> Unused<ServeFlags> {
    // Not read: the option is refused before.
    let value = match value {
        Some(name) => Some(Form {
            name,
            check: |_| Ok(()),
        }),
        None => None,
    };
    Unused { value, note: None }
}

fn host_and_port(text: &str) -> Result<(), String> {
    let (host, port) = text.rsplit_once(':').ok_or("missing port")?;
    parsed::<u16>(port)?;
    match host.is_empty() || host.contains(['/', '@', ' ']) {
        true => Err("expected HOST:PORT".to_owned()),
        false => Ok(()),
    }
}

fn pid_namespace(text: &str) -> Result<(), String> {
    match text {
        "isolate" => Ok(()),
        "inherit" => Err(
            "a command could then end this server and all processes of its user, and \
                          leave some of its own behind; only isolate is done here"
                .to_owned(),
        ),
        _ => Err("expected 'isolate' or 'inherit'".to_owned()),
    }
}

// What serving and forwarding share.

const REMOTE: Flag<ServeFlags> = Flag::value(
    Category::Cloud,
    "remote",
    "Instead of listening, register with the registry at this URL",
    Value::optional("URL", |flags, text| {
        flags.cloud.remote = Some(text.to_owned());
        Ok(())
    }),
);

const ENVIRONMENT_ID: Flag<ServeFlags> = Flag::value(
    Category::Cloud,
    "environment-id",
    "Register as this environment, with the key in CODEX_API_KEY or the login of CODEX_HOME",
    Value::optional("ID", |flags, text| {
        flags.cloud.environment_id = Some(text.to_owned());
        Ok(())
    }),
);

const NAME: Flag<ServeFlags> = Flag::value(
    Category::Cloud,
    "name",
    "What the executor is called; codex-exec-server unless given",
    Value::optional("NAME", |flags, text| {
        flags.cloud.name = Some(text.to_owned());
        Ok(())
    }),
);

const REMOTE_TRANSPORT: Flag<ServeFlags> = Flag::value(
    Category::Cloud,
    "remote-transport",
    "How clients come to the environment: relay (many over one websocket, unless given), or \
         direct (one at a time)",
    Value::optional("NAME", |flags: &mut ServeFlags, text| {
        flags.cloud.transport = Some(Transport::from_name(text)?);
        Ok(())
    }),
)
.completes(Candidates::Words(&["relay", "direct"]));

const REGISTRATION_BEARER: Flag<ServeFlags> = Flag::switch(
    Category::Cloud,
    None,
    "registration-bearer-stdin",
    "Register with the token on the first line of standard input",
    FlagKind::Switch(|flags| flags.cloud.bearer_on_stdin = true),
);

const ACCOUNT_TOKEN: Flag<ServeFlags> = Flag::switch(
    Category::Cloud,
    None,
    "chatgpt-token-stdin",
    "Register an environment with the account's access token on the first line of standard input",
    FlagKind::Switch(|flags| flags.cloud.account_token_on_stdin = true),
);

const ACCOUNT_ID: Flag<ServeFlags> = Flag::value(
    Category::Cloud,
    "chatgpt-account-id",
    "Whose that token is; must be the account that it names, if it names one",
    Value::optional("ID", |flags: &mut ServeFlags, text| {
        flags.cloud.account_id = Some(text.to_owned());
        Ok(())
    }),
);

const EXIT_ON_STDIN_CLOSE: Flag<ServeFlags> = Flag::switch(
    Category::Cloud,
    None,
    "exit-on-stdin-close",
    "End when standard input does",
    FlagKind::Switch(|flags| flags.cloud.exit_on_stdin_close = true),
);

const RECONNECT_DELAY: Flag<ServeFlags> = Flag::value(
    Category::Cloud,
    "reconnect-max-delay",
    "The longest wait before the next attempt to register or connect",
    Value::new("SECONDS", "30", |flags, text| {
        flags.cloud.reconnect_max_delay = seconds(text)?;
        Ok(())
    }),
);

const PID_NAMESPACE: Flag<ServeFlags> = Flag::value(
    Category::Access,
    "linux-sandbox-pid-namespace",
    "What a confined command sees of other processes: isolate, nothing. The reference's inherit is \
         refused",
    Value::optional("MODE", |_: &mut ServeFlags, text| pid_namespace(text)),
)
.completes(Candidates::Words(&["isolate"]));

const PING_INTERVAL: Flag<ServeFlags> = Flag::value(
    Category::Limits,
    "ping-interval",
    "Time between pings; a websocket client that is silent for three of them is gone",
    Value::new("SECONDS", "30", |flags, text| {
        flags.options.ping_interval = seconds(text)?;
        Ok(())
    }),
);

const LOG_LEVEL: Flag<ServeFlags> = Flag::value(
    Category::General,
    "log-level",
    "What to log: error, warn, info (processes, connections and sessions that come and go) or debug",
    Value {
        env: Some("EXEC_SERVER_LOG"),
        ..Value::new("LEVEL", "warn", |flags: &mut ServeFlags, text| {
            flags.log.level = parsed(text)?;
            Ok(())
        })
    },
).completes(Candidates::Words(&["error", "warn", "info", "debug"]));

const LOG_FORMAT: Flag<ServeFlags> = Flag::value(
    Category::General,
    "log-format",
    "How to write it: text, or json, one object a line",
    Value::new("FORMAT", "text", |flags: &mut ServeFlags, text| {
        flags.log.format = Format::from_name(text)?;
        Ok(())
    }),
)
.completes(Candidates::Words(&["text", "json"]));

const LOG_FILE: Flag<ServeFlags> = Flag::value(
    Category::General,
    "log",
    "Append it to this file, which is opened anew on SIGHUP; - is standard error, which is so \
         unless given",
    Value::optional("FILE", |flags, text| {
        flags.log.file = Some(path(text)?);
        Ok(())
    }),
);

const CONFIG: Flag<ServeFlags> = Flag::unused(
    "config",
    NO_CONFIGURATION,
    accepted(Some(Form {
        name: "KEY=VALUE",
        check: |_| Ok(()),
    })),
)
.short('c');

const ENABLE: Flag<ServeFlags> = Flag::unused("enable", NO_CONFIGURATION, accepted(Some(FEATURE)));

const DISABLE: Flag<ServeFlags> =
    Flag::unused("disable", NO_CONFIGURATION, accepted(Some(FEATURE)));

const STRICT_CONFIG: Flag<ServeFlags> =
    Flag::unused("strict-config", NO_CONFIGURATION, accepted(None));

const TRANSPARENT_TCP: Flag<ServeFlags> =
    Flag::unused("linux-sandbox-transparent-tcp", NO_PROXY, accepted(None));

const UPSTREAM_PROXY: Flag<ServeFlags> = Flag::unused(
    "tcp-upstream-proxy",
    NO_PROXY,
    accepted(Some(Form {
        name: "HOST:PORT",
        check: host_and_port,
    })),
);

const PRIVATE_IPS: Flag<ServeFlags> =
    Flag::unused("proxy-private-ips-via-upstream", NO_PROXY, accepted(None));

const AWS_SIGV4: Flag<ServeFlags> = Flag::unused("aws-sigv4", NO_SIGNATURE, refused(None));

const AWS_PROFILE: Flag<ServeFlags> =
    Flag::unused("aws-profile", NO_SIGNATURE, refused(Some("NAME")));

const AWS_REGION: Flag<ServeFlags> =
    Flag::unused("aws-region", NO_SIGNATURE, refused(Some("NAME")));

const AWS_SERVICE: Flag<ServeFlags> =
    Flag::unused("aws-service", NO_SIGNATURE, refused(Some("NAME")));

const ENABLE_NOISE: Flag<ServeFlags> = Flag::unused("enable-noise", cloud::NO_NOISE, refused(None));

const AGENT_IDENTITY: Flag<ServeFlags> = Flag::unused(
    "use-agent-identity-auth",
    "Agent Identity needs a service of its maker; register with a key in CODEX_API_KEY, a login in \
         CODEX_HOME, or --registration-bearer-stdin",
    refused(None),
);

const EXECUTOR_CREDENTIAL: Flag<ServeFlags> = Flag::unused(
    "executor-credential-stdin",
    "the form of credentials that change is not published; --registration-bearer-stdin takes one \
         token, and a login in CODEX_HOME is renewed by itself",
    refused(None),
);

#[cfg(test)]
mod tests;
