//! Confinement, as an attacker and as its users meet it.

mod upstream;
