//! The wire: what messages look like and how they become values.

pub mod path_uri;
pub mod protocol;
