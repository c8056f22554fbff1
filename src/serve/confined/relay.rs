//! From a helper's answer to the client, as it is, if it is one.
//!
//! The content of a large file passes in pieces, so that a slow client holds up the helper and not
//! memory. Everything else is held whole, as it is where nothing is confined. A helper has read
//! what others have written; so whatever it says, the client gets one message, which is JSON, and
//! which answers this request and no other.

use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::helper::{Channel, ChannelError};
use crate::env::local::files::BlockFile;
use crate::rpc::encode::{json, number};
use crate::rpc::error::{DenyingRule, ErrorData, ErrorKind, Reason, RpcError};
use crate::rpc::transport::LongMessage;
use crate::serve::files::{FileService, HandleToOpen, OPERATION};
use crate::serve::metrics::{Flow, METRICS};
use crate::serve::reply::Responder;

/// Above so many bytes the content of a file is passed on before all of it is there.
const STREAM_FROM: usize = 1024 * 1024;
/// Bytes of a piece.
const PIECE: usize = 256 * 1024;
/// What the answer to a read begins with, behind its id.
const CONTENT: &[u8] = b"{\"dataBase64\":\"";
/// What the content ends in if it broke off; see `files/stream.rs`.
const BROKEN: u8 = b'!';

/// Whether the content of a file is passed in pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passing {
    Whole,
    /// With at most so many bytes together.
    Pieces {
        most: u64,
    },
}

/// What became of an answer.
#[derive(Debug)]
pub(crate) enum Relayed {
    /// The client has it.
    Whole,
    /// It has broken off, and the client has been told. The helper is of no more use.
    BrokenOff(ChannelError),
    /// The client takes no more of it. The helper is in its middle, and of no more use.
    Untaken,
}

/// Where answers go.
pub(crate) struct Answers<'a> {
    /// To the client.
    pub(crate) responder: &'a Responder,
    /// The rule that a request failed for, by the kernel's number for why.
    pub(crate) rule_of: &'a dyn Fn(i32) -> Option<DenyingRule>,
}

impl Answers<'_> {
    /// Adds an answer as it is; to an error, the rule that is why.
    fn add(&self, service: &FileService, answer: &[u8], is_success: bool) {
        let explained = (!is_success).then(|| self.explained(answer)).flatten();
        match explained {
            Some(error) => self.responder.fail(&error),
            None => service.add_long(self.responder, [answer, b"", b""]),
        }
    }

    /// The error in an answer with the rule that is why, if one is.
    fn explained(&self, answer: &[u8]) -> Option<RpcError> {
        let Refused { error } = serde_json::from_slice(answer).ok()?;
        let errno = error.data.errno.filter(|_| error.data.stage == OPERATION)?;
        let error_data = ErrorData {
            stage: Some(OPERATION),
            errno: Some(errno),
            path: Some(error.data.path),
            rule: Some((self.rule_of)(errno)?),
            ..Reason::SandboxDenied.into()
        };
        let kind = ErrorKind::of_code(error.code)?;
        Some(RpcError::new(kind, error.message).with_data(error_data))
    }
}

/// An error of the file system, as a helper tells it.
#[derive(Deserialize)]
struct Refused {
    error: RefusedError,
}

#[derive(Deserialize)]
struct RefusedError {
    code: i32,
    message: String,
    data: RefusedData,
}

#[derive(Deserialize)]
struct RefusedData {
    stage: String,
    errno: Option<i32>,
    path: String,
}

