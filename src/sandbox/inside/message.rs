//! How the server hands a program to the first process of a sandbox, and what that tells the server.

use std::ffi::{CStr, CString};

use crate::sandbox::domain::Domain;
use crate::sandbox::mounts::{Mask, MaskKind};
use crate::sandbox::policy::Network;
use crate::sys::enter::Image;
use crate::sys::landlock::Handled;
use crate::sys::limits::{Limit, Resource};
use crate::sys::spawn::{Interpreter, Search, Stage};

/// The size of every message, in bytes.
pub const SIZE: usize = WORDS + Interpreter::MAX;

/// The three numbers that a message begins with: 32 bits each.
const WORDS: usize = 12;

/// One message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// The program's process is there, and waits for permission to go on. Sent by that process.
    Ready,
    /// It cannot go on: at this stage, with this errno.
    Failed(Stage, i32),
}

impl Message {
    /// As bytes.
    pub fn encode(self) -> [u8; SIZE] {
        let (code, place, errno) = match self {
            Self::Ready => (0, 0, 0),
            Self::Failed(stage, errno) => {
                let (code, place) = number(stage);
                (code, place, errno)
            }
        };
        let mut bytes = [0; SIZE];
        let (words, name) = bytes.split_at_mut(WORDS);
        for (to, word) in words.chunks_exact_mut(4).zip([code, place as i32, errno]) {
            to.copy_from_slice(&word.to_ne_bytes());
        }
        if let Self::Failed(Stage::Interpreter(_, interpreter), _) = self {
            name.copy_from_slice(&interpreter.to_bytes());
        }
        bytes
    }

    /// The reverse. `None` if the bytes are not of [`Message::encode`].
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; SIZE] = bytes.try_into().ok()?;
        let (words, name) = bytes.split_at(WORDS);
        let word = |index: usize| {
            let at = index * 4;
            i32::from_ne_bytes([words[at], words[at + 1], words[at + 2], words[at + 3]])
        };
        match word(0) {
            0 => Some(Self::Ready),
            code => {
                let place = usize::try_from(word(1)).ok()?;
                Some(Self::Failed(
                    stage(code, place, name.try_into().ok()?)?,
                    word(2),
                ))
            }
        }
    }
}

fn number(stage: Stage) -> (i32, usize) {
    match stage {
        Stage::Clone => (1, 0),
        Stage::Session => (2, 0),
        Stage::Terminal => (3, 0),
        Stage::Limit(place) => (4, place),
        Stage::Descriptors => (5, 0),
        Stage::Directory => (6, 0),
        Stage::Exec(place) => (7, place),
        Stage::Capabilities => (8, 0),
        Stage::NoNewPrivs => (9, 0),
        Stage::Landlock => (10, 0),
        Stage::Seccomp => (11, 0),
        Stage::Device => (12, 0),
        Stage::Mount(place) => (13, place),
        Stage::Interpreter(place, _) => (14, place),
        Stage::Cgroup => (15, 0),
    }
}

fn stage(code: i32, place: usize, name: [u8; Interpreter::MAX]) -> Option<Stage> {
    Some(match code {
        1 => Stage::Clone,
        2 => Stage::Session,
        3 => Stage::Terminal,
        4 => Stage::Limit(place),
        5 => Stage::Descriptors,
        6 => Stage::Directory,
        7 => Stage::Exec(place),
        8 => Stage::Capabilities,
        9 => Stage::NoNewPrivs,
        10 => Stage::Landlock,
        11 => Stage::Seccomp,
        12 => Stage::Device,
        13 => Stage::Mount(place),
        14 => Stage::Interpreter(place, Interpreter::from_bytes(name)),
        15 => Stage::Cgroup,
        _ => return None,
    })
}

