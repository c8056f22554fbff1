//! What to run: everything, one part, or what has a word in its name.

const USAGE: &str = "usage: interop [wire|client|offer|config|flags|cli] [WORD]...\n\
    Runs all parts, or one; with WORDs only what has one of them in its name.";

/// The command line.
pub struct Options {
    pub wire: bool,
    pub client: bool,
    pub offer: bool,
    pub config: bool,
    pub flags: bool,
    pub cli: bool,
    words: Vec<String>,
}

impl Options {
    /// Reads the arguments; the error is the usage.
    pub fn parse(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            wire: true,
            client: true,
            offer: true,
            config: true,
            flags: true,
            cli: true,
            words: Vec::new(),
        };
        for (number, argument) in arguments.enumerate() {
            match argument.as_str() {
                part @ ("wire" | "client" | "offer" | "config" | "flags" | "cli")
                    if number == 0 =>
                {
                    options.wire = part == "wire";
                    options.client = part == "client";
                    options.offer = part == "offer";
                    options.config = part == "config";
                    options.flags = part == "flags";
                    options.cli = part == "cli";
                }
                // cargo bench adds it, to whatever it runs.
                "--bench" => {}
                flag if flag.starts_with('-') => {
                    return Err(format!("no such flag: {flag}\n{USAGE}"));
                }
                word => options.words.push(word.to_string()),
            }
        }
        Ok(options)
    }

    /// Whether something of that name is wanted.
    pub fn wants(&self, name: &str) -> bool {
        self.words.is_empty() || self.words.iter().any(|word| name.contains(word.as_str()))
    }
}
