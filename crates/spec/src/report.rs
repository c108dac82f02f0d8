//! Collects broken rules, so that an answer names all of them.

use marathon_model::command::Violation;

/// A definition can break a rule in a hundred thousand places; nobody reads that answer.
const VIOLATIONS_MAX: usize = 200;

#[derive(Debug, Default)]
pub struct Report(Vec<Violation>);

impl Report {
    pub fn add(&mut self, path: impl Into<String>, message: impl Into<String>) {
        let violation = Violation::new(path, message);
        if self.0.len() < VIOLATIONS_MAX && !self.0.contains(&violation) {
            self.0.push(violation);
        }
    }

    /// Path and text are only made where the rule is broken.
    pub fn require(&mut self, holds: bool, broken: impl FnOnce() -> (String, String)) {
        if !holds && self.0.len() < VIOLATIONS_MAX {
            let (path, message) = broken();
            self.add(path, message);
        }
    }

    pub fn into_violations(self) -> Vec<Violation> {
        self.0
    }

    pub fn into_result<T>(self, value: T) -> Result<T, Vec<Violation>> {
        if self.0.is_empty() { Ok(value) } else { Err(self.0) }
    }
}

/// A fraction as the original prints it: `1.0`, `0.5`.
pub fn fraction(number: f64) -> String {
    format!("{number:?}")
}

pub fn feature_disabled(feature: &str) -> String {
    // The unbalanced bracket is the original's; clients have seen this text for years.
    format!("Feature {feature} is not enabled. Enable with --enable_features {feature})")
}
