//! The `exec-server` program: what a person or a client starts.

use std::process::ExitCode;

fn main() -> ExitCode {
    exec_server::cli::run(std::env::args_os())
}