/// What the first process does, and the program that it starts.
#[derive(Clone, Debug)]
pub struct Request {
    /// The program. Without one the process only checks where it is.
    pub image: Option<Image>,
    /// Whether the image is this very program: then its file is run, whatever its paths lead to inside.
    pub is_own_program: bool,
    /// Whether its descriptor 0 is a terminal to be controlled by.
    pub has_terminal: bool,
    /// Which of its descriptors 0, 1 and 2 are `/dev/null`, to be opened inside.
    pub null: [bool; 3],
    /// What of the sandbox is left to be set up.
    pub rest: Rest,
}

/// What the first process sets up, because bwrap has no word for it or would take long.
#[derive(Clone, Debug, Default)]
pub struct Rest {
    /// Whether there is a descriptor that tells who outlives the server that the sandbox is still in use.
    pub has_lock: bool,
    /// Whether the program has no network.
    pub is_offline: bool,
    /// The devices that nobody may change the mode or the times of.
    pub sealed_devices: Vec<CString>,
    /// What is covered, in this order.
    pub masks: Vec<Mask>,
    /// The Landlock domain to enter; none where the kernel has no Landlock.
    pub domain: Option<Domain>,
}

impl Rest {
    /// The network of the program.
    pub fn network(&self) -> Network {
        if self.is_offline {
            Network::Restricted
        } else {
            Network::Enabled
        }
    }
}

impl Request {
    /// As bytes: numbers of eight bytes, and terminated strings.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer(Vec::new());
        let Self {
            image,
            is_own_program,
            has_terminal,
            null: [stdin, stdout, stderr],
            rest,
        } = self;
        for flag in [
            image.is_some(),
            *is_own_program,
            *has_terminal,
            *stdin,
            *stdout,
            *stderr,
            rest.has_lock,
            rest.is_offline,
            rest.domain.is_some(),
        ] {
            out.number(u64::from(flag));
        }
        out.list(&rest.sealed_devices, |out, path| out.string(path));
        out.list(&rest.masks, |out, mask| {
            out.number(mask.kind as u64);
            out.string(&mask.path);
        });
        if let Some(Domain { handled, allowed }) = &rest.domain {
            for accesses in [handled.files, handled.network, handled.scopes] {
                out.number(accesses);
            }
            out.list(allowed, |out, (path, access)| {
                out.number(*access);
                out.string(path);
            });
        }
        if let Some(image) = image {
            out.string(&image.program.name);
            for strings in [image.program.path.as_slice(), &image.argv, &image.env] {
                out.list(strings, |out, string| out.string(string));
            }
            out.string(&image.cwd);
            out.list(&image.limits, |out, limit| {
                out.number(limit.resource.number() as u64);
                out.number(limit.soft);
                out.number(limit.hard);
            });
        }
        out.0
    }

    /// The reverse. `None` if the bytes are not of [`Request::encode`].
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut from = Reader(bytes);
        let mut flags = [false; 9];
        for flag in &mut flags {
            *flag = from.number()? != 0;
        }
        let [
            has_image,
            is_own_program,
            has_terminal,
            stdin,
            stdout,
            stderr,
            has_lock,
            is_offline,
            has_domain,
        ] = flags;
        let sealed_devices = from.list(Reader::string)?;
        let masks = from.list(|from| {
            let kind = MaskKind::from_number(from.number()?)?;
            Some(Mask {
                kind,
                path: from.string()?,
            })
        })?;
        let domain = match has_domain {
            true => Some(Domain {
                handled: Handled {
                    files: from.number()?,
                    network: from.number()?,
                    scopes: from.number()?,
                },
                allowed: from.list(|from| {
                    let access = from.number()?;
                    Some((from.string()?, access))
                })?,
            }),
            false => None,
        };
        let image = match has_image {
            true => Some(Image {
                program: Search {
                    name: from.string()?,
                    path: from.list(Reader::string)?.pop(),
                },
                argv: from.list(Reader::string)?,
                env: from.list(Reader::string)?,
                cwd: from.string()?,
                limits: from.list(|from| {
                    let resource = i32::try_from(from.number()?).ok()?;
                    Some(Limit {
                        resource: Resource::from_number(resource),
                        soft: from.number()?,
                        hard: from.number()?,
                    })
                })?,
            }),
            false => None,
        };
        Some(Self {
            image,
            is_own_program,
            has_terminal,
            null: [stdin, stdout, stderr],
            rest: Rest {
                has_lock,
                is_offline,
                sealed_devices,
                masks,
                domain,
            },
        })
    }
}

