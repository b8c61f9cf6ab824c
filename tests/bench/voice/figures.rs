//! Figures by name, over many rooms.

use std::collections::BTreeMap;
use std::io::Write;

use rostrum_acoustics::scores::median;
use serde_json::{Map, Value, json};

/// All values of each figure.
#[derive(Default)]
pub(crate) struct Figures(BTreeMap<String, Vec<f64>>);

/// Whether less of it is better.
fn lower_is_better(name: &str) -> bool {
    ["cpu", "delay", "gain_difference", "percent_estimate"].iter().any(|part| name.contains(part))
}

fn round(value: f64) -> Value {
    if value.is_finite() { json!((value * 1000.0).round() / 1000.0) } else { Value::Null }
}

impl Figures {
    /// Adds the value of one room.
    pub(crate) fn add(&mut self, name: impl Into<String>, value: f64) {
        let name = name.into();
        let _ = writeln!(std::io::stderr(), "{name}: {value:.2}");
        self.0.entry(name).or_default().push(value);
    }

    /// Medians by name, and the worst of each in `worst`.
    pub(crate) fn json(&self) -> Map<String, Value> {
        let mut out = Map::new();
        let mut worst = Map::new();
        for (name, values) in &self.0 {
            out.insert(name.clone(), round(median(values)));
            let fold = if lower_is_better(name) { f64::max } else { f64::min };
            worst.insert(name.clone(), round(values.iter().copied().reduce(fold).unwrap_or(f64::NAN)));
        }
        out.insert("worst".into(), Value::Object(worst));
        out
    }
}

/// Prints one line.
pub(crate) fn print(value: &Value) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{value}")?;
    Ok(out.flush()?)
}