/// Waits for the answer, which may take as long as `limit`, and passes it on. After an error
/// nothing has been passed on.
pub(crate) fn relay(
    channel: &mut Channel,
    answers: &Answers<'_>,
    service: &FileService,
    passing: Passing,
    limit: Duration,
) -> Result<Relayed, ChannelError> {
    let responder = answers.responder;
    if let Passing::Pieces { most } = passing
        && !channel.receive(limit, Some(STREAM_FROM))?
    {
        let mut start = Vec::new();
        responder.begin_reply(&mut start, CONTENT);
        // Otherwise it is not a file's content but an error.
        if channel.answer().starts_with(&start) {
            let Some(message) = service.begin_long() else {
                return Ok(Relayed::Untaken);
            };
            let content = Content {
                start,
                passed: 0,
                most,
            };
            return Ok(content.pass(channel, responder, message, limit));
        }
    }
    channel.receive(limit, None)?;
    if channel.take_passed().is_some() {
        return Err(ChannelError::Nonsense("it passes a file unasked"));
    }
    let is_success = check(channel.answer(), responder)?;
    if is_success && passing != Passing::Whole {
        // What is around the content is not worth a look.
        METRICS.flowed(Flow::FilesRead, channel.answer().len() / 4 * 3);
    }
    answers.add(service, channel.answer(), is_success);
    Ok(Relayed::Whole)
}

/// The members of an answer.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer<'a> {
    #[serde(borrow)]
    id: &'a RawValue,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

/// Whether this is an answer to the request, and says that it succeeded.
fn check(answer: &[u8], responder: &Responder) -> Result<bool, ChannelError> {
    let nonsense = || ChannelError::Nonsense("what it says is no answer");
    let text = str::from_utf8(answer).map_err(|_| nonsense())?;
    let answer: Answer<'_> = serde_json::from_str(text).map_err(|_| nonsense())?;
    if answer.id.get() != responder.id() {
        return Err(ChannelError::Nonsense("it answers another request"));
    }
    match (answer.result, answer.error) {
        (Some(_), None) => Ok(true),
        (None, Some(_)) => Ok(false),
        _ => Err(nonsense()),
    }
}

/// The content of a file, on its way.
struct Content {
    /// What the answer begins with before it.
    start: Vec<u8>,
    /// Bytes that have been passed on.
    passed: usize,
    /// How many there may be.
    most: u64,
}

/// What follows a piece of content.
enum Step {
    More,
    /// The end of the answer, which is all that there is now.
    End,
    /// Nothing: the client is gone.
    Gone,
}

impl Content {
    /// Passes the answer on. Should it not come to its end, the message gets one that no client
    /// takes for the content's.
    fn pass(
        mut self,
        channel: &mut Channel,
        responder: &Responder,
        mut message: LongMessage,
        limit: Duration,
    ) -> Relayed {
        loop {
            let error = match self.pass_piece(channel, responder, &mut message, limit) {
                Ok(Step::More) => continue,
                Ok(Step::End) => {
                    let is_sent = message.finish(|out| out.extend_from_slice(channel.answer()));
                    return if is_sent {
                        Relayed::Whole
                    } else {
                        Relayed::Untaken
                    };
                }
                Ok(Step::Gone) => return Relayed::Untaken,
                Err(error) => error,
            };
            let content = self.passed.saturating_sub(self.start.len());
            message.finish(|out| {
                out.push(BROKEN);
                out.extend_from_slice(b"\",\"incomplete\":{\"bytes\":");
                number(out, (content / 4 * 3) as i64);
                out.extend_from_slice(b",\"message\":");
                json(out, &format!("the helper in the sandbox failed: {error}"));
                out.extend_from_slice(b"}}}");
            });
            return Relayed::BrokenOff(error);
        }
    }

