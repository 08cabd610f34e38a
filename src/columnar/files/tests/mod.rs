// One of the two ways to read is that of a table.
#[cfg(feature = "delta")]
mod foreign;
mod transform;
