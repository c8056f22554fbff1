//! Patterns of paths that are denied.
//!
//! `*` and `?` stay within one component, `**` as a whole component is any number of them, `[a-z]` and `[!a]` are classes,
//! `{a,b}` alternatives, `\` takes the next character as it is. A `[` that nothing closes is a plain one. Names that begin
//! with a dot are like any other.
//!
//! A policy may have thousands of them. They are kept by their bases, because a path can match only those whose base is
//! around it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Patterns that the alternatives of one may stand for.
const MAX_ALTERNATIVES: usize = 256;
/// Bytes of a pattern; the kernel takes no longer path either.
const MAX_LENGTH: usize = 4096;

/// One pattern without alternatives.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Glob {
    /// The directory that all matches are below, canonical.
    pub base: PathBuf,
    /// What follows it, at least one part with a wildcard.
    parts: Vec<Part>,
    /// As the client wrote it.
    pub pattern: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Part {
    /// Any number of components.
    Any,
    /// One component.
    Name(Vec<Token>),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Token {
    Literal(u8),
    /// `?`
    One,
    /// `*`
    Many,
    /// `[...]`; the flag is for `[!...]`.
    Class(bool, Vec<(u8, u8)>),
}

/// What a pattern turns out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// A single path, or a directory with all below it.
    Plain(PathBuf),
    /// What has to be searched for.
    Wild(Glob),
}

/// Reads a pattern, which is absolute. More than one comes of alternatives.
pub(crate) fn parse(pattern: &str) -> Result<Vec<Shape>, &'static str> {
    if pattern.contains('\0') {
        return Err("it has a NUL in it");
    }
    if pattern.len() > MAX_LENGTH {
        return Err("it is longer than 4096 bytes");
    }
    let mut plain = Vec::new();
    expand(pattern.as_bytes(), &mut plain)?;
    plain
        .iter()
        .map(|bytes| shape(bytes, pattern))
        .collect::<Result<_, _>>()
}

/// Writes a path so that a pattern takes it as it is.
pub(crate) fn escape(path: &str) -> String {
    let mut escaped = String::with_capacity(path.len());
    for character in path.chars() {
        if "*?[]{},\\".contains(character) {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

/// Replaces the first group of alternatives by each of them, and so on.
fn expand(pattern: &[u8], into: &mut Vec<Vec<u8>>) -> Result<(), &'static str> {
    let Some((start, end, commas)) = group(pattern) else {
        if into.len() == MAX_ALTERNATIVES {
            return Err("it stands for more than 256 patterns");
        }
        into.push(pattern.to_vec());
        return Ok(());
    };
    let mut from = start + 1;
    for to in commas.into_iter().chain([end]) {
        let one = [&pattern[..start], &pattern[from..to], &pattern[end + 1..]].concat();
        expand(&one, into)?;
        from = to + 1;
    }
    Ok(())
}

/// The first `{...}`: where it begins, where it ends, and its commas. One that is not closed is none.
fn group(pattern: &[u8]) -> Option<(usize, usize, Vec<usize>)> {
    let mut start = None;
    let mut depth = 0;
    let mut commas = Vec::new();
    let mut at = 0;
    while at < pattern.len() {
        match pattern[at] {
            b'\\' => at += 1,
            b'[' => at = class_end(pattern, at).unwrap_or(at),
            b'{' => {
                depth += 1;
                start = start.or(Some(at));
            }
            b',' if depth == 1 => commas.push(at),
            b'}' if depth == 1 => return start.map(|start| (start, at, commas)),
            b'}' if depth > 1 => depth -= 1,
            _ => {}
        }
        at += 1;
    }
    None
}

fn shape(pattern: &[u8], written: &str) -> Result<Shape, &'static str> {
    let mut parts = Vec::new();
    for name in pattern.split(|byte| *byte == b'/') {
        match name {
            b"" | b"." => {}
            b".." => match parts.pop() {
                None | Some(Part::Name(_)) => {}
                Some(Part::Any) => return Err("`..` cannot follow `**`"),
            },
            b"**" if parts.last() == Some(&Part::Any) => {}
            b"**" => parts.push(Part::Any),
            name => parts.push(Part::Name(tokens(name))),
        }
    }
    let literal = parts.iter().map_while(Part::literal).collect::<Vec<_>>();
    let count = literal.len();
    let mut base = PathBuf::from("/");
    base.extend(literal.iter().map(|name| OsStr::from_bytes(name)));
    let rest = parts.split_off(count);
    // All below a directory is denied best with the directory: what comes later is covered too.
    let is_everything = match rest.as_slice() {
        [] | [Part::Any] => true,
        [Part::Any, Part::Name(name)] => name.as_slice() == [Token::Many],
        _ => false,
    };
    Ok(if is_everything {
        Shape::Plain(base)
    } else {
        Shape::Wild(Glob {
            base,
            parts: rest,
            pattern: written.to_owned(),
        })
    })
}

fn tokens(name: &[u8]) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < name.len() {
        let token = match name[at] {
            b'*' => Token::Many,
            b'?' => Token::One,
            b'[' => match class_end(name, at) {
                Some(end) => {
                    let class = class(&name[at + 1..end]);
                    at = end;
                    class
                }
                None => Token::Literal(b'['),
            },
            b'\\' if at + 1 < name.len() => {
                at += 1;
                Token::Literal(name[at])
            }
            byte => Token::Literal(byte),
        };
        if !(token == Token::Many && tokens.last() == Some(&Token::Many)) {
            tokens.push(token);
        }
        at += 1;
    }
    tokens
}

