//! What a bwrap can do.

/// What a bwrap can do beyond what every one can.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// `--perms`, without which a bwrap is of no use here.
    pub perms: bool,
    /// `--bind-fd` and `--ro-bind-fd`
    pub bind_fd: bool,
}

impl Capabilities {
    /// Reads them off what `--help` prints.
    pub fn from_help(text: &str) -> Self {
        let has = |option: &str| text.split_whitespace().any(|word| word == option);
        Self {
            perms: has("--perms"),
            bind_fd: has("--bind-fd") && has("--ro-bind-fd"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_options_count() {
        let text = "\n    --perms OCTAL   Set permissions\n --bind-fd-not FD\n--argv0 VALUE, --ro-bind-fd FD DEST\n";
        let expected = Capabilities {
            perms: true,
            ..Capabilities::default()
        };
        assert_eq!(Capabilities::from_help(text), expected);
    }
}