    /// Passes on what is there and waits for more.
    fn pass_piece(
        &mut self,
        channel: &mut Channel,
        responder: &Responder,
        message: &mut LongMessage,
        limit: Duration,
    ) -> Result<Step, ChannelError> {
        let behind = self.start.len().saturating_sub(self.passed);
        let answer = channel.answer();
        let quote = memchr::memchr(b'"', &answer[behind..]).map(|at| behind + at);
        let content = &answer[..quote.unwrap_or(answer.len())];
        let base64 = match content.strip_suffix(&[BROKEN]) {
            Some(base64) if quote.is_some() => base64,
            _ => content,
        };
        // All of them are looked at, so that many are at once.
        let is_base64 = base64[behind..].iter().fold(true, |is_base64, byte| {
            is_base64 & (byte.is_ascii_alphanumeric() | matches!(byte, b'+' | b'/' | b'='))
        });
        if !is_base64 {
            return Err(ChannelError::Nonsense("its content is no base64"));
        }
        let count = content.len();
        if (self.passed + count) as u64 > self.most {
            return Err(ChannelError::Nonsense(
                "its answer is longer than it may be",
            ));
        }
        for piece in content.chunks(PIECE) {
            if !message.add(|out| out.extend_from_slice(piece)) {
                return Ok(Step::Gone);
            }
        }
        METRICS.flowed(Flow::FilesRead, count / 4 * 3);
        self.passed += count;
        channel.consume(count);
        let is_whole = channel.receive(limit, Some(PIECE))?;
        match (memchr::memchr(b'"', channel.answer()), is_whole) {
            (Some(0), true) => {}
            (Some(1..), _) | (None, false) => return Ok(Step::More),
            (Some(0), false) | (None, true) => {
                return Err(ChannelError::Nonsense("its content does not end"));
            }
        }
        // With no content in between, it is an answer like any other.
        check(&[&self.start, channel.answer()].concat(), responder)?;
        Ok(Step::End)
    }
}

