//! Every method of the protocol, described once: its name, its parameters, its reply, and what of it
//! is an extension. The server decodes by it and the client encodes by it, so the two cannot differ.
//!
//! The order of the fields counts: positional parameters are matched by it, and replies are written
//! in it. Names of the types of parameters are part of error messages that clients see.

// What a name says needs no comment; PROTOCOL.md has a sentence on every member.
#![allow(missing_docs)]

pub mod discovery;
pub mod fs;
pub mod http;
#[cfg(test)]
mod openrpc;
pub mod process;
pub mod session;

use serde::{Deserialize, Deserializer, Serialize};

/// A method that a client calls, or a notification that a server sends.
pub trait Method: 'static {
    /// What it is called in a message.
    const NAME: &'static str;
    /// What `capabilities.execServer.extensions` says of it: its name if the reference has no such
    /// method, and `NAME.member` for what the reference does not have in it.
    const EXTENSIONS: &'static [&'static str];
    /// Whether a string of its parameters may be most of a large message, and is worth a decoder that
    /// is quick with those; it is code for every type.
    const HAS_LONG_TEXT: bool = false;
    /// The `params` of a call or a notification.
    type Params<'a>: Serialize + Deserialize<'a>;
    /// The `result` of a call.
    type Reply<'a>: Serialize + Deserialize<'a>;
}

/// Declares the methods of a family, one a line, and `EXTENSIONS`, what is announced of them all.
macro_rules! methods {
    ($(
        $(#[$attribute:meta])*
        $method:ident = $name:literal ($params:ty) -> $reply:ty, extensions $extensions:expr
            $(, long text $has_long_text:literal)?;
    )+) => {
        $(
            #[doc = concat!("`", $name, "`.")]
            $(#[$attribute])*
            #[derive(Clone, Copy, Debug)]
            pub enum $method {}

            impl $crate::rpc::methods::Method for $method {
                const NAME: &'static str = $name;
                const EXTENSIONS: &'static [&'static str] = &$extensions;
                $(const HAS_LONG_TEXT: bool = $has_long_text;)?
                type Params<'a> = $params;
                type Reply<'a> = $reply;
            }
        )+

        /// The names of all of them, and what is announced of each.
        pub(crate) const ALL: &[(&str, &[&str])] = &[$(
            (
                <$method as $crate::rpc::methods::Method>::NAME,
                <$method as $crate::rpc::methods::Method>::EXTENSIONS,
            ),
        )+];

        /// The schemas of the parameters and of the reply of each.
        #[cfg(test)]
        pub(crate) fn schemas(generator: &mut schemars::SchemaGenerator) -> Vec<[schemars::Schema; 2]> {
            vec![$({
                type Method = $method;
                [
                    generator.subschema_for::<<Method as $crate::rpc::methods::Method>::Params<'static>>(),
                    generator.subschema_for::<<Method as $crate::rpc::methods::Method>::Reply<'static>>(),
                ]
            }),+]
        }
    };
}
pub(crate) use methods;

/// All methods and notifications by name, with what is announced of each.
pub fn all() -> impl Iterator<Item = (&'static str, &'static [&'static str])> {
    let families = [
        session::ALL,
        fs::ALL,
        process::ALL,
        http::ALL,
        discovery::ALL,
    ];
    families.into_iter().flatten().copied()
}

/// What a server sends without being asked.
#[cfg(test)]
pub(crate) const NOTIFICATIONS: [&str; 6] = [
    fs::Changed::NAME,
    fs::MissingChanged::NAME,
    http::BodyDelta::NAME,
    process::Closed::NAME,
    process::Exited::NAME,
    process::Output::NAME,
];

/// What this program can do beyond the reference, as it announces it.
pub fn extensions() -> impl Iterator<Item = &'static str> {
    all().flat_map(|(_, extensions)| extensions).copied()
}

/// The reply of what has nothing to tell.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Empty {}

/// The parameters of what needs none: whatever comes is passed over.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, Serialize)]
pub struct NoParams {}

impl<'de> Deserialize<'de> for NoParams {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde::de::IgnoredAny::deserialize(deserializer).map(|_| Self {})
    }
}

/// The reply of a notification: none ever comes.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Never {}

fn is_false(value: &bool) -> bool {
    !value
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn what_is_announced_is_named_after_its_method_and_comes_once() {
        let mut names = BTreeSet::new();
        let mut announced = BTreeSet::new();
        for (name, extensions) in all() {
            assert!(names.insert(name), "{name} comes twice");
            for extension in extensions {
                let member = extension.strip_prefix(name);
                let is_named = member.is_some_and(|it| it.is_empty() || it.starts_with('.'));
                assert!(is_named, "{extension} of {name}");
                assert!(announced.insert(extension), "{extension} comes twice");
            }
        }
    }
}
