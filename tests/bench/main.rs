//! The benches: `bench NAME [LENGTH]`, started by `cargo xtask bench`.

fn main() -> anyhow::Result<()> {
    anyhow::bail!("not yet")
}
