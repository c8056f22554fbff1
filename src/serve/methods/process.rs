//! The `process/*` methods.

use std::sync::Arc;
use std::time::Duration;

use crate::env::local::variables::{add_shell, child_environment, server_environment};
use crate::env::local::{
    self, CgroupLimits, CpuLimit, MOST_PIDS, Process, ProcessSpec, ReadQuery, ReadView, Started,
    Subscriber, refusal,
};
use crate::memory::{self, Kind, Reserved, UNCOUNTED};
use crate::rpc::base64;
use crate::rpc::bounded::MAX_TEXT_BYTES;
use crate::rpc::encode::{json, number};
use crate::rpc::error::{ErrorKind, Reason, RpcError, quoted};
use crate::rpc::methods::process::{
    Acknowledge, AcknowledgeParams, CloseStdin, CloseStdinParams, EnvPolicy, Inherit, List,
    ListReply, ListedProcess, ReadParams, Resize, ResizeParams, Rlimit, Signal, SignalParams,
    Start, StartParams, StartReply, Terminate, TerminateParams, TerminateReply, Write, WriteParams,
    WriteReply, WriteStatus,
};
use crate::rpc::methods::{Empty, NoParams};
use crate::rpc::path_uri::WirePath;
use crate::sandbox::helper_form::{HelperForm, is_helper};
use crate::sandbox::launcher::{Confinement, LauncherKind, Level};
use crate::sandbox::policy::Network;
use crate::serve::metrics::{Flow, METRICS};
use crate::serve::notify::write_exit_extensions;
use crate::serve::process_log::ProcessLog;
use crate::serve::services::Call;
use crate::sys::limits::{Limit, Resource};
use crate::sys::pty::WindowSize;

/// A terminal's size unless the client says otherwise, as in the reference.
const DEFAULT_SIZE: WindowSize = WindowSize { rows: 24, cols: 80 };

/// The longest name of a process, in bytes: every event carries it.
const LONGEST_ID: usize = 4096;

/// `process/start`.
pub(crate) fn start(call: &Call<'_>, params: StartParams<'_>) -> Result<(), RpcError> {
    let responder = call.responder();
    let id = params.process_id.clone().into_owned();
    let acknowledges = params.acknowledges;
    let prepare = |process: &Arc<Process>| {
        if acknowledges {
            process.acknowledge(0);
        }
        Ok(())
    };
    begin(call, params, None, prepare, move |outcome| {
        let reply = outcome.map(|level| StartReply {
            process_id: id.into(),
            sandbox_type: Some(sandbox_type(level.as_ref()).into()),
            sandbox_level: level.as_ref().map(Level::json),
        });
        responder.send::<Start>(reply);
    })
}

/// Starts a process, whose events are for its session's connection, or for `audience` alone. It is
/// prepared before it starts; `told` gets the confinement in force, or why it does not run.
pub(super) fn begin(
    call: &Call<'_>,
    params: StartParams<'_>,
    audience: Option<Arc<dyn Subscriber>>,
    prepare: impl FnOnce(&Arc<Process>) -> Result<(), RpcError>,
    told: impl FnOnce(Result<Option<Level>, RpcError>) + Send + 'static,
) -> Result<(), RpcError> {
    refuse_confinement(&params)?;
    if call.services.is_draining() {
        let message = "the server is shutting down";
        return Err(RpcError::new(ErrorKind::Busy, message));
    }
    let spec = specify(call, params)?;
    let room = room_to_start(&spec)?;
    let connection = call.connection_state.connection;
    let audience = audience.map(|audience| (connection, audience));
    let process = call.session.add(&call.services.host, &spec, audience)?;
    if let Err(error) = prepare(&process) {
        call.session.remove(&process);
        return Err(error);
    }
    let session = Arc::clone(call.session);
    let started = Arc::clone(&process);
    let is_online = |confinement: &Confinement| confinement.policy.network() == Network::Enabled;
    let way_out = match spec.confinement.as_ref().is_some_and(is_online) {
        true => call.services.unprotected_url.get().map(|url| way_out(url)),
        false => None,
    };
    let mut log = ProcessLog::new(call, &spec);
    let observer = Box::new(move |milestone: &_| log.note(milestone));
    process.start(spec, observer, move |outcome| {
        match outcome {
            Ok(Started { mut level }) => {
                if let Some(level) = &mut level
                    && level.launcher != LauncherKind::None
                {
                    level.weaker.extend(way_out);
                }
                told(Ok(level));
            }
            Err(error) => {
                session.remove(&started);
                told(Err(RpcError::from(&error)));
            }
        }
        drop(room);
    });
    Ok(())
}

