//! rostrumd
fn main(){}
