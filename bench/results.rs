//! Every figure of the run, by workload, subject and key.

use std::collections::HashMap;

use crate::row::{Goal, Row};
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
}

/// Whether a goal is met, and how far off it is.
pub struct Verdict {
    /// `None`: what it is compared with was not measured.
    pub met: Option<bool>,
    pub goal: String,
}

impl Results {
    pub fn add(&mut self, workload: Workload, subject: Subject, key: &str, value: f64) {
        self.figures
            .entry((workload.name(), subject.name(), key.to_owned()))
            .or_default()
            .push(value);
    }

    pub fn figure(&self, workload: Workload, subject: Subject, key: &str) -> Option<Figure> {
        let key = (workload.name(), subject.name(), key.to_owned());
        Figure::of(self.figures.get(&key)?)
    }

    /// Holds a row's goal against what was measured.
    pub fn verdict(&self, workload: Workload, row: &Row) -> Option<Verdict> {
        let ours = self.figure(workload, Subject::Ours, row.key);
        let floor = |key| self.figure(workload, Subject::Floor, key).map(|f| f.median);
        let name = |key| {
            let named = row.floors.iter().find(|(floor, _)| *floor == key);
            named.map_or(key, |(_, name)| *name)
        };
        let (goal, limit) = match row.goal? {
            Goal::Limit(limit) => (format!("at most {}", row.unit.show(limit)), Some(limit)),
            Goal::TimesFloor(factor, key) => (
                format!("at most {factor} x {}", name(key)),
                floor(key).map(|floor| floor * factor),
            ),
            Goal::ShareOfFloor(share, key) => (
                format!("at least {:.0} % of {}", share * 100.0, name(key)),
                floor(key).map(|floor| floor * share),
            ),
            Goal::TimesRow(factor, key) => {
                let other = workload.rows().iter().find(|row| row.key == key);
                let ours = self.figure(workload, Subject::Ours, key);
                (
                    format!("at most {factor} x {}", other.map_or(key, |row| row.label)),
                    ours.map(|ours| ours.median * factor),
                )
            }
            Goal::TimesReference(factor) => (
                format!("at least {factor} x the references"),
                self.best_reference(workload, row).map(|best| best * factor),
            ),
        };
        let met = ours.zip(limit).map(|(ours, limit)| {
            if row.unit.more_is_better() {
                ours.median >= limit
            } else {
                ours.median <= limit
            }
        });
        Some(Verdict { met, goal })
    }

    fn best_reference(&self, workload: Workload, row: &Row) -> Option<f64> {
        [Subject::Reference0130, Subject::Reference0169]
            .into_iter()
            .filter_map(|subject| self.figure(workload, subject, row.key))
            .map(|figure| figure.median)
            .reduce(if row.unit.more_is_better() {
                f64::max
            } else {
                f64::min
            })
    }
}
