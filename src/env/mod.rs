//! Environments: the places where processes run and files live.

pub mod local;
