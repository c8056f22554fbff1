//! Numbers that look random, and are the same for the same seed.

use std::ops::Range;
use std::time::Duration;

/// A stream of numbers (splitmix64).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Any number.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// One of the range, each as likely.
    pub fn within(&mut self, range: Range<u64>) -> u64 {
        range.start + self.roll() % (range.end - range.start)
    }

    /// One of the range, each power of two as likely.
    pub fn magnitude(&mut self, powers: Range<u64>) -> u64 {
        let power = self.within(powers);
        (1 << power) + self.roll() % (1 << power)
    }

    /// Whether one chance in so many has come.
    pub fn one_in(&mut self, count: u64) -> bool {
        self.roll().is_multiple_of(count)
    }

    /// A time in this range of milliseconds.
    pub fn millis(&mut self, range: Range<u64>) -> Duration {
        Duration::from_millis(self.within(range))
    }
}
