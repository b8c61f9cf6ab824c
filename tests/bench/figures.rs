//! What a bench ends with.

use std::io::Write;

use serde_json::{Map, Value, json};

/// The figures of one bench.
#[derive(Default)]
pub(crate) struct Figures {
    figures: Vec<Value>,
    notes: Map<String, Value>,
}

impl Figures {
    /// Adds one; `peer` and `goal` where there are any. All of ours are better when lower.
    pub(crate) fn add(&mut self, name: &str, unit: &str, ours: f64, peer: Option<f64>, goal: Option<f64>) {
        let round = |value: f64| (value * 100.0).round() / 100.0;
        self.figures.push(json!({
            "name": name,
            "unit": unit,
            "ours": round(ours),
            "peer": peer.map(round),
            "ratio": peer.filter(|peer| *peer > 0.0).map(|peer| round(ours / peer)),
            "goal": goal.map(round),
            "lower_is_better": true,
        }));
    }

    /// What no figure says.
    pub(crate) fn note(&mut self, name: &str, text: &str) {
        self.notes.insert(name.to_owned(), text.into());
    }

    /// Prints them as the last line.
    pub(crate) fn print(self, bench: &str) -> anyhow::Result<()> {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{}", json!({"bench": bench, "figures": self.figures, "notes": self.notes}))?;
        Ok(out.flush()?)
    }
}

/// The value below which `percent` of the values lie.
pub(crate) fn percentile(values: &mut [f64], percent: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let index = (percent / 100.0 * values.len() as f64).ceil() as usize;
    values.get(index.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}
