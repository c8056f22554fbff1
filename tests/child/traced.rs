//! A program that makes its parent its tracer, who knows nothing of that.

use std::os::unix::process::parent_id;
use std::time::Duration;

use crate::kernel::call;
use crate::say;

/// Between looks for another parent.
const OFTEN: Duration = Duration::from_millis(2);

/// Makes its parent its tracer, says its number, and sends itself a signal, of which a tracer is told first. Says so when
/// it goes on, and stays. Before all that it waits until its parent is `parent`.
pub fn traced(signal: &str, parent: Option<u32>) -> ! {
    while parent.is_some_and(|parent| parent != parent_id()) {
        std::thread::sleep(OFTEN);
    }
    let number = match signal {
        "STOP" => libc::SIGSTOP,
        "WINCH" => libc::SIGWINCH,
        other => panic!("nothing is known of {other}"),
    };
    call(libc::SYS_ptrace, &[libc::PTRACE_TRACEME as usize]).unwrap();
    let pid = std::process::id();
    say(&pid.to_string());
    call(libc::SYS_kill, &[pid as usize, number as usize]).unwrap();
    say("went on");
    crate::sleep()
}
