//! x
use crate::binaries::Binaries;
use crate::isolation::Place;
use crate::options::Options;
use crate::outcome::Tally;
pub fn run(_: &Options, _: &Place, _: &Binaries, _: &mut Tally) {}
