//! The other methods of processes.

use serde_json::{Value, json};

use super::super::case::{Case, Step, shell};

const READ: &str = "process/read";
const WRITE: &str = "process/write";
const SIGNAL: &str = "process/signal";
const TERMINATE: &str = "process/terminate";

const SLEEPS: &str = "echo ready; exec sleep 5";
const CATCHES: &str = "trap 'echo caught; exit 9' INT; echo ready; while :; do sleep 0.05; done";

/// A read of a process that is over.
fn read(name: &'static str, more: Value) -> Case {
    let mut params = json!({"processId": "p"});
    for (member, value) in more.as_object().into_iter().flatten() {
        params[member] = value.clone();
    }
    Case::new(
        READ,
        name,
        vec![
            shell("p", "echo out; sleep 0.1; exit 3", json!({})),
            Step::Closed("p"),
            Step::Ask(READ, params),
        ],
    )
}

fn write(process: &str, chunk: &str, id: &str) -> Step {
    Step::Ask(
        WRITE,
        json!({"processId": process, "chunk": chunk, "writeId": id}),
    )
}

fn interrupt() -> Step {
    Step::Ask(SIGNAL, json!({"processId": "p", "signal": "interrupt"}))
}

fn terminate() -> Step {
    Step::Ask(TERMINATE, json!({"processId": "p"}))
}

/// A step when the script has said that it is ready, and its end.
fn once_ready(
    method: &'static str,
    name: &'static str,
    (script, more): (&str, Value),
    step: Step,
) -> Case {
    let ready = Step::Output("p", "ready");
    let steps = vec![shell("p", script, more), ready, step, Step::Closed("p")];
    Case::new(method, name, steps)
}

fn after_the_end(method: &'static str, step: Step) -> Case {
    let start = shell("p", "exit 0", json!({}));
    Case::new(
        method,
        "after the end",
        vec![start, Step::Closed("p"), step],
    )
}

/// What is written to `cat`, and what it says of it.
fn cat(name: &'static str, more: Value, writes: Vec<Step>, said: &'static str) -> Case {
    let mut steps = vec![
        shell("p", "echo ready; cat", more),
        Step::Output("p", "ready"),
    ];
    steps.extend(writes);
    steps.extend([Step::Output("p", said), terminate(), Step::Closed("p")]);
    Case::new(WRITE, name, steps)
}