/// Texts of a start of at most so many bytes need no room in the server's memory.
const FEW_TEXTS: usize = 16 * 1024;
/// How often a start has its texts at most: as they were sent, for the kernel, and twice on their
/// way into a sandbox.
const COPIES: usize = 4;

/// Room for the texts of a process until it has started.
fn room_to_start(spec: &ProcessSpec) -> Result<Reserved, RpcError> {
    let arguments = spec.argv.iter().map(String::len);
    let variables = spec
        .env
        .iter()
        .map(|(name, value)| name.len() + value.len());
    let bytes: usize = arguments
        .chain(variables)
        .map(|len| len + size_of::<String>())
        .sum();
    let mut room = Reserved::none(Kind::Requests);
    if bytes > FEW_TEXTS && !room.set(COPIES * bytes) {
        let message = "too many processes with long arguments or variables are being started; \
                       try again later";
        return Err(RpcError::new(ErrorKind::Busy, message));
    }
    Ok(room)
}

const NOT_STARTED: &str = "the process was not started";

/// Without a sandbox to put it in, a process that must be confined does not run.
fn refuse_confinement(params: &StartParams<'_>) -> Result<(), RpcError> {
    let refused = |what| Err(not_enforced(what, NOT_STARTED));
    if params.enforce_managed_network {
        return refused("enforceManagedNetwork");
    }
    let network = [
        ("managedNetwork", params.managed_network),
        ("networkProxy", params.network_proxy),
        ("credentialProviders", params.credential_providers),
    ];
    match network.into_iter().find(|(_, value)| value.is_some()) {
        Some((name, _)) => refused(name),
        None => Ok(()),
    }
}

fn specify(call: &Call<'_>, params: StartParams<'_>) -> Result<ProcessSpec, RpcError> {
    if params.process_id.len() > LONGEST_ID {
        return Err(RpcError::invalid_params(format!(
            "processId must not be longer than {LONGEST_ID} bytes"
        )));
    }
    if params
        .arg0
        .as_ref()
        .is_some_and(|arg0| arg0.len() > MAX_TEXT_BYTES)
    {
        return Err(RpcError::invalid_params(format!(
            "arg0 must not be longer than {MAX_TEXT_BYTES} bytes"
        )));
    }
    if params.argv.is_empty() {
        return Err(RpcError::invalid_params("argv must not be empty"));
    }
    let machine = call.services.machine.base();
    let Some(cwd) = params.cwd.as_deref().or(machine.cwd.as_deref()) else {
        let message = "cwd is left out, and the directory that the server was started in is gone";
        return Err(RpcError::failed(message).because(Reason::BadCwd));
    };
    let cwd =
        WirePath::parse(cwd).map_err(|error| RpcError::invalid_params(error.cwd_message()))?;
    let cgroup_limits = cgroup_limits(&params)?;
    let (mut argv, mut arg0, mut directory) = (params.argv, params.arg0, cwd.path.clone());
    let confinement = match params.sandbox {
        Some(sandbox) => Some(local::confinement(sandbox.get(), &cwd)?),
        // A client of the older generation puts its own sandbox in front.
        None if is_helper(&argv[0], arg0.as_deref()) => {
            let form = HelperForm::parse(&argv[1..])?;
            let confinement = local::helper_confinement(&form)?;
            arg0 = None;
            argv = form.command;
            directory = form.command_cwd;
            Some(confinement)
        }
        None => None,
    };
    let limits = params.rlimits.iter();
    let limits = limits.map(|(name, limit)| limit_of(name, *limit));
    let limits = limits.collect::<Result<_, _>>()?;
    // An `env` alone is all that the process gets.
    let default_policy = params.env.is_none().then(EnvPolicy::default);
    let mut policy = params.env_policy.or(default_policy);
    // What a program may not read in a file is not to be had from a variable, unless it is asked for.
    let confines_files = |it: &Confinement| !it.policy.has_full_write();
    if let Some(policy) = &mut policy
        && confinement.as_ref().is_some_and(confines_files)
    {
        policy.inherit.get_or_insert(Inherit::Core);
    }
    let env = params.env.unwrap_or_default();
    // Looked at only where a policy lets something of it through.
    let server = std::iter::once_with(server_environment).flatten();
    let mut env = child_environment(server, policy.as_ref(), &env, &directory)
        .map_err(|error| RpcError::invalid_params(error.to_string()))?;
    if params.tty {
        add_shell(&mut env, &machine.shell.path);
    }
    let terminal = params.tty.then(|| {
        params.size.map_or(DEFAULT_SIZE, |size| WindowSize {
            rows: size.rows,
            cols: size.cols,
        })
    });
    Ok(ProcessSpec {
        id: params.process_id.into_owned(),
        argv,
        is_own_program: false,
        arg0,
        cwd: directory,
        env,
        terminal,
        socket: None,
        pipe_stdin: params.pipe_stdin,
        timeout: params.timeout_ms.map(Duration::from_millis),
        limits,
        cgroup_limits,
        confinement,
    })
}

