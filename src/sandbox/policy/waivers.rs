//! Protections that may be given up where the launcher at hand cannot enforce them.
//!
//! Only what the server adds of its own accord can be given up, never an entry of a client. Nothing is given up where it
//! can be enforced.

use serde::de::{Deserialize, Deserializer, Error};

/// What may be given up: by a client for one request (`acceptWeaker`), or by an operator for all (`--accept-weaker`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Waivers {
    /// The protection of `.git` and the like in directories that may be written.
    pub metadata: bool,
}

impl Waivers {
    /// Adds what the names stand for, which are separated by commas.
    ///
    /// # Errors
    /// What the names may be.
    pub fn add(&mut self, names: &str) -> Result<(), String> {
        names.split(',').try_for_each(|name| match name {
            "metadata" => {
                self.metadata = true;
                Ok(())
            }
            _ => Err("expected metadata, the only protection that can be given up".to_owned()),
        })
    }

    /// The names, as [`Waivers::add`] takes them one by one.
    pub fn names(self) -> Vec<&'static str> {
        let named = self.metadata.then_some("metadata");
        named.into_iter().collect()
    }

    /// What one of the two gives up.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            metadata: self.metadata || other.metadata,
        }
    }
}

impl<'de> Deserialize<'de> for Waivers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut waivers = Self::default();
        for name in Vec::<String>::deserialize(deserializer)? {
            let added = waivers.add(&name);
            added.map_err(|fault| {
                D::Error::custom(format_args!("acceptWeaker `{name}`: {fault}"))
            })?;
        }
        Ok(waivers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_a_closed_set() {
        let mut waivers = Waivers::default();
        assert_eq!(waivers.names(), [""; 0]);
        for names in ["", "files", "metadata,", "Metadata"] {
            assert!(waivers.add(names).is_err(), "{names}");
        }
        let mut waivers = Waivers::default();
        waivers.add("metadata,metadata").unwrap();
        assert_eq!(waivers.names(), ["metadata"]);
        assert_eq!(Waivers::default().or(waivers), waivers);
        assert!(serde_json::from_str::<Waivers>(r#"["network"]"#).is_err());
        let read: Waivers = serde_json::from_str(r#"["metadata"]"#).unwrap();
        assert_eq!(read, waivers);
    }
}