/// Where the class that begins at `start` ends: at the first `]` that is not its first member, in the same component.
fn class_end(pattern: &[u8], start: usize) -> Option<usize> {
    let negation = usize::from(matches!(pattern.get(start + 1), Some(b'!' | b'^')));
    let first = start + 1 + negation;
    let inside = pattern.get(first + 1..)?;
    let length = inside.iter().position(|byte| matches!(byte, b']' | b'/'))?;
    (inside[length] == b']' && pattern[first] != b'/').then_some(first + 1 + length)
}

fn class(inside: &[u8]) -> Token {
    let (is_negated, members) = match inside {
        [b'!' | b'^', members @ ..] => (true, members),
        members => (false, members),
    };
    let mut ranges = Vec::new();
    let mut rest = members;
    loop {
        match rest {
            [low, b'-', high, after @ ..] => {
                ranges.push((*low, *high));
                rest = after;
            }
            [one, after @ ..] => {
                ranges.push((*one, *one));
                rest = after;
            }
            [] => return Token::Class(is_negated, ranges),
        }
    }
}

impl Part {
    fn takes(&self, name: &[u8]) -> bool {
        match self {
            Self::Any => true,
            Self::Name(tokens) => name_matches(tokens, name),
        }
    }

    fn literal(&self) -> Option<Vec<u8>> {
        let Self::Name(tokens) = self else {
            return None;
        };
        tokens
            .iter()
            .map(|token| match token {
                Token::Literal(byte) => Some(*byte),
                Token::One | Token::Many | Token::Class(..) => None,
            })
            .collect()
    }
}

impl Glob {
    /// Whether the path itself matches.
    pub fn matches(&self, path: &Path) -> bool {
        let Ok(below) = path.strip_prefix(&self.base) else {
            return false;
        };
        let names: Vec<&[u8]> = below.iter().map(OsStr::as_bytes).collect();
        parts_match(&self.parts, &names)
    }

    /// Whether the path of these names below the base matches, or what is around it by at least `least` of them.
    pub(crate) fn covers(&self, names: &[&[u8]], least: usize) -> bool {
        (least.max(1)..=names.len()).any(|count| parts_match(&self.parts, &names[..count]))
    }

    /// As many bytes as are compared at most to tell whether a name is the part at `place`.
    pub fn effort(&self, place: usize, name: &[u8]) -> usize {
        match &self.parts[place] {
            Part::Any => 1,
            Part::Name(tokens) => tokens.len().min(name.len()) * name.len(),
        }
    }

