//! Rounds of commands and copies over a network that breaks at random: for `make chaos`, and a few for every test run.

mod dice;
mod proxy;
mod round;

pub use dice::Dice;
pub use round::{Field, Sizes};
