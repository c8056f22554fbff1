//! Method by method: same, intended difference, or wrong.

use std::collections::{BTreeMap, BTreeSet};

use super::case::Case;
use super::differences::reason;
use crate::outcome::Tally;
use crate::subject::Generation;
use support::recorded::fields::Fields;

/// What one method came to.
#[derive(Default)]
struct Method {
    cases: usize,
    same: usize,
    intended: usize,
    reasons: BTreeSet<&'static str>,
    wrong: Vec<String>,
}

/// What one setting came to.
pub struct Report {
    generation: Generation,
    methods: BTreeMap<&'static str, Method>,
}

impl Report {
    /// Nothing was played yet.
    pub fn new(generation: Generation) -> Self {
        Self {
            generation,
            methods: BTreeMap::new(),
        }
    }

    /// Adds what a case came to with the reference and with ours.
    pub fn add(
        &mut self,
        case: &Case,
        theirs: Result<Fields, String>,
        ours: Result<Fields, String>,
    ) {
        let method = self.methods.entry(case.method).or_default();
        method.cases += 1;
        let (theirs, ours) = match (theirs, ours) {
            (Ok(theirs), Ok(ours)) => (theirs, ours),
            (Err(why), _) => {
                return method
                    .wrong
                    .push(format!("{}: the reference: {why}", case.name));
            }
            (_, Err(why)) => return method.wrong.push(format!("{}: ours: {why}", case.name)),
        };
        let (mut wrong, mut intended) = (Vec::new(), false);
        let pointers: BTreeSet<&String> = theirs.keys().chain(ours.keys()).collect();
        for pointer in pointers {
            let (theirs, ours) = (theirs.get(pointer), ours.get(pointer));
            if theirs == ours {
                continue;
            }
            match reason(
                case,
                self.generation,
                pointer,
                theirs.map(String::as_str),
                ours.map(String::as_str),
            ) {
                Some(reason) => {
                    intended = true;
                    method.reasons.insert(reason);
                }
                None => {
                    let show = |value: Option<&String>| {
                        format!("{:.300}", value.map_or("nothing", String::as_str))
                    };
                    wrong.push(format!(
                        "{}: {pointer}\n        theirs {}\n        ours   {}",
                        case.name,
                        show(theirs),
                        show(ours)
                    ));
                }
            }
        }
        method.same += usize::from(wrong.is_empty() && !intended);
        method.intended += usize::from(wrong.is_empty() && intended);
        method.wrong.extend(wrong);
    }

    /// Tells every method, and counts its cases.
    pub fn print(&self, setting: &str, tally: &mut Tally) {
        if self.methods.is_empty() {
            return;
        }
        println!("\n{setting}");
        for (name, method) in &self.methods {
            let wrong = method.cases - method.same - method.intended;
            tally.same += method.same;
            tally.intended += method.intended;
            tally.wrong += wrong;
            let verdict = match (wrong, method.intended) {
                (0, 0) => format!("same ({})", method.cases),
                (0, intended) => {
                    format!("intended difference ({} same, {intended} not)", method.same)
                }
                _ => format!("WRONG ({wrong} of {})", method.cases),
            };
            println!("  {name:<28} {verdict}");
            for reason in &method.reasons {
                println!("      - {reason}");
            }
            for wrong in &method.wrong {
                println!("      ! {wrong}");
            }
        }
    }
}