    /// About as many bytes as it takes in memory.
    pub(crate) fn size(&self) -> usize {
        let tokens = self.parts.iter().map(|part| match part {
            Part::Any => 0,
            Part::Name(tokens) => tokens.len() * size_of::<Token>(),
        });
        size_of::<Self>() + tokens.sum::<usize>() + self.pattern.len()
    }

    /// Where in the pattern a search begins, in the base. Each place stands for all names that lead to it.
    pub fn begin(&self) -> Vec<usize> {
        let mut places = Vec::new();
        self.enter(0, &mut places);
        places
    }

    /// Whether a name completes a match, in a directory where the search is at `place`.
    pub fn completes(&self, place: usize, name: &[u8]) -> bool {
        self.is_last(place) && self.parts[place].takes(name)
    }

    /// Whether any name could complete a match at `place`.
    pub fn is_last(&self, place: usize) -> bool {
        place + 1 == self.parts.len()
    }

    /// Adds where the search is in the directory `name`, when it is at `place` in the directory around it.
    pub fn descend(&self, place: usize, name: &[u8], into: &mut Vec<usize>) {
        match &self.parts[place] {
            Part::Any => self.enter(place, into),
            part if part.takes(name) => self.enter(place + 1, into),
            Part::Name(_) => {}
        }
    }

    /// Adds a place, and the next one behind a `**`, which can be no name; at the end it is at least one.
    fn enter(&self, place: usize, into: &mut Vec<usize>) {
        if place == self.parts.len() {
            return;
        }
        into.push(place);
        if self.parts[place] == Part::Any && !self.is_last(place) {
            into.push(place + 1);
        }
    }
}

fn parts_match(parts: &[Part], names: &[&[u8]]) -> bool {
    // Where the last `**` was, and how many names it has taken: only that one need ever take more.
    let mut retry: Option<(usize, usize)> = None;
    let (mut part, mut name) = (0, 0);
    loop {
        match parts.get(part) {
            None if name == names.len() => return true,
            Some(Part::Any) => {
                retry = Some((part, name));
                part += 1;
                // A `**` at the end takes at least one name: the directory itself is not below it.
                if part == parts.len() {
                    return name < names.len();
                }
                continue;
            }
            Some(Part::Name(tokens)) if name < names.len() && name_matches(tokens, names[name]) => {
                part += 1;
                name += 1;
                continue;
            }
            _ => {}
        }
        match retry {
            Some((at, taken)) if taken < names.len() => {
                retry = Some((at, taken + 1));
                part = at + 1;
                name = taken + 1;
            }
            _ => return false,
        }
    }
}

fn name_matches(tokens: &[Token], name: &[u8]) -> bool {
    // Most names are told by their last byte.
    if let Some(Token::Literal(last)) = tokens.last()
        && name.last() != Some(last)
    {
        return false;
    }
    let mut retry: Option<(usize, usize)> = None;
    let (mut token, mut at) = (0, 0);
    loop {
        let taken = match tokens.get(token) {
            None if at == name.len() => return true,
            Some(Token::Many) => {
                retry = Some((token, at));
                token += 1;
                continue;
            }
            Some(one) => one.take(&name[at..]),
            None => None,
        };
        if let Some(length) = taken {
            token += 1;
            at += length;
            continue;
        }
        match retry {
            Some((many, from)) if from < name.len() => {
                retry = Some((many, from + 1));
                token = many + 1;
                at = from + 1;
            }
            _ => return false,
        }
    }
}

impl Token {
    /// How many bytes of `name` this takes; none if it does not match.
    fn take(&self, name: &[u8]) -> Option<usize> {
        let first = *name.first()?;
        match self {
            Self::Literal(byte) => (first == *byte).then_some(1),
            Self::One => Some(character(name)),
            Self::Class(is_negated, ranges) => {
                let is_member = ranges
                    .iter()
                    .any(|(low, high)| (*low..=*high).contains(&first));
                match (is_member, is_negated) {
                    (true, false) => Some(1),
                    (false, true) => Some(character(name)),
                    _ => None,
                }
            }
            Self::Many => None,
        }
    }
}

