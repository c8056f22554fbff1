//! A program with the library in it: a client to be killed, which runs a command as its server, a program there, and
//! says its pid; or a program that confines another here.

use std::process::ExitCode;
use std::time::Duration;

use exec_server::env;
use exec_server::env::local::take_over;
use exec_server::rpc::client::{
    ClientOptions, Command, ExecServerClient, ProcessEvent, StdioCommand, Transport,
};
use exec_server::serve::local_environment;

/// `client PROGRAM ARG… -- CHILD`, or `client --confine POLICY PROGRAM ARG…`
fn main() -> ExitCode {
    if let Some(code) = take_over(std::env::args_os().nth(1).as_deref()) {
        return ExitCode::from(code);
    }
    let mut arguments = std::env::args().skip(1).peekable();
    if arguments.next_if_eq("--confine").is_some() {
        return confine(arguments.next(), arguments.collect());
    }
    let program = arguments.next().unwrap_or_default();
    let args = arguments.by_ref().take_while(|it| it != "--").collect();
    let client = ExecServerClient::new(ClientOptions::new(Transport::Command(StdioCommand {
        program,
        args,
        ..StdioCommand::default()
    })));
    let command = Command {
        argv: arguments.chain(["pid-then-sleep".to_owned()]).collect(),
        cwd: Some("/".to_owned()),
        ..Command::default()
    };
    let process = match client.start(&command) {
        Ok(process) => process,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    loop {
        match process.next_event(Duration::from_secs(3600)) {
            Ok(Some(ProcessEvent::Output { data, .. })) => {
                print!("{}", String::from_utf8_lossy(&data));
            }
            Ok(Some(ProcessEvent::Closed)) | Err(_) => return ExitCode::SUCCESS,
            Ok(_) => {}
        }
    }
}

/// Runs a program on this machine under a policy, and ends as it does.
fn confine(sandbox: Option<String>, argv: Vec<String>) -> ExitCode {
    let command = Command {
        argv,
        sandbox,
        ..Command::default()
    };
    let environment = local_environment();
    let process = match environment.start(&command) {
        Ok(process) => process,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(255);
        }
    };
    let mut code = ExitCode::FAILURE;
    loop {
        match process.next_event(Duration::from_secs(60)) {
            Ok(Some(env::ProcessEvent::Exited(exit))) => code = ExitCode::from(exit.code as u8),
            Ok(Some(env::ProcessEvent::Output { data, .. })) => {
                eprint!("{}", String::from_utf8_lossy(&data));
            }
            Ok(Some(env::ProcessEvent::Gap { .. })) => {}
            Ok(Some(env::ProcessEvent::Closed) | None) | Err(_) => return code,
        }
    }
}
