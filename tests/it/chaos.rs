//! A few short rounds of `make chaos`, always the same ones.

use crate::support::chaos::{Field, Sizes};

#[test]
fn what_runs_and_is_copied_over_a_bad_network_arrives_whole() {
    let field = Field::new(Sizes {
        output: 16 << 20,
        file: 32 << 20,
    });
    let mut faults = 0;
    for seed in 1..=3 {
        match field.play(seed) {
            Ok(count) => faults += count,
            Err(why) => panic!("seed {seed}: {why}"),
        }
    }
    assert!(faults > 3, "only {faults} faults");
}
