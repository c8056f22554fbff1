//! What the notifications say about one process, held against the promises every process has.

use serde_json::Value;

use super::decode;

/// One notification, without its content.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Output on a stream, so many bytes.
    Output(String, usize),
    /// The process has exited.
    Exited,
    /// Nothing comes after this.
    Closed,
}

/// Takes output instead of keeping it: stream and bytes.
pub type Sink = Box<dyn FnMut(&str, &[u8]) + Send>;

/// The life of one process as one connection sees it.
#[derive(Default)]
pub struct Observed {
    /// Whether its start has been answered on this connection.
    pub started: bool,
    /// The last number seen; the next must be one more. `None` before the first on a resumed connection.
    pub last_seq: Option<u64>,
    /// Up to here a read has told everything; notifications of the same may still come.
    pub read_to: u64,
    /// Every event, in order.
    pub events: Vec<Event>,
    /// Output by stream, unless a sink takes it.
    pub output: Vec<(String, Vec<u8>)>,
    /// The params of `process/exited`.
    pub exited: Option<Value>,
    /// Whether `process/closed` came.
    pub closed: bool,
    /// Takes the output.
    pub sink: Option<Sink>,
}

impl Observed {
    /// A process that this connection started: its first number must be 1.
    pub fn fresh() -> Self {
        Self {
            last_seq: Some(0),
            started: true,
            ..Self::default()
        }
    }

    /// Files one notification; says what promise it breaks, if it does.
    pub fn file(&mut self, method: &str, params: &Value) -> Result<(), String> {
        let seq = params["seq"].as_u64().ok_or("no seq")?;
        if seq <= self.read_to {
            return Ok(());
        }
        if let Some(last) = self.last_seq
            && seq != last + 1
        {
            return Err(format!("seq {seq} after {last}"));
        }
        self.last_seq = Some(seq);
        if self.closed {
            return Err("a notification after closed".into());
        }
        match method {
            "process/output" => {
                let stream = params["stream"].as_str().ok_or("no stream")?;
                let chunk = decode(params["chunk"].as_str().ok_or("no chunk")?);
                if chunk.is_empty() {
                    return Err("an empty chunk".into());
                }
                self.keep(stream, &chunk);
            }
            "process/exited" => {
                if self.exited.is_some() {
                    return Err("exited twice".into());
                }
                params["exitCode"].as_i64().ok_or("no exitCode")?;
                self.events.push(Event::Exited);
                self.exited = Some(params.clone());
            }
            "process/closed" => {
                if self.started && self.exited.is_none() {
                    return Err("closed before exited".into());
                }
                self.events.push(Event::Closed);
                self.closed = true;
            }
            other => return Err(format!("unknown notification {other}")),
        }
        Ok(())
    }

    fn keep(&mut self, stream: &str, chunk: &[u8]) {
        if let Some(sink) = &mut self.sink {
            return sink(stream, chunk);
        }
        self.events
            .push(Event::Output(stream.to_string(), chunk.len()));
        match self.output.iter_mut().find(|(its, _)| its == stream) {
            Some((_, bytes)) => bytes.extend(chunk),
            None => self.output.push((stream.to_string(), chunk.to_vec())),
        }
    }

    /// Bytes seen on a stream so far.
    pub fn bytes(&self, stream: &str) -> &[u8] {
        let found = self.output.iter().find(|(its, _)| its == stream);
        found.map(|(_, bytes)| bytes.as_slice()).unwrap_or_default()
    }

    /// The same, which is forgotten here.
    pub fn take(&mut self, stream: &str) -> Vec<u8> {
        let found = self.output.iter_mut().find(|(its, _)| its == stream);
        found
            .map(|(_, bytes)| std::mem::take(bytes))
            .unwrap_or_default()
    }

    /// What a closed process came to.
    pub fn outcome(&self) -> Outcome {
        let exited = self.exited.clone().unwrap_or_default();
        let text = |stream| String::from_utf8_lossy(self.bytes(stream)).into_owned();
        Outcome {
            code: exited["exitCode"].as_i64().unwrap_or(i64::MIN),
            signal: exited["signal"].as_str().map(str::to_string),
            timed_out: exited["timedOut"].as_bool().unwrap_or(false),
            oom_killed: exited["oomKilled"].as_bool().unwrap_or(false),
            stdout: text("stdout"),
            stderr: text("stderr"),
            pty: text("pty"),
            events: self.events.clone(),
        }
    }
}

/// What a process came to.
#[derive(Debug)]
pub struct Outcome {
    pub code: i64,
    /// The signal that ended it, by our extension.
    pub signal: Option<String>,
    /// Whether its own time limit ended it.
    pub timed_out: bool,
    pub oom_killed: bool,
    pub stdout: String,
    pub stderr: String,
    pub pty: String,
    pub events: Vec<Event>,
}
