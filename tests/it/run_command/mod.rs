//! `exec-server run`, on environments of every kind.

mod confined;
mod ends;
mod hostile;
mod losses;
mod place;
mod signals;
mod streams;
mod terminal;
mod usage;
