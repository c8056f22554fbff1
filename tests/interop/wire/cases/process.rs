//! The other methods of processes.

use serde_json::{Value, json};

use super::super::case::{Case, Step, shell};

const READ: &str = "process/read";
const WRITE: &str = "process/write";
const SIGNAL: &str = "process/signal";
const TERMINATE: &str = "process/terminate";

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

/// What is written to `cat`, and what it says of it.
fn cat(name: &'static str, more: Value, writes: Vec<Step>, said: &'static str) -> Case {
    let mut steps = vec![
        shell("p", "echo ready; cat", more),
        Step::Output("p", "ready"),
    ];
    steps.extend(writes);
    steps.extend([
        Step::Output("p", said),
        Step::Ask(TERMINATE, json!({"processId": "p"})),
        Step::Closed("p"),
    ]);
    Case::new(WRITE, name, steps)
}

pub fn cases() -> Vec<Case> {
    let pipe = || json!({"pipeStdin": true});
    let tty = || json!({"tty": true});
    let sleeper = || shell("p", "echo ready; exec sleep 5", json!({}));
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
        Case::new(
            WRITE,
            "Ctrl-D",
            vec![
                shell("p", "echo ready; cat; echo over", tty()),
                Step::Output("p", "ready"),
                write("p", "BA==", "1"),
                Step::Closed("p"),
            ],
        ),
        Case::new(
            WRITE,
            "Ctrl-C",
            vec![
                shell(
                    "p",
                    "trap 'echo caught; exit 9' INT; echo ready; while :; do sleep 0.05; done",
                    tty(),
                ),
                Step::Output("p", "ready"),
                write("p", "Aw==", "1"),
                Step::Closed("p"),
            ],
        ),
        Case::new(
            WRITE,
            "with no stdin",
            vec![
                sleeper(),
                Step::Output("p", "ready"),
                write("p", "aGVsbG8K", "1"),
            ],
        ),
        Case::new(
            WRITE,
            "after the end",
            vec![
                shell("p", "exit 0", json!({})),
                Step::Closed("p"),
                write("p", "aGVsbG8K", "1"),
            ],
        ),
        Case::new(WRITE, "to nobody", vec![write("nobody", "aGVsbG8K", "1")]),
        Case::new(
            WRITE,
            "without padding",
            vec![shell("p", "cat", pipe()), write("p", "aGVsbG8", "1")],
        ),
        Case::new(
            WRITE,
            "no base64",
            vec![shell("p", "cat", pipe()), write("p", "a\nb=", "1")],
        ),
        Case::new(
            WRITE,
            "an empty id",
            vec![shell("p", "cat", pipe()), write("p", "aGVsbG8K", "")],
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
        Case::new(
            SIGNAL,
            "to a process",
            vec![
                sleeper(),
                Step::Output("p", "ready"),
                Step::Ask(SIGNAL, json!({"processId": "p", "signal": "interrupt"})),
                Step::Closed("p"),
            ],
        ),
        Case::new(
            SIGNAL,
            "to its whole group",
            vec![
                shell("p", "echo ready; sleep 5; echo over", json!({})),
                Step::Output("p", "ready"),
                Step::Ask(SIGNAL, json!({"processId": "p", "signal": "interrupt"})),
                Step::Closed("p"),
            ],
        ),
        Case::new(
            SIGNAL,
            "on a terminal",
            vec![
                shell(
                    "p",
                    "trap 'echo caught; exit 9' INT; echo ready; while :; do sleep 0.05; done",
                    tty(),
                ),
                Step::Output("p", "ready"),
                Step::Ask(SIGNAL, json!({"processId": "p", "signal": "interrupt"})),
                Step::Closed("p"),
            ],
        ),
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
        Case::new(
            SIGNAL,
            "after the end",
            vec![
                shell("p", "exit 0", json!({})),
                Step::Closed("p"),
                Step::Ask(SIGNAL, json!({"processId": "p", "signal": "interrupt"})),
            ],
        ),
        Case::new(
            TERMINATE,
            "a process",
            vec![
                sleeper(),
                Step::Output("p", "ready"),
                Step::Ask(TERMINATE, on_p()),
                Step::Closed("p"),
            ],
        ),
        Case::new(
            TERMINATE,
            "one on a terminal",
            vec![
                shell("p", "echo ready; sleep 5", tty()),
                Step::Output("p", "ready"),
                Step::Ask(TERMINATE, on_p()),
                Step::Closed("p"),
            ],
        ),
        Case::new(
            TERMINATE,
            "a group",
            vec![
                shell("p", "sleep 5 & echo ready; wait", json!({})),
                Step::Output("p", "ready"),
                Step::Ask(TERMINATE, on_p()),
                Step::Closed("p"),
                Step::Ask(READ, on_p()),
            ],
        ),
        Case::new(
            TERMINATE,
            "after the end",
            vec![
                shell("p", "exit 0", json!({})),
                Step::Closed("p"),
                Step::Ask(TERMINATE, on_p()),
            ],
        ),
        Case::ask(TERMINATE, "nobody", json!({"processId": "nobody"})),
        Case::ask(TERMINATE, "without an id", json!({})),
    ]
}
