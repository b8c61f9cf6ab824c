//! GPIO lines.

use serde::Serialize;

use super::table::Row;

/// One chip.
#[derive(Clone, Debug, Default, Serialize)]
pub struct GpioChip {
    /// Its name now, such as `gpiochip0`; may change from start to start.
    pub name: String,
    /// Given by its driver, such as `pinctrl-bcm2711`.
    pub label: String,
    /// Lines that it has.
    pub count: usize,
    /// Those that have a name or are in use.
    pub lines: Vec<GpioLine>,
}

/// One line of a chip.
#[derive(Clone, Debug, Serialize)]
pub struct GpioLine {
    /// Its number on the chip.
    pub number: u32,
    /// Its name; empty when it has none.
    pub name: String,
    /// Who uses it.
    pub used_by: Option<String>,
}

impl GpioChip {
    /// The name that a profile gives it among `all`: its label, unless another has that too.
    pub(super) fn profile_name<'a>(&'a self, all: &[Self]) -> &'a str {
        let same = all.iter().filter(|chip| chip.label == self.label).count();
        if same > 1 || self.label.is_empty() { &self.name } else { &self.label }
    }

    pub(super) fn row(&self, all: &[Self]) -> Row {
        let names: Vec<_> =
            self.lines.iter().map(|line| line.name.as_str()).filter(|n| !n.is_empty()).collect();
        let used: Vec<_> = self
            .lines
            .iter()
            .filter_map(|line| Some(format!("{} ({})", line.number, line.used_by.as_ref()?)))
            .collect();
        let mut details = Vec::new();
        if !names.is_empty() {
            details.push(format!("lines with names: {}", names.join(", ")));
        }
        if !used.is_empty() {
            details.push(format!("in use: {}", used.join(", ")));
        }
        let line = names.first().map_or("0".into(), |name| toml::Value::from(*name).to_string());
        let chip = toml::Value::from(self.profile_name(all));
        let key = format!(
            "driver = \"gpio\", chip = {chip}, line = {line} of [buttons], [mute_switch], [indicators]"
        );
        Row { what: format!("{} ({}, {} lines)", self.label, self.name, self.count), details, key }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chip_is_named_by_its_label_unless_another_has_it_too() {
        let chip = |name: &str, label: &str| GpioChip {
            name: name.into(),
            label: label.into(),
            ..GpioChip::default()
        };
        let all =
            [chip("gpiochip0", "pinctrl"), chip("gpiochip1", "expander"), chip("gpiochip2", "expander")];
        let names: Vec<_> = all.iter().map(|chip| chip.profile_name(&all)).collect();
        assert_eq!(names, ["pinctrl", "gpiochip1", "gpiochip2"]);
    }
}
