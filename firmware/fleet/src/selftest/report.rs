//! Results.

use serde::Serialize;

/// All checks, in the order in which they ran.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// One for each part; several for some.
    pub checks: Vec<Check>,
}

/// What became of one part.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Check {
    /// The part.
    pub name: String,
    /// How it went.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// What was measured.
    pub figures: Vec<Figure>,
}

/// How a check went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// It works.
    Passed,
    /// It does not.
    Failed {
        /// What is wrong.
        problem: String,
        /// What to do.
        remedy: String,
    },
    /// It was not tested.
    Skipped {
        /// Why.
        reason: String,
    },
}

impl Outcome {
    pub(super) fn failed(problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Failed { problem: problem.into(), remedy: remedy.into() }
    }

    pub(super) fn skipped(reason: impl Into<String>) -> Self {
        Self::Skipped { reason: reason.into() }
    }

    pub(super) fn of(result: Result<(), Self>) -> Self {
        match result {
            Ok(()) => Self::Passed,
            Err(outcome) => outcome,
        }
    }
}

/// Something measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// What.
    pub name: String,
    /// How much.
    pub value: f64,
    /// Of what; empty for plain numbers.
    pub unit: &'static str,
}

impl Figure {
    pub(super) fn new(name: impl Into<String>, value: f64, unit: &'static str) -> Self {
        // Two decimals are more than any of this is worth.
        Self { name: name.into(), value: (value * 100.0).round() / 100.0, unit }
    }
}

impl std::fmt::Display for Figure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.name, self.value)?;
        if self.unit.is_empty() { Ok(()) } else { write!(f, " {}", self.unit) }
    }
}

impl Report {
    /// Nothing failed.
    pub fn passed(&self) -> bool {
        !self.checks.iter().any(|check| matches!(check.outcome, Outcome::Failed { .. }))
    }

    /// A table for people.
    pub fn table(&self) -> String {
        let width = self.checks.iter().map(|check| check.name.chars().count()).max().unwrap_or(0);
        self.checks.iter().map(|check| check.lines(width)).collect()
    }
}

impl Check {
    /// Its line of the table, and one more for what to do.
    fn lines(&self, width: usize) -> String {
        let (word, note, remedy) = match &self.outcome {
            Outcome::Passed => ("passed ", "", ""),
            Outcome::Failed { problem, remedy } => ("FAILED ", problem.as_str(), remedy.as_str()),
            Outcome::Skipped { reason } => ("skipped", reason.as_str(), ""),
        };
        let figures: Vec<_> = self.figures.iter().map(ToString::to_string).collect();
        let notes: Vec<_> = [note, &figures.join(", ")]
            .into_iter()
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
            .collect();
        let mut lines = format!("{:width$}  {word}  {}", self.name, notes.join("; ")).trim_end().to_owned();
        if !remedy.is_empty() {
            lines += &format!("\n{:width$}           {remedy}", "");
        }
        lines + "\n"
    }
}

impl std::fmt::Display for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.lines(0).trim_end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_a_table_and_data() {
        let report = Report {
            checks: vec![
                Check {
                    name: "camera".into(),
                    outcome: Outcome::Passed,
                    figures: vec![Figure::new("rate", 29.971, "Hz")],
                },
                Check {
                    name: "buttons".into(),
                    outcome: Outcome::skipped("nobody is there"),
                    figures: Vec::new(),
                },
                Check {
                    name: "clock".into(),
                    outcome: Outcome::failed("it is wrong", "set it"),
                    figures: Vec::new(),
                },
            ],
        };
        assert_eq!(
            report.table(),
            "camera   passed   rate 29.97 Hz\nbuttons  skipped  nobody is there\n\
             clock    FAILED   it is wrong\n                  set it\n"
        );
        assert!(!report.passed());
        let data = serde_json::to_value(&report).unwrap_or_default();
        assert_eq!(data["checks"][0]["outcome"], "passed");
        assert_eq!(data["checks"][0]["figures"][0]["unit"], "Hz");
        assert_eq!(data["checks"][2]["remedy"], "set it");
    }
}
