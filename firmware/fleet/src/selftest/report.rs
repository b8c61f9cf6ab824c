//! Results.

use rostrum_hal::selftest::{Check, Outcome};
use serde::Serialize;

/// All checks, in the order in which they ran.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// One for each part; several for some.
    pub checks: Vec<Check>,
}

impl Report {
    /// Nothing failed.
    pub fn passed(&self) -> bool {
        !self.checks.iter().any(|check| matches!(check.outcome, Outcome::Failed { .. }))
    }

    /// A table for people.
    pub fn table(&self) -> String {
        let width = self.checks.iter().map(|check| check.name.chars().count()).max().unwrap_or(0);
        self.checks.iter().map(|check| lines(check, width)).collect()
    }
}

/// A check by itself, for people.
pub fn line(check: &Check) -> String {
    lines(check, 0).trim_end().to_owned()
}

/// The line of the table for a check, and one more for what to do; names are `width` wide.
fn lines(check: &Check, width: usize) -> String {
    let (word, note, remedy) = match &check.outcome {
        Outcome::Passed => ("passed ", "", ""),
        Outcome::Failed { problem, remedy } => ("FAILED ", problem.as_str(), remedy.as_str()),
        Outcome::Skipped { reason } => ("skipped", reason.as_str(), ""),
    };
    let figures: Vec<_> = check.figures.iter().map(ToString::to_string).collect();
    let notes: Vec<_> =
        [note, &figures.join(", ")].into_iter().filter(|text| !text.is_empty()).map(str::to_owned).collect();
    let mut lines = format!("{:width$}  {word}  {}", check.name, notes.join("; ")).trim_end().to_owned();
    if !remedy.is_empty() {
        lines += &format!("\n{:width$}           {remedy}", "");
    }
    lines + "\n"
}

#[cfg(test)]
mod tests {
    use rostrum_hal::selftest::Figure;

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