fn cgroup_limits(params: &StartParams<'_>) -> Result<CgroupLimits, RpcError> {
    let memory = match params.memory_max {
        Some(0) => return Err(RpcError::invalid_params("memoryMax must not be 0")),
        memory => memory,
    };
    let pids = match params.pids_max {
        Some(count) if !(1..=MOST_PIDS).contains(&count) => {
            let message = format!("pidsMax must be from 1 to {MOST_PIDS}");
            return Err(RpcError::invalid_params(message));
        }
        pids => pids,
    };
    let cpu = params.cpu_max.map(|processors| {
        CpuLimit::of(processors).ok_or_else(|| {
            RpcError::invalid_params("cpuMax must be a number of processors from 0.01 to 10000")
        })
    });
    Ok(CgroupLimits {
        memory,
        pids,
        cpu: cpu.transpose()?,
    })
}

fn limit_of(name: &str, limit: Rlimit) -> Result<Limit, RpcError> {
    let Some(resource) = Resource::from_name(name) else {
        let names = Resource::NAMES;
        return Err(RpcError::invalid_params(match name {
            "locks" => format!(
                "the resource limit `locks` is what the server knows a process's descendants by, \
                 so it cannot be set; expected one of {names}"
            ),
            _ => format!(
                "unknown resource limit `{}`, expected one of {names}",
                quoted(name)
            ),
        }));
    };
    let (soft, hard) = match limit {
        Rlimit::Both(both) => (both, both),
        Rlimit::Each { soft, hard } => (soft, hard),
    };
    if soft > hard {
        return Err(RpcError::invalid_params(format!(
            "the soft resource limit `{name}` must not be above the hard one"
        )));
    }
    Ok(Limit {
        resource,
        soft,
        hard,
    })
}

/// Bytes of output that a read is answered with at most where memory is scarce.
const SCARCE_READ: u64 = 64 * 1024;

/// `process/read`.
pub(crate) fn read(call: &Call<'_>, params: ReadParams<'_>) -> Result<(), RpcError> {
    let process = find_with_output(call, &params.process_id)?;
    let query = ReadQuery {
        after: params.after_seq.unwrap_or(0),
        max_bytes: match memory::is_scarce() {
            // The client asks for the rest when it has this.
            true => Some(
                params
                    .max_bytes
                    .map_or(SCARCE_READ, |most| most.min(SCARCE_READ)),
            ),
            false => params.max_bytes,
        },
        wait: Duration::from_millis(params.wait_ms.unwrap_or(0)),
    };
    let responder = call.responder();
    let id = params.process_id.clone().into_owned();
    let reply = move |view: Option<&ReadView<'_>>| match view {
        Some(view) => responder.write(|out| write_view(out, view)),
        None => responder.fail(&unknown_process(&id)),
    };
    if process.read(query, Box::new(reply)) {
        return Ok(());
    }
    Err(RpcError::new(
        ErrorKind::Busy,
        "too many reads wait on this process already",
    ))
}

