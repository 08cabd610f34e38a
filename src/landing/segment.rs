//! The segment format. Written description: docs/formats.md, "Segment".

/// How the bodies of a segment are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Compression {
    /// Not at all.
    None,
    /// LZ4: the least work.
    #[default]
    Lz4,
    /// Zstandard, of the given level: smaller.
    Zstd(i32),
}