struct Writer(Vec<u8>);

impl Writer {
    fn number(&mut self, number: u64) {
        self.0.extend(number.to_ne_bytes());
    }

    fn string(&mut self, string: &CStr) {
        self.0.extend(string.to_bytes_with_nul());
    }

    fn list<T>(&mut self, items: &[T], write: impl Fn(&mut Self, &T)) {
        self.number(items.len() as u64);
        for item in items {
            write(self, item);
        }
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn number(&mut self) -> Option<u64> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_ne_bytes(*bytes))
    }

    fn string(&mut self) -> Option<CString> {
        let string = CStr::from_bytes_until_nul(self.0).ok()?;
        self.0 = &self.0[string.count_bytes() + 1..];
        Some(string.to_owned())
    }

    fn list<T>(&mut self, read: impl Fn(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        (0..self.number()?).map(|_| read(self)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_is_read_as_it_was_written() {
        let stages = (1..=14).map(|code| stage(code, 3, [b'n'; Interpreter::MAX]).unwrap());
        for stage in stages {
            let message = Message::Failed(stage, 13);
            let read = Message::decode(&message.encode());
            assert_eq!(read, Some(message));
        }
        assert_eq!(
            Message::decode(&Message::Ready.encode()),
            Some(Message::Ready)
        );
    }

    #[test]
    fn other_bytes_are_no_message() {
        assert_eq!(Message::decode(&[]), None);
        assert_eq!(Message::decode(&[0; SIZE + 1]), None);
        assert_eq!(Message::decode(&[0xff; SIZE]), None);
    }

    fn strings(words: &[&CStr]) -> Vec<CString> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    fn whole() -> Request {
        Request {
            image: Some(Image {
                program: Search {
                    name: c"a".to_owned(),
                    path: Some(c"/bin:/usr/bin".to_owned()),
                },
                argv: strings(&[c"", c"two words", c"\xff"]),
                env: strings(&[c"A=1"]),
                cwd: c"/somewhere".to_owned(),
                limits: vec![Limit {
                    resource: Resource::from_number(7),
                    soft: 3,
                    hard: u64::MAX,
                }],
            }),
            is_own_program: true,
            has_terminal: true,
            null: [true, false, true],
            rest: Rest {
                has_lock: true,
                is_offline: true,
                sealed_devices: strings(&[c"/dev/null"]),
                masks: [MaskKind::File, MaskKind::EmptyDirectory, MaskKind::Itself]
                    .map(|kind| Mask {
                        kind,
                        path: c"/a".to_owned(),
                    })
                    .into(),
                domain: Some(Domain {
                    handled: Handled {
                        files: 1,
                        network: 2,
                        scopes: 3,
                    },
                    allowed: vec![(c"/w".to_owned(), 5)],
                }),
            },
        }
    }

    #[test]
    fn a_request_is_read_as_it_was_written() {
        let mut bare = whole();
        bare.image = None;
        bare.rest = Rest::default();
        for request in [whole(), bare] {
            let read = Request::decode(&request.encode()).unwrap();
            assert_eq!(format!("{read:?}"), format!("{request:?}"));
        }
    }

    #[test]
    fn half_a_request_is_none() {
        let bytes = whole().encode();
        for end in 0..bytes.len() {
            assert!(Request::decode(&bytes[..end]).is_none(), "{end} bytes");
        }
        // A count that memory could not hold is no reason to fail otherwise.
        let mut bytes = bytes;
        bytes[72..80].fill(0xff);
        assert!(Request::decode(&bytes).is_none());
    }
}