pub fn cases() -> Vec<Case> {
    let pipe = || json!({"pipeStdin": true});
    let tty = || json!({"tty": true});
    let sleeper = || shell("p", SLEEPS, json!({}));
    let on_p = || json!({"processId": "p"});
    vec![
        read("everything", json!({})),
        read("from the start", json!({"afterSeq": 0})),
        read("after the output", json!({"afterSeq": 1})),
        read("after the end", json!({"afterSeq": 99})),
        read("of one byte", json!({"maxBytes": 1})),
        read("of no bytes", json!({"maxBytes": 0})),
        read(
            "with a wait, after the end",
            json!({"afterSeq": 3, "waitMs": 2000}),
        ),
        read(
            "with null everywhere",
            json!({"afterSeq": null, "maxBytes": null, "waitMs": null}),
        ),
        read("with a bad number", json!({"afterSeq": -1})),
        read("with a bad wait", json!({"waitMs": 1.5})),
        read("with a text", json!({"maxBytes": "1"})),
        Case::ask(READ, "of nobody", json!({"processId": "nobody"})),
        Case::ask(READ, "without an id", json!({})),
        Case::new(
            READ,
            "that waits",
            vec![
                shell("p", "sleep 0.3; echo late; sleep 5", json!({})),
                Step::Ask(
                    READ,
                    json!({"processId": "p", "afterSeq": 0, "waitMs": 5000}),
                ),
                Step::Output("p", "late"),
            ],
        ),
        Case::new(
            READ,
            "that waits in vain",
            vec![
                sleeper(),
                Step::Output("p", "ready"),
                Step::Ask(
                    READ,
                    json!({"processId": "p", "afterSeq": 1, "waitMs": 100}),
                ),
            ],
        ),
        Case::new(
            READ,
            "of both streams",
            vec![
                shell(
                    "p",
                    "echo out; sleep 0.2; echo err >&2; sleep 0.2; echo out",
                    json!({}),
                ),
                Step::Closed("p"),
                Step::Ask(READ, on_p()),
            ],
        ),
        cat(
            "to a pipe",
            pipe(),
            vec![write("p", "aGVsbG8K", "1")],
            "hello",
        ),
        cat(
            "twice",
            pipe(),
            vec![write("p", "aGVsbG8K", "1"), write("p", "d29ybGQK", "2")],
            "world",
        ),
        cat(
            "with one id twice",
            pipe(),
            vec![
                write("p", "aGVsbG8K", "1"),
                write("p", "d29ybGQK", "1"),
                write("p", "ZW5kCg==", "2"),
            ],
            "end",
        ),
        cat(
            "nothing",
            pipe(),
            vec![write("p", "", "1"), write("p", "ZW5kCg==", "2")],
            "end",
        ),
        cat(
            "to a terminal",
            tty(),
            vec![write("p", "aGVsbG8K", "1")],
            "hello\r\nhello",
        ),
        once_ready(
            WRITE,
            "Ctrl-D",
            ("echo ready; cat; echo over", tty()),
            write("p", "BA==", "1"),
        ),
        once_ready(WRITE, "Ctrl-C", (CATCHES, tty()), write("p", "Aw==", "1")),
        Case::new(
            WRITE,
            "with no stdin",
            vec![
                sleeper(),
                Step::Output("p", "ready"),
                write("p", "aGVsbG8K", "1"),
            ],
        ),
        after_the_end(WRITE, write("p", "aGVsbG8K", "1")),
        Case::new(WRITE, "to nobody", vec![write("nobody", "aGVsbG8K", "1")]),
        cat(
            "without padding",
            pipe(),
            vec![write("p", "aGVsbG8", "1"), write("p", "ZW5kCg==", "2")],
            "end",
        ),
        cat(
            "no base64",
            pipe(),
            vec![write("p", "a\nb=", "1"), write("p", "ZW5kCg==", "2")],
            "end",
        ),
        cat(
            "an empty id",
            pipe(),
            vec![write("p", "aGVsbG8K", ""), write("p", "ZW5kCg==", "2")],
            "end",
        ),
        Case::ask(
            WRITE,
            "without a chunk",
            json!({"processId": "p", "writeId": "1"}),
        ),
        Case::new(
            WRITE,
            "without an id",
            vec![
                shell("p", "sleep 5", pipe()),
                Step::Ask(WRITE, json!({"processId": "p", "chunk": ""})),
            ],
        ),
        once_ready(SIGNAL, "to a process", (SLEEPS, json!({})), interrupt()),
        once_ready(
            SIGNAL,
            "to its whole group",
            ("echo ready; sleep 5; echo over", json!({})),
            interrupt(),
        ),
        once_ready(SIGNAL, "on a terminal", (CATCHES, tty()), interrupt()),
        Case::ask(
            SIGNAL,
            "to nobody",
            json!({"processId": "nobody", "signal": "interrupt"}),
        ),
        Case::ask(
            SIGNAL,
            "that is none",
            json!({"processId": "nobody", "signal": "hello"}),
        ),
        Case::ask(SIGNAL, "left out", json!({"processId": "nobody"})),
        after_the_end(SIGNAL, interrupt()),
        once_ready(TERMINATE, "a process", (SLEEPS, json!({})), terminate()),
        once_ready(
            TERMINATE,
            "one on a terminal",
            ("echo ready; sleep 5", tty()),
            terminate(),
        ),
        Case::new(
            TERMINATE,
            "a group",
            vec![
                shell("p", "sleep 5 & echo ready; wait", json!({})),
                Step::Output("p", "ready"),
                terminate(),
                Step::Closed("p"),
                Step::Ask(READ, on_p()),
            ],
        ),
        after_the_end(TERMINATE, terminate()),
        Case::ask(TERMINATE, "nobody", json!({"processId": "nobody"})),
        Case::ask(TERMINATE, "without an id", json!({})),
    ]
}