fn write_view(out: &mut Vec<u8>, view: &ReadView<'_>) {
    out.extend_from_slice(b"{\"chunks\":[");
    for (index, chunk) in view.chunks().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(b"{\"seq\":");
        number(out, chunk.seq as i64);
        out.extend_from_slice(b",\"stream\":\"");
        out.extend_from_slice(chunk.stream.name().as_bytes());
        out.extend_from_slice(b"\",\"chunk\":\"");
        base64::encode_into(&chunk.bytes, out);
        out.extend_from_slice(b"\"}");
        METRICS.flowed(Flow::Output, chunk.bytes.len());
    }
    let exit = view.exit();
    out.extend_from_slice(b"],\"nextSeq\":");
    number(out, view.next_seq() as i64);
    out.extend_from_slice(b",\"exited\":");
    json(out, &exit.is_some());
    out.extend_from_slice(b",\"exitCode\":");
    json(out, &exit.map(|exit| exit.code));
    out.extend_from_slice(b",\"closed\":");
    json(out, &view.is_closed());
    out.extend_from_slice(b",\"failure\":null,\"sandboxDenied\":");
    json(out, &exit.is_some_and(|exit| exit.sandbox_denied));
    out.extend_from_slice(b",\"firstRetainedSeq\":");
    number(out, view.first_retained_seq() as i64);
    if let Some(exit) = exit {
        write_exit_extensions(out, &exit, view.denial());
    }
    out.push(b'}');
}

/// `process/write`.
pub(crate) fn write(call: &Call<'_>, params: WriteParams<'_>) -> Result<(), RpcError> {
    let id = params.write_id.as_deref();
    if id == Some("") {
        return Err(RpcError::invalid_params("writeId must not be empty"));
    }
    let data = base64::decode(&params.chunk)
        .map_err(|error| RpcError::invalid_params(error.to_string()))?;
    let Some(process) = call.session.process(&params.process_id) else {
        call.answer::<Write>(&WriteReply {
            status: WriteStatus::UnknownProcess,
        });
        return Ok(());
    };
    METRICS.flowed(Flow::Input, data.len());
    let responder = call.responder();
    process.write(
        id,
        data,
        Box::new(move |outcome| match outcome {
            Ok(status) => responder.answer::<Write>(&WriteReply { status }),
            Err(error) => responder.fail(&error.into()),
        }),
    );
    Ok(())
}

/// `process/acknowledge`.
pub(crate) fn acknowledge(call: &Call<'_>, params: AcknowledgeParams<'_>) -> Result<(), RpcError> {
    find_with_output(call, &params.process_id)?.acknowledge(params.seq);
    call.answer::<Acknowledge>(&Empty {});
    Ok(())
}

/// `process/closeStdin`.
pub(crate) fn close_stdin(call: &Call<'_>, params: CloseStdinParams<'_>) -> Result<(), RpcError> {
    let process = call.session.process(&params.process_id);
    let status = process.map_or(WriteStatus::UnknownProcess, |process| process.close_stdin());
    call.answer::<CloseStdin>(&WriteReply { status });
    Ok(())
}

/// `process/signal`. As in the reference, no process is no error.
pub(crate) fn signal(call: &Call<'_>, params: SignalParams<'_>) -> Result<(), RpcError> {
    let signal = refusal::signal_named(&params.signal)?;
    let Some(process) = call.session.process(&params.process_id) else {
        call.answer::<Signal>(&Empty {});
        return Ok(());
    };
    let mut outcome = Ok(());
    process.signal(signal, |sent| match sent {
        Ok(()) => call.answer::<Signal>(&Empty {}),
        Err(error) => {
            outcome = Err(refusal::cannot_signal(signal, &error));
        }
    });
    outcome
}

