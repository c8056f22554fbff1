//! The parts of PROTOCOL.md that the tests look at.

/// The document: sections headed `### \`name\``, and examples in and outside of them.
pub struct Document {
    sections: Vec<Section>,
    elsewhere: Vec<Example>,
}

/// What is said of one method or notification.
pub struct Section {
    /// Its name.
    pub name: String,
    /// Whether its heading ends in "(extension)".
    pub is_extension: bool,
    /// Everything up to the next heading.
    pub text: String,
    /// Its examples.
    pub examples: Vec<Example>,
}

/// A fenced block.
pub struct Example {
    /// Where it begins.
    pub line: usize,
    /// The words behind `rpc`.
    pub tags: Vec<String>,
    /// What is said.
    pub steps: Vec<Step>,
}

/// A line of an example, with those that continue it: they begin with three blanks, which do not count.
pub enum Step {
    /// The client sends it.
    Send(String),
    /// The server does.
    Receive(String),
    /// The connection is lost, and a new one made.
    Reconnect,
}

impl Document {
    /// Reads the text; fails the test if an example is not of the form.
    pub fn parse(text: &str) -> Self {
        let mut document = Self {
            sections: Vec::new(),
            elsewhere: Vec::new(),
        };
        let mut is_in_section = false;
        let mut lines = text.lines().zip(1..);
        while let Some((line, number)) = lines.next() {
            if line.starts_with('#') {
                let section = section(line);
                is_in_section = section.is_some();
                document.sections.extend(section);
                continue;
            }
            let example = line.strip_prefix("```").map(|tags| {
                let block: Vec<(&str, usize)> = lines
                    .by_ref()
                    .take_while(|(line, _)| *line != "```")
                    .collect();
                (tags.split_whitespace().map(str::to_owned), block)
            });
            let example = example.and_then(|(mut tags, block)| {
                (tags.next()? == "rpc").then(|| Example {
                    line: number,
                    tags: tags.collect(),
                    steps: steps(&block),
                })
            });
            match (is_in_section, document.sections.last_mut()) {
                (true, Some(section)) => {
                    section.text += line;
                    section.text += "\n";
                    section.examples.extend(example);
                }
                _ => document.elsewhere.extend(example),
            }
        }
        document
    }

    /// All sections.
    pub fn sections(&self) -> impl Iterator<Item = &Section> {
        self.sections.iter()
    }

    /// The section on one method or notification.
    pub fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.name == name)
    }

    /// All examples.
    pub fn examples(&self) -> impl Iterator<Item = &Example> {
        let inside = self.sections.iter().flat_map(|section| &section.examples);
        inside.chain(&self.elsewhere)
    }
}

fn section(heading: &str) -> Option<Section> {
    let (name, rest) = heading.strip_prefix("### `")?.split_once('`')?;
    Some(Section {
        name: name.to_owned(),
        is_extension: rest.ends_with("(extension)"),
        text: String::new(),
        examples: Vec::new(),
    })
}

fn steps(block: &[(&str, usize)]) -> Vec<Step> {
    let mut steps = Vec::new();
    for (line, number) in block {
        if *line == "~" {
            steps.push(Step::Reconnect);
        } else if let Some(line) = line.strip_prefix("> ") {
            steps.push(Step::Send(line.to_owned()));
        } else if let Some(line) = line.strip_prefix("< ") {
            steps.push(Step::Receive(line.to_owned()));
        } else {
            match (line.strip_prefix("   "), steps.last_mut()) {
                (Some(more), Some(Step::Send(line) | Step::Receive(line))) => *line += more,
                _ => panic!("PROTOCOL.md:{number}: neither `> ` nor `< `, `~` or three blanks"),
            }
        }
    }
    steps
}
