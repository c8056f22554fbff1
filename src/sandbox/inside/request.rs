//! How the server hands a program to the process that becomes it.

use std::ffi::{CStr, CString};

use crate::sys::enter::Image;
use crate::sys::limits::Resource;

/// A program, and whether it is to have a terminal.
#[derive(Debug)]
pub struct Request {
    /// The program. Without one the process only checks where it is.
    pub image: Option<Image>,
    /// Whether its descriptor 0 is a terminal to be controlled by.
    pub has_terminal: bool,
}

impl Request {
    /// As bytes: counts first, then limits, then terminated strings.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![u8::from(self.has_terminal), u8::from(self.image.is_some())];
        let Some(image) = &self.image else {
            return bytes;
        };
        let lists = [&image.programs, &image.argv, &image.env];
        let counts = lists.map(Vec::len).into_iter().chain([image.limits.len()]);
        for count in counts {
            bytes.extend((count as u64).to_ne_bytes());
        }
        for (resource, value) in &image.limits {
            bytes.extend(i64::from(resource.number()).to_ne_bytes());
            bytes.extend(value.to_ne_bytes());
        }
        let strings = lists.into_iter().flatten().chain([&image.cwd]);
        for string in strings {
            bytes.extend(string.as_bytes_with_nul());
        }
        bytes
    }

    /// The reverse. `None` if the bytes are not of [`Request::encode`].
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (&[has_terminal, has_image], rest) = bytes.split_first_chunk()?;
        let image = match has_image {
            0 => None,
            _ => Some(decode_image(rest)?),
        };
        Some(Self {
            image,
            has_terminal: has_terminal != 0,
        })
    }
}

fn decode_image(bytes: &[u8]) -> Option<Image> {
    let mut rest = Rest(bytes);
    let [programs, argv, env, limits] = [
        rest.number()?,
        rest.number()?,
        rest.number()?,
        rest.number()?,
    ];
    let limits = (0..limits)
        .map(|_| {
            let resource = i32::try_from(rest.number()?).ok()?;
            Some((Resource::from_number(resource), rest.number()?))
        })
        .collect::<Option<_>>()?;
    Some(Image {
        programs: rest.strings(programs)?,
        argv: rest.strings(argv)?,
        env: rest.strings(env)?,
        cwd: rest.string()?,
        limits,
    })
}

struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
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

    fn strings(&mut self, count: u64) -> Option<Vec<CString>> {
        (0..count).map(|_| self.string()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(words: &[&CStr]) -> Vec<CString> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn a_request_is_read_as_it_was_written() {
        let image = Image {
            programs: strings(&[c"/bin/a", c"/usr/bin/a"]),
            argv: strings(&[c"", c"two words", c"\xff"]),
            env: strings(&[c"A=1"]),
            cwd: c"/somewhere".to_owned(),
            limits: vec![(Resource::from_number(7), u64::MAX)],
        };
        let request = Request {
            image: Some(image),
            has_terminal: true,
        };
        let read = Request::decode(&request.encode()).unwrap();
        assert_eq!(format!("{read:?}"), format!("{request:?}"));
    }

    #[test]
    fn a_request_without_a_program_is_one_too() {
        let request = Request {
            image: None,
            has_terminal: false,
        };
        let read = Request::decode(&request.encode()).unwrap();
        assert!(read.image.is_none() && !read.has_terminal);
    }

    #[test]
    fn half_a_request_is_none() {
        let request = Request {
            image: Some(Image {
                programs: strings(&[c"/bin/a"]),
                argv: strings(&[c"a"]),
                env: Vec::new(),
                cwd: c"/".to_owned(),
                limits: Vec::new(),
            }),
            has_terminal: false,
        };
        let bytes = request.encode();
        for end in 0..bytes.len() {
            assert!(Request::decode(&bytes[..end]).is_none(), "{end} bytes");
        }
        // A count that memory could not hold is no reason to fail otherwise.
        let mut bytes = bytes;
        bytes[2..10].fill(0xff);
        assert!(Request::decode(&bytes).is_none());
    }
}
