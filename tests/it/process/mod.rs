//! Processes: how they start, what they are given, what is heard of them, and how they end.

mod descendants;
mod environment;
mod exit;
mod isolation;
mod limits;
mod list;
mod order;
mod read;
mod run;
mod signal;
mod start;
mod stdin;
mod terminal;
mod terminate;
mod traced;
