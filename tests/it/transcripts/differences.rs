//! Where ours answers otherwise than the reference, and why.

/// One intended difference.
#[derive(Debug)]
pub struct Difference {
    /// The exchange, or `*` for any.
    name: &'static str,
    /// The reference's version, or `*` for both.
    version: &'static str,
    /// What differs: a pointer whose segments may be `*`, with everything below it.
    at: &'static str,
    /// The reason.
    #[allow(dead_code, reason = "for the reader of this table and of a failure")]
    why: &'static str,
}

impl Difference {
    /// Whether this row is about that field of that exchange.
    pub fn explains(&self, name: &str, version: &str, pointer: &str) -> bool {
        let mut segments = pointer.split('/');
        (self.name == "*" || self.name == name)
            && (self.version == "*" || self.version == version)
            && self.at.split('/').all(|wanted| {
                segments
                    .next()
                    .is_some_and(|its| wanted == "*" || wanted == its)
            })
    }
}

const fn row(
    name: &'static str,
    version: &'static str,
    at: &'static str,
    why: &'static str,
) -> Difference {
    Difference {
        name,
        version,
        at,
        why,
    }
}

/// The table: exchange, version, field, reason.
pub const DIFFERENCES: &[Difference] = &[row(
    "*",
    "0.130.0",
    "/*/result/environmentInfo",
    "one server for both: 0.169's fields are in every answer",
)];
