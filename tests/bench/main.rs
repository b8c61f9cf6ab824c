//! The benches: `bench NAME [LENGTH]`, started by `cargo xtask bench`. Each ends with one line of JSON.

mod figures;
mod join;
mod latency;

use figures::Figures;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_default();
    let length = arguments.next().map(|length| length.parse()).transpose()?;
    let figures: Figures = match name.as_str() {
        "join" => join::run(length.unwrap_or(10))?,
        "latency" => latency::run(length.unwrap_or(30))?,
        other => anyhow::bail!("there is no bench named {other:?}; there are join and latency"),
    };
    figures.print(&name)
}
