//! A client to be killed: runs a command as its server, a program there, and says its pid.

use std::process::ExitCode;
use std::time::Duration;

use exec_server::rpc::client::types::{Command, ProcessEvent};
use exec_server::rpc::client::{ClientOptions, ExecServerClient, StdioCommand, Transport};

/// `client PROGRAM ARG… -- CHILD`
fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
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
