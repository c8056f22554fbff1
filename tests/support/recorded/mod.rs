//! Exchanges with the reference taken apart into fields, and where ours answers otherwise on purpose.

pub mod differences;
pub mod fields;