/// The length of the first character in UTF-8; one byte of what is not.
fn character(name: &[u8]) -> usize {
    let continued = name[1..]
        .iter()
        .take(3)
        .take_while(|byte| **byte & 0xc0 == 0x80)
        .count();
    if name[0] >= 0xc0 { 1 + continued } else { 1 }
}

/// Patterns in the order of a policy's entries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Globs {
    all: Vec<Glob>,
    /// Which of them have this base.
    by_base: BTreeMap<PathBuf, Vec<usize>>,
}

impl From<Vec<Glob>> for Globs {
    fn from(all: Vec<Glob>) -> Self {
        let mut by_base: BTreeMap<PathBuf, Vec<usize>> = BTreeMap::new();
        for (number, glob) in all.iter().enumerate() {
            by_base.entry(glob.base.clone()).or_default().push(number);
        }
        Self { all, by_base }
    }
}

impl Globs {
    pub(crate) fn all(&self) -> &[Glob] {
        &self.all
    }

    /// The first that matches a canonical path, or a part of it with at least `least` components below the root.
    pub(crate) fn around(&self, path: &Path, least: usize) -> Option<&Glob> {
        if self.all.is_empty() {
            return None;
        }
        let names: Vec<&[u8]> = path.iter().skip(1).map(OsStr::as_bytes).collect();
        let bases = path.ancestors().zip((0..=names.len()).rev()).skip(1);
        let first = bases.filter_map(|(base, depth)| {
            let (below, least) = (&names[depth..], least.saturating_sub(depth));
            let numbers = self.by_base.get(base)?.iter().copied();
            let mut matching = numbers.filter(|number| self.all[*number].covers(below, least));
            matching.next()
        });
        first.min().map(|number| &self.all[number])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, path: &str) -> bool {
        parse(pattern).unwrap().iter().any(|shape| match shape {
            Shape::Plain(plain) => Path::new(path).starts_with(plain),
            Shape::Wild(glob) => glob.matches(Path::new(path)),
        })
    }

    #[test]
    fn wildcards_match_what_they_should() {
        let cases = [
            ("/p/**/*.env", "/p/a.env", true),
            ("/p/**/*.env", "/p/.env", true),
            ("/p/**/*.env", "/p/a/b/c.env", true),
            ("/p/**/*.env", "/p/a.environment", false),
            ("/p/**/*.env", "/q/a.env", false),
            ("/p/*.env", "/p/a/b.env", false),
            ("/p/*/b", "/p/a/b", true),
            ("/p/*/b", "/p/b", false),
            ("/p/?.c", "/p/\u{fc}.c", true),
            ("/p/?.c", "/p/ab.c", false),
            ("/p/[a-c]x", "/p/bx", true),
            ("/p/[!a-c]x", "/p/bx", false),
            ("/p/[!a-c]x", "/p/dx", true),
            ("/p/[]a]x", "/p/]x", true),
            ("/p/[ab", "/p/[ab", true),
            ("/p/[ab", "/p/a", false),
            ("/p/{a,b*}.key", "/p/bcd.key", true),
            ("/p/{a,{x,y}}.key", "/p/y.key", true),
            ("/p/{a,b}.key", "/p/c.key", false),
            ("/p/{a", "/p/{a", true),
            ("/p/\\*", "/p/*", true),
            ("/p/\\*", "/p/a", false),
            ("/p/a/**", "/p/a/x/y", true),
            ("/p/**/a/**/b", "/p/x/a/y/z/b", true),
            ("/p/**/a/**/b", "/p/a/b", true),
            ("/p/**/a/*b*c", "/p/a/xbxbxcxc", true),
            ("/p/x/../*.y", "/p/a.y", true),
            ("/**/id_rsa", "/home/u/.ssh/id_rsa", true),
        ];
        for (pattern, path, expected) in cases {
            assert_eq!(matches(pattern, path), expected, "{pattern} on {path}");
        }
    }

    #[test]
    fn a_pattern_for_everything_below_is_the_directory() {
        for pattern in ["/p/a/**", "/p/a/**/*", "/p/a/**/**", "/p/a"] {
            assert_eq!(parse(pattern), Ok(vec![Shape::Plain("/p/a".into())]));
        }
    }

