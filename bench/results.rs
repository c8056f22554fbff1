//! Every figure of the run, by workload, subject and key.

use std::collections::HashMap;

use crate::sample::Figure;
use crate::subject::Subject;
use crate::workload::Workload;

/// The figures of all rounds so far, and what went wrong.
#[derive(Default)]
pub struct Results {
    figures: HashMap<(&'static str, &'static str, String), Vec<f64>>,
    /// Sentences for the person, in the order they happened.
    pub failures: Vec<String>,
    /// Cores that others kept busy before each round.
    pub busy: Vec<f64>,
    /// What our server was built from, by its own word.
    pub commit: Option<String>,
}

impl Results {
    pub fn add(&mut self, workload: &'static Workload, subject: Subject, key: &str, value: f64) {
        self.figures
            .entry((workload.name, subject.name(), key.to_owned()))
            .or_default()
            .push(value);
    }

    /// Whether anything was measured on it.
    pub fn has(&self, wanted: Subject) -> bool {
        self.figures
            .keys()
            .any(|(_, subject, _)| *subject == wanted.name())
    }

    pub fn figure(
        &self,
        workload: &'static Workload,
        subject: Subject,
        key: &str,
    ) -> Option<Figure> {
        let key = (workload.name, subject.name(), key.to_owned());
        Figure::of(self.figures.get(&key)?)
    }
}