/// Waits for the answer to `fs/open`, keeps the file that comes with it as `handle`, and passes
/// the answer on.
pub(crate) fn keep_opened(
    channel: &mut Channel,
    answers: &Answers<'_>,
    service: &mut FileService,
    handle: &HandleToOpen,
    limit: Duration,
) -> Result<Relayed, ChannelError> {
    channel.receive(limit, None)?;
    let is_success = check(channel.answer(), answers.responder)?;
    match (channel.take_passed(), is_success) {
        (Some(file), true) => {
            let file = BlockFile::received(file, handle.mode, handle.version.clone());
            let file = file.ok_or(ChannelError::Nonsense(
                "what it has opened is not what was asked for",
            ))?;
            service.keep(&handle.id, file);
        }
        (None, false) => {}
        _ => return Err(ChannelError::Nonsense("its answer and its file do not fit")),
    }
    answers.add(service, channel.answer(), is_success);
    Ok(Relayed::Whole)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Write};
    use std::os::fd::{AsFd, OwnedFd};
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;
    use std::thread;

    use super::*;
    use crate::net::Sink;
    use crate::rpc::message::UNKNOWN_ID;
    use crate::rpc::transport::{Framing, Outbound};
    use crate::sys::pass::send_descriptor;

    const LIMIT: Duration = Duration::from_secs(20);
    const MOST: u64 = 8 << 20;

    /// What becomes of what a helper says, after the files that it passes, and what the client
    /// gets.
    fn relayed(passing: Passing, says: Vec<u8>, passes: &[&File]) -> (bool, String) {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (mut client, served) = UnixStream::pair().unwrap();
        let reader = thread::spawn(move || {
            let mut text = String::new();
            client.read_to_string(&mut text).unwrap();
            text
        });
        for file in passes {
            send_descriptor(theirs.as_fd(), b'\n', file.as_fd()).unwrap();
        }
        // One that is believed no longer hears of it by its own error.
        let writer = thread::spawn(move || drop(theirs.write_all(&says)));
        let sink = Sink::Stream(File::from(OwnedFd::from(served)));
        let outbound = Arc::new(Outbound::new(sink, Framing::Lines));
        let responder = Responder::new(
            UNKNOWN_ID,
            &outbound,
            crate::serve::reply::Source::default(),
        );
        let service = FileService::new(Arc::clone(&outbound), LIMIT);
        let mut channel = Channel::new(ours).unwrap();
        let answers = Answers {
            responder: &responder,
            rule_of: &|_| None,
        };
        let relayed = relay(&mut channel, &answers, &service, passing, LIMIT);
        drop(channel);
        outbound.flush();
        drop((responder, service, outbound));
        writer.join().unwrap();
        (
            matches!(relayed, Ok(Relayed::Whole)),
            reader.join().unwrap(),
        )
    }

    #[test]
    fn an_answer_passes_as_it_is() {
        for answer in [
            r#"{"id":-1,"result":{"entries":[{"fileName":"\u00e9\n"}]}}"#,
            r#"{"error":{"code":-32600,"message":"no"},"id":-1}"#,
        ] {
            let line = format!("{answer}\n");
            for passing in [Passing::Whole, Passing::Pieces { most: MOST }] {
                let passed = relayed(passing, line.clone().into(), &[]);
                assert_eq!(passed, (true, line.clone()));
            }
        }
    }

    #[test]
    fn what_is_no_answer_to_the_request_never_reaches_the_client() {
        let file = File::open("/dev/null").unwrap();
        let nonsense: [&[u8]; 11] = [
            b"{\"id\":2,\"result\":{}}\n",
            b"{\"id\":\"-1\",\"result\":{}}\n",
            b"{\"id\":-1,\"result\":{},\"id\":2}\n",
            b"{\"id\":-1}\n",
            b"{\"id\":-1,\"result\":{},\"error\":{}}\n",
            b"{\"id\":-1,\"result\":{},\"method\":\"process/closed\"}\n",
            b"{\"method\":\"process/closed\",\"params\":{}}\n",
            b"{\"id\":-1,\"result\":\"\xff\"}\n",
            b"{\"id\":-1,\"result\":{}}{}\n",
            b"{\"id\":-1,\"result\":{\n",
            b"\n",
        ];
        for says in nonsense {
            for passing in [Passing::Whole, Passing::Pieces { most: MOST }] {
                let passed = relayed(passing, says.to_vec(), &[]);
                let says = String::from_utf8_lossy(says);
                assert_eq!(passed, (false, String::new()), "{says}");
            }
        }
        let answer = b"{\"id\":-1,\"result\":{}}\n".to_vec();
        for files in [&[&file][..], &[&file, &file]] {
            let passed = relayed(Passing::Whole, answer.clone(), files);
            assert_eq!(passed, (false, String::new()), "{} files", files.len());
        }
    }

    #[test]
    fn content_passes_in_pieces_and_its_end_must_fit() {
        let content = "QUFB".repeat(700_000);
        let said = |content: &str, end: &str| {
            let start = "{\"id\":-1,\"result\":{\"dataBase64\":\"";
            format!("{start}{content}{end}\n")
        };
        let pieces = Passing::Pieces { most: MOST };
        let broken = "!\",\"incomplete\":{\"bytes\":3,\"message\":\"gone\"}}}";
        for end in ["\"}}", broken] {
            let whole = said(&content, end);
            assert!(relayed(pieces, whole.clone().into(), &[]) == (true, whole));
        }
        let escaped = format!("{content}\\u0041{content}");
        let long = "QUFB".repeat(MOST as usize / 4);
        let endless = format!("\"{}", "x".repeat(2 * PIECE));
        for (content, end) in [
            (&escaped, "\"}}"),
            (&long, "\"}}"),
            (&content, "\"}}{}"),
            (&content, "\"},\"id\":2}"),
            (&content, "\"}}}"),
            (&content, ""),
            (&content, &endless),
        ] {
            let (is_whole, text) = relayed(pieces, said(content, end).into(), &[]);
            let end = &end[..end.len().min(20)];
            assert!(!is_whole, "{end}");
            let answer: serde_json::Value = serde_json::from_str(&text).expect(end);
            let data = answer["result"]["dataBase64"].as_str().expect(end);
            assert!(data.ends_with('!') && answer["id"] == -1, "{end}");
            assert!(
                answer["result"]["incomplete"]["message"].is_string(),
                "{end}"
            );
        }
    }
}
