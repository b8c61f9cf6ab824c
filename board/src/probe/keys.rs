//! Keys of a section of a profile, in the order in which people read them.

use toml::Value;

use crate::Section;

/// The keys of one section; `driver` first.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Keys(Vec<(&'static str, Value)>);

impl Keys {
    pub(super) fn of(driver: &str) -> Self {
        Self(vec![("driver", driver.into())])
    }

    pub(super) fn with(mut self, key: &'static str, value: impl Into<Value>) -> Self {
        self.0.push((key, value.into()));
        self
    }

    /// The same as a profile has it.
    pub(super) fn section(&self) -> Section {
        let mut options: toml::Table =
            self.0.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
        let driver = match options.remove("driver") {
            Some(Value::String(driver)) => driver,
            _ => String::new(),
        };
        Section { driver, options }
    }

    /// `key = value` a line.
    pub(super) fn lines(&self) -> String {
        self.0.iter().map(|(key, value)| format!("{key} = {value}\n")).collect()
    }

    /// All in one line, without the braces of an inline table.
    pub(super) fn one_line(&self) -> String {
        let all: Vec<_> = self.0.iter().map(|(key, value)| format!("{key} = {value}")).collect();
        all.join(", ")
    }
}