/// `process/terminate`.
pub(crate) fn terminate(call: &Call<'_>, params: TerminateParams<'_>) -> Result<(), RpcError> {
    let answer = |running| call.answer::<Terminate>(&TerminateReply { running });
    match call.session.process(&params.process_id) {
        Some(process) => process.terminate(params.grace_ms.map(Duration::from_millis), answer),
        None => answer(false),
    }
    Ok(())
}

/// `process/resize`.
pub(crate) fn resize(call: &Call<'_>, params: ResizeParams<'_>) -> Result<(), RpcError> {
    let process = find(call, &params.process_id)?;
    let size = WindowSize {
        rows: params.rows,
        cols: params.cols,
    };
    process
        .resize(size)
        .map_err(|error| refusal::cannot_resize(process.id(), &error))?;
    call.answer::<Resize>(&Empty {});
    Ok(())
}

/// Bytes of JSON that a byte of text becomes at most.
const ESCAPE: usize = 6;

/// `process/list`.
pub(crate) fn list(call: &Call<'_>, _: NoParams) -> Result<(), RpcError> {
    let listed = |process: &Arc<Process>| {
        let summary = process.summary();
        ListedProcess {
            process_id: process.id().to_owned(),
            pid: summary.pid,
            tty: summary.has_terminal,
            exited: summary.exit.is_some(),
            exit_code: summary.exit.map(|exit| exit.code),
            closed: summary.is_closed,
            next_seq: summary.next_seq,
            first_retained_seq: summary.first_retained_seq,
        }
    };
    let processes = call.session.processes();
    let bytes = processes
        .iter()
        .map(|process| process.id().len())
        .sum::<usize>();
    let _room = match bytes > UNCOUNTED / ESCAPE {
        // A control character becomes six of JSON; and the names are held here, too.
        true => Reserved::of(Kind::Answers, (ESCAPE + 1) * bytes).ok_or_else(|| {
            let message = "the names of these processes need more memory than is free for answers; \
                           try again later";
            RpcError::new(ErrorKind::Busy, message)
        })?,
        false => Reserved::none(Kind::Answers),
    };
    let processes = processes.iter().map(listed).collect();
    call.answer::<List>(&ListReply { processes });
    Ok(())
}

fn find(call: &Call<'_>, id: &str) -> Result<Arc<Process>, RpcError> {
    let process = call.session.process(id);
    process.ok_or_else(|| unknown_process(id).or_forgotten(call.session.why_forgotten(id)))
}

/// One whose output can be asked for.
fn find_with_output(call: &Call<'_>, id: &str) -> Result<Arc<Process>, RpcError> {
    let process = find(call, id)?;
    if process.has_audience_of_its_own() {
        return Err(RpcError::invalid_request(format!(
            "process {id} was started by process/run, whose answer has its output"
        )));
    }
    Ok(process)
}

fn unknown_process(id: &str) -> RpcError {
    RpcError::invalid_request(if id.len() > LONGEST_ID {
        format!("unknown process id of {} bytes", id.len())
    } else {
        format!("unknown process id {id}")
    })
    .because(Reason::NotFound)
}

/// What the reference would call a confinement.
pub(super) fn sandbox_type(level: Option<&Level>) -> &'static str {
    level.map_or("none", Level::sandbox_type)
}

/// What is weaker where a confined program has a network, and the server listens to anybody there.
fn way_out(url: &str) -> String {
    format!(
        "the network is on, and this server asks for no token at {url}: a program inside can have it start one \
         without a sandbox; use --ws-auth, or listen on a Unix socket"
    )
}

/// The error of a request that asks for a confinement by the member `what`.
fn not_enforced(what: &str, outcome: &str) -> RpcError {
    RpcError::invalid_request(format!(
        "this exec-server cannot enforce `{what}` yet, so {outcome}; \
         it runs without `{what}` only"
    ))
}