    fn wild(pattern: &str) -> Glob {
        let shapes = parse(pattern).unwrap();
        let [Shape::Wild(glob)] = shapes.as_slice() else {
            panic!("{shapes:?}");
        };
        glob.clone()
    }

    /// Where a search is below the base, and whether the last name completes a match.
    fn search(glob: &Glob, names: &[&str]) -> (Vec<usize>, bool) {
        let mut places = glob.begin();
        let mut is_match = false;
        for name in names {
            let mut next = Vec::new();
            is_match = places
                .iter()
                .any(|place| glob.completes(*place, name.as_bytes()));
            for place in places {
                glob.descend(place, name.as_bytes(), &mut next);
            }
            places = next;
        }
        (places, is_match)
    }

    #[test]
    fn a_search_goes_only_where_a_match_can_be() {
        let glob = wild("/p/a*/b/*.key");
        let reached = |names: &[&str]| !search(&glob, names).0.is_empty();
        assert!(reached(&[]) && reached(&["ax"]) && reached(&["ax", "b"]));
        assert!(!reached(&["x"]) && !reached(&["ax", "b", "c"]) && !reached(&["ax", "c"]));
    }

    #[test]
    fn a_search_finds_what_matches() {
        let patterns = [
            "/p/**/*.env",
            "/p/*.env",
            "/p/*/**",
            "/p/**/a/**/b",
            "/p/a*/**/b",
            "/p/**/a/?/**",
            "/p/**/**/b",
        ];
        let names = ["a", "b", "ab", "x.env", ".env"];
        let mut paths = vec![Vec::new()];
        for length in 0..4 {
            let longer = paths.iter().filter(|path| path.len() == length);
            let longer: Vec<_> = longer
                .flat_map(|path| names.map(|name| [path.as_slice(), &[name]].concat()))
                .collect();
            paths.extend(longer);
        }
        for pattern in patterns {
            let glob = wild(pattern);
            for path in &paths {
                let whole = Path::new("/p").join(path.join("/"));
                let found = search(&glob, path).1;
                assert_eq!(found, glob.matches(&whole), "{pattern} on {whole:?}");
            }
        }
    }

    #[test]
    fn too_many_alternatives_are_refused() {
        let pattern = format!("/p/{}", "{a,b}".repeat(9));
        assert_eq!(parse(&pattern), Err("it stands for more than 256 patterns"));
    }

    #[test]
    fn a_hostile_pattern_takes_no_time() {
        let pattern = format!("/p/{}", "*a".repeat(60));
        let path = format!("/p/{}", "a".repeat(4000));
        assert!(matches(&pattern, &path));
        assert!(!matches(&format!("{pattern}b"), &path));
    }

    #[test]
    fn the_first_pattern_that_matches_is_found_as_by_asking_all() {
        let patterns = [
            "/a/b/**/*.key",
            "/a/**/x*",
            "/a/*/c",
            "/**/*.key",
            "/a/b/?/d",
            "/a/b/c/d/*e",
        ];
        let shapes = patterns.map(|pattern| parse(pattern).unwrap().remove(0));
        let globs = shapes.map(|shape| match shape {
            Shape::Wild(glob) => glob,
            Shape::Plain(path) => panic!("{}", path.display()),
        });
        let globs = Globs::from(globs.to_vec());
        let names = ["a", "b", "c", "d", "x1", "s.key", "fe"];
        let mut paths = vec![PathBuf::from("/")];
        let mut from = 0;
        for _ in 0..4 {
            let to = paths.len();
            for number in from..to {
                paths.extend(names.map(|name| paths[number].join(name)));
            }
            from = to;
        }
        for path in &paths {
            for least in 0..4 {
                let parts = || {
                    let parts = path.ancestors();
                    parts.take_while(|part| part.iter().count() > least)
                };
                let mut all = globs.all().iter();
                let expected = all.find(|glob| parts().any(|part| glob.matches(part)));
                assert_eq!(
                    globs.around(path, least),
                    expected,
                    "{} {least}",
                    path.display()
                );
            }
        }
    }
}
