//! Configuration files of Rostrum's programs: one TOML file each, unknown keys refused.
//!
//! [`parse`] is pure; [`load`] reads the file first. An error names the file, the line and, for a
//! misspelt key, the nearest name that exists.

use std::path::Path;

use serde::de::DeserializeOwned;

/// Why a configuration was not taken. The message is for the person who wrote the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {file}: {source}; check that it exists and is readable")]
    Read {
        /// The file's path.
        file: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file's text is not valid.
    #[error("{file}:{line}: {message}{hint}")]
    Parse {
        /// The file's path.
        file: String,
        /// Line, counted from 1.
        line: usize,
        /// What is wrong.
        message: String,
        /// "; did you mean `x`?", or empty.
        hint: String,
    },
}

/// Reads and parses a configuration file.
///
/// # Errors
/// [`ConfigError::Read`] when the file cannot be read, [`ConfigError::Parse`] as [`parse`].
pub fn load<T: DeserializeOwned>(file: &Path) -> Result<T, ConfigError> {
    let name = file.display().to_string();
    let text =
        std::fs::read_to_string(file).map_err(|source| ConfigError::Read { file: name.clone(), source })?;
    parse(&name, &text)
}

/// Parses the text of a configuration file. `T` should be `#[serde(deny_unknown_fields)]`.
///
/// `file` is used in messages only.
///
/// # Errors
/// [`ConfigError::Parse`] with the line and, for an unknown key or value, the nearest known one.
pub fn parse<T: DeserializeOwned>(file: &str, text: &str) -> Result<T, ConfigError> {
    toml::from_str(text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start.min(text.len()));
        let line = text.as_bytes()[..start].iter().filter(|b| **b == b'\n').count() + 1;
        let message = error.message().trim().to_string();
        let hint = nearest(&message).map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
        ConfigError::Parse { file: file.to_string(), line, message, hint }
    })
}

/// The known name nearest to the unknown one in one of serde's messages
/// ("unknown field `a`, expected one of `b`, `c`"; the same with "variant").
fn nearest(message: &str) -> Option<&str> {
    let rest = message.strip_prefix("unknown field ").or_else(|| message.strip_prefix("unknown variant "))?;
    let mut names = rest.split('`').skip(1).step_by(2);
    let wrong = names.next()?;
    names
        .map(|name| (strsim::damerau_levenshtein(wrong, name), name))
        .filter(|(distance, name)| *distance <= 1 + wrong.len().max(name.len()) / 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Config {
        #[allow(dead_code)]
        listen: Option<String>,
        #[allow(dead_code)]
        room: Option<Room>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Room {
        #[allow(dead_code)]
        camera: Option<String>,
        #[allow(dead_code)]
        music: Option<bool>,
    }

    #[test]
    fn a_misspelt_key_is_named_with_its_line_and_the_nearest_name() {
        let error = parse::<Config>("room.toml", "listen = \"x\"\n\n[room]\ncamra = \"0\"\n").unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("room.toml:4: unknown field `camra`"), "{text}");
        assert!(text.ends_with("; did you mean `camera`?"), "{text}");
    }

    #[test]
    fn a_wrong_type_is_named_with_its_line() {
        let text = parse::<Config>("room.toml", "[room]\nmusic = 3\n").unwrap_err().to_string();
        assert!(text.starts_with("room.toml:2: "), "{text}");
    }

    #[test]
    fn a_strange_key_gets_no_silly_hint() {
        let text = parse::<Config>("room.toml", "zzzzzz = 3\n").unwrap_err().to_string();
        assert!(!text.contains("did you mean"), "{text}");
    }

    #[test]
    fn a_missing_file_is_named() {
        let text = load::<Config>(Path::new("no/such.toml")).unwrap_err().to_string();
        assert!(text.contains("no/such.toml"), "{text}");
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,200}(\n\\PC{0,50}){0,3}") {
            let _ = parse::<Config>("f", &text);
        }
    }
}
