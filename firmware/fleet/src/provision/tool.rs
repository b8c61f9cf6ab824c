//! Programs of e2fsprogs.

use std::process::{Command, Stdio};

use super::ProvisionError;

/// Runs `program`, which other users than root have not in their path, and gives what it printed.
pub(super) fn run(program: &'static str, arguments: &[&str]) -> Result<String, ProvisionError> {
    let failed = |message: String| ProvisionError::Tool { program, message };
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new(program);
    command.args(arguments).env("PATH", format!("{path}:/usr/sbin:/sbin")).stdin(Stdio::null());
    let output = command.output().map_err(|error| failed(error.to_string()))?;
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(said(&output.stdout)) } else { Err(failed(said(&output.stderr))) }
}
