//! Sessions at random, held against a small model: what a process has been told, and what it must have said.
//!
//! A client starts processes, writes to them, reads again, loses its connection and resumes. Each process is a `cat`, so
//! that the model is short: all that was written comes back, once and in order, however often the connection is lost;
//! then come `exited` and `closed`. A round that fails is tried again with fewer steps, as long as it still fails.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde_json::json;

use crate::chaos::Dice;
use crate::{Client, PATIENCE, Server, Start, decode, encode, params, pattern, within};

/// What a client does next; numbers choose among the processes that there are.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Starts a process.
    Start,
    /// Writes so many bytes, and waits for the answer.
    Write(u64, usize),
    /// Writes without waiting: the answer may be lost with the connection.
    WriteUnanswered(u64, usize),
    /// Writes again what was written last, by the same name.
    WriteAgain(u64),
    /// Reads again from somewhere.
    Read(u64, u64),
    /// Waits until the process has said all that it must.
    Settle(u64),
    /// Says that there is no more input.
    CloseStdin(u64),
    /// Kills the process.
    Terminate(u64),
    /// Loses the connection, and resumes.
    Reconnect,
    /// Another client asks for the session, and for its processes.
    Intrude,
}

fn steps(seed: u64) -> Vec<Step> {
    let mut dice = Dice::new(seed);
    let count = dice.within(5..40);
    let one = |dice: &mut Dice| {
        let who = dice.roll();
        match dice.within(0..20) {
            0..3 => Step::Start,
            3..6 => Step::Write(who, dice.magnitude(0..14) as usize),
            6..9 => Step::WriteUnanswered(who, dice.magnitude(0..14) as usize),
            9 => Step::WriteAgain(who),
            10..12 => Step::Read(who, dice.roll()),
            12..14 => Step::Settle(who),
            14 => Step::CloseStdin(who),
            15 => Step::Terminate(who),
            16..19 => Step::Reconnect,
            _ => Step::Intrude,
        }
    };
    (0..count).map(|_| one(&mut dice)).collect()
}

/// What the model knows of a process.
#[derive(Default)]
struct Process {
    /// How much of the pattern it was given, in writes that are known to have arrived.
    given: usize,
    /// The last write, which may be in doubt: its name, where it begins, and its length.
    last: Option<(String, usize, usize)>,
    is_in_doubt: bool,
    writes: usize,
    has_no_more_input: bool,
    is_killed: bool,
    /// `closed` has been seen, by a notification or a read.
    is_closed: bool,
    /// All that it has said, and the number of the last notification.
    said: Vec<u8>,
    last_seq: u64,
    /// Output by its number, as it was seen first.
    chunks: BTreeMap<u64, Vec<u8>>,
}

/// What a round was made of.
#[derive(Clone, Copy, Default)]
pub struct Played {
    pub processes: usize,
    pub cuts: usize,
}

/// One client of a server, its session, and the model of it.
struct Round<'a> {
    server: &'a Server,
    client: Client,
    session: String,
    processes: Vec<(String, Process)>,
    cuts: usize,
}

/// Plays the round of a seed. The error is what went wrong, with the fewest steps found that lead there.
pub fn play(server: &Server, seed: u64) -> Result<Played, String> {
    let mut steps = steps(seed);
    let mut why = match try_steps(server, &steps) {
        Ok(played) => return Ok(played),
        Err(why) => why,
    };
    let mut size = steps.len() / 2;
    while size > 0 {
        let mut start = 0;
        while start < steps.len() {
            let mut fewer = steps.clone();
            fewer.drain(start..(start + size).min(steps.len()));
            match try_steps(server, &fewer) {
                Err(again) => (steps, why) = (fewer, again),
                Ok(_) => start += size,
            }
        }
        size /= 2;
    }
    Err(format!("seed {seed}: {why}\nafter {steps:?}"))
}

fn try_steps(server: &Server, steps: &[Step]) -> Result<Played, String> {
    let play = AssertUnwindSafe(|| {
        let client = server.connect();
        let mut round = Round {
            server,
            session: client.session.clone(),
            client,
            processes: Vec::new(),
            cuts: 0,
        };
        steps.iter().for_each(|step| round.take(*step));
        round.end()
    });
    catch_unwind(play).map_err(|cause| {
        let text = cause.downcast_ref::<String>().cloned();
        text.or_else(|| cause.downcast_ref::<&str>().map(|text| (*text).to_owned()))
            .unwrap_or_default()
    })
}

