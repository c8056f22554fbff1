//! What the process inside tells the server.

use crate::sys::spawn::Stage;

/// The size of every message, in bytes.
pub const SIZE: usize = 12;

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
        for (to, word) in bytes.chunks_exact_mut(4).zip([code, place as i32, errno]) {
            to.copy_from_slice(&word.to_ne_bytes());
        }
        bytes
    }

    /// The reverse. `None` if the bytes are not of [`Message::encode`].
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let words: [u8; SIZE] = bytes.try_into().ok()?;
        let word = |index: usize| {
            let at = index * 4;
            i32::from_ne_bytes([words[at], words[at + 1], words[at + 2], words[at + 3]])
        };
        match word(0) {
            0 => Some(Self::Ready),
            code => {
                let place = usize::try_from(word(1)).ok()?;
                Some(Self::Failed(stage(code, place)?, word(2)))
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
    }
}

fn stage(code: i32, place: usize) -> Option<Stage> {
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
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_is_read_as_it_was_written() {
        let stages = (1..=13).map(|code| stage(code, 3).unwrap());
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
}
