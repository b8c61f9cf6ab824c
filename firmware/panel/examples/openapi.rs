//! Prints the description of the panel's interface: `cargo run -p rostrum-panel --example openapi`.

use std::io::Write;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let text = rostrum_panel::openapi().to_pretty_json()?;
    Ok(writeln!(std::io::stdout(), "{text}")?)
}