impl Round<'_> {
    fn take(&mut self, step: Step) {
        match step {
            Step::Start => self.start(),
            Step::Reconnect => self.reconnect(),
            Step::Intrude => self.intrude(),
            Step::Write(who, len) => self.on(who, |round, at| {
                let id = round.write(at, len);
                round.written(at, id);
            }),
            Step::WriteUnanswered(who, len) => self.on(who, |round, at| {
                round.write(at, len);
                round.processes[at].1.is_in_doubt = true;
                // Only one write at a time may be in doubt: the next step that needs an answer waits for it.
                round.reconnect();
            }),
            Step::WriteAgain(who) => self.on(who, Self::write_again),
            Step::Read(who, from) => self.on(who, |round, at| {
                let last = round.processes[at].1.last_seq;
                round.read(at, from % (last + 1));
            }),
            Step::Settle(who) => self.on(who, Self::settle),
            Step::CloseStdin(who) => self.on(who, |round, at| {
                round.on_process(at, "process/closeStdin");
                round.processes[at].1.has_no_more_input = true;
            }),
            Step::Terminate(who) => self.on(who, |round, at| {
                round.on_process(at, "process/terminate");
                round.processes[at].1.is_killed = true;
            }),
        }
    }

    /// Does something with one of the processes, if there is one.
    fn on(&mut self, who: u64, work: impl FnOnce(&mut Self, usize)) {
        if !self.processes.is_empty() {
            let at = (who % self.processes.len() as u64) as usize;
            work(self, at);
        }
    }

    fn on_process(&mut self, at: usize, method: &str) {
        let id = self.processes[at].0.clone();
        self.client.ok(method, params(&id, json!({})));
    }

    fn start(&mut self) {
        if self.processes.len() < 8 {
            let id = format!("p{}", self.processes.len());
            self.client.start(Start::child(&id, &["cat"]).pipe_stdin());
            self.processes.push((id, Process::default()));
        }
    }

    /// Asks for the next write; the number of the request.
    fn write(&mut self, at: usize, len: usize) -> i64 {
        let (id, process) = &mut self.processes[at];
        process.writes += 1;
        let name = process.writes.to_string();
        process.last = Some((name.clone(), process.given, len));
        let chunk = encode(&crate::patterned_from(process.given as u64, len));
        let id = id.clone();
        self.client.ask(
            "process/write",
            params(&id, json!({"chunk": chunk, "writeId": name})),
        )
    }

    /// The answer to the last write: it has arrived, or the process takes no more.
    fn written(&mut self, at: usize, request: i64) {
        let status = self.client.answer(request).unwrap()["status"].clone();
        let (id, process) = &mut self.processes[at];
        process.is_in_doubt = false;
        let len = process.last.as_ref().unwrap().2;
        match status.as_str() {
            Some("accepted") => process.given += len,
            _ if process.has_no_more_input || process.is_killed => process.last = None,
            _ => panic!("a write to {id}, which lives, is answered {status}"),
        }
    }

    /// Writes by the name of the last write again: it counts once.
    fn write_again(&mut self, at: usize) {
        let (id, process) = &mut self.processes[at];
        let Some((name, from, len)) = process.last.clone() else {
            return;
        };
        let chunk = encode(&crate::patterned_from(from as u64, len));
        let id = id.clone();
        let again = params(&id, json!({"chunk": chunk, "writeId": name}));
        let status = self.client.ok("process/write", again)["status"].clone();
        let process = &mut self.processes[at].1;
        match status.as_str() {
            Some("accepted") if process.is_in_doubt => process.given += len,
            Some("accepted") => {}
            _ if process.has_no_more_input || process.is_killed => process.last = None,
            _ => panic!("a write to {id}, which lives, is answered {status} the second time"),
        }
        self.processes[at].1.is_in_doubt = false;
    }

    /// Takes what notifications have told on this connection.
    fn collect(&mut self, at: usize) {
        let (id, process) = &mut self.processes[at];
        let seen = self.client.observed(id);
        process.is_closed |= seen.closed;
        if let Some(last) = seen.last_seq.filter(|last| *last > process.last_seq) {
            process.said.extend(seen.take("stdout"));
            process.last_seq = last;
        }
    }

    /// Reads from behind `after`, and finds what was seen there before; the number of the last event.
    fn read(&mut self, at: usize, after: u64) -> u64 {
        let id = self.processes[at].0.clone();
        let read = self.client.read(&id, json!({"afterSeq": after}));
        let mut last = after;
        for chunk in read["chunks"].as_array().unwrap() {
            let seq = chunk["seq"].as_u64().unwrap();
            assert!(seq > last, "{id}: chunk {seq} behind {last}");
            last = seq;
            let bytes = decode(chunk["chunk"].as_str().unwrap());
            let seen = self.processes[at]
                .1
                .chunks
                .entry(seq)
                .or_insert(bytes.clone());
            assert!(*seen == bytes, "{id}: chunk {seq} has changed");
        }
        self.processes[at].1.is_closed |= read["closed"] == true;
        read["nextSeq"].as_u64().unwrap() - 1
    }

    /// Drops the connection, takes the session up again, and reads what was missed.
    fn reconnect(&mut self) {
        self.cuts += 1;
        for at in 0..self.processes.len() {
            self.collect(at);
        }
        let (server, session) = (self.server, self.session.clone());
        // Dropped first, so that the server sees it gone.
        self.client = server.connect_silent();
        within(PATIENCE, "the session is given back", || {
            match self.client.try_resume(&session) {
                Ok(()) => true,
                Err(error) => {
                    assert_eq!(error.code, -32010, "{error:?}");
                    false
                }
            }
        });
        for at in 0..self.processes.len() {
            let before = self.processes[at].1.last_seq;
            let last = self.read(at, before);
            let (id, process) = &mut self.processes[at];
            for (_, bytes) in process.chunks.range(before + 1..) {
                process.said.extend(bytes);
            }
            process.last_seq = last;
            let id = id.clone();
            self.client.skip_to(&id, last);
            if self.processes[at].1.is_in_doubt {
                self.write_again(at);
            }
        }
    }

    /// Somebody else does not get the session of a client that lives, nor sees its processes.
    fn intrude(&mut self) {
        let mut other = self.server.connect_silent();
        other.finds_attached(&self.session);
        other.initialize();
        let write = params("p0", json!({"chunk": "", "writeId": "1"}));
        assert_eq!(other.ok("process/write", write)["status"], "unknownProcess");
    }

    /// Waits until the process has said all that it was given; a killed one says the beginning of it.
    fn settle(&mut self, at: usize) {
        if self.processes[at].1.is_killed {
            return;
        }
        let id = self.processes[at].0.clone();
        let wanted = self.processes[at].1.given - self.processes[at].1.said.len();
        self.client
            .wait(&format!("{wanted} bytes of {id}"), |client| {
                (client.observed(&id).bytes("stdout").len() >= wanted).then_some(())
            });
        self.collect(at);
        self.check(at);
    }

    fn check(&self, at: usize) {
        let (id, process) = &self.processes[at];
        let mut expected = vec![0; process.said.len()];
        pattern::fill(0, &mut expected);
        assert!(process.said == expected, "{id}: wrong bytes");
        let said = process.said.len();
        let is_right = if process.is_killed {
            said <= process.given
        } else {
            said == process.given
        };
        assert!(is_right, "{id} said {said} of {} bytes", process.given);
    }

    /// Every process ends, and has said what it must.
    fn end(mut self) -> Played {
        for at in 0..self.processes.len() {
            self.collect(at);
            let id = self.processes[at].0.clone();
            if !self.processes[at].1.is_closed {
                self.client.ok("process/closeStdin", params(&id, json!({})));
                self.client.closed(&id);
                self.collect(at);
            }
            self.check(at);
            let read = self
                .client
                .read(&id, json!({"afterSeq": self.processes[at].1.last_seq}));
            assert!(
                read["exited"] == true && read["closed"] == true,
                "{id}: {read}"
            );
            if !self.processes[at].1.is_killed {
                assert_eq!(read["exitCode"], 0, "{id}: {read}");
            }
        }
        Played {
            processes: self.processes.len(),
            cuts: self.cuts,
        }
    }
}
