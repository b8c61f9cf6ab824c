//! The benches: `bench NAME [LENGTH [SCALE]]`, started by `cargo xtask bench`. Each ends with one line of JSON.

mod cores;
mod figures;
mod forward;
mod join;
mod latency;
mod load;
mod meter;

use figures::Figures;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_default();
    let length =
        arguments.next().filter(|length| length != "default").map(|length| length.parse()).transpose()?;
    let scale = arguments.next().map(|scale| scale.parse()).transpose()?;
    let figures: Figures = match name.as_str() {
        "forward" => forward::run(length.unwrap_or(10), scale.unwrap_or(1.0))?,
        "join" => join::run(length.unwrap_or(10))?,
        "latency" => latency::run(length.unwrap_or(30))?,
        other => anyhow::bail!("there is no bench named {other:?}; there are forward, join and latency"),
    };
    figures.print(&name)
}
