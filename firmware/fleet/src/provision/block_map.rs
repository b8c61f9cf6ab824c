//! Block maps, format 2.0 of bmap-tools: which blocks of an image hold anything, and their checksums, so that a card is
//! flashed in the time of what is in it. (`docs/README` of bmap-tools, and the comments in the files that it makes.)

use sha2::{Digest, Sha256};

/// Bytes of a block.
pub const BLOCK: u64 = 4096;

/// Blocks in a row that hold something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first, from 0.
    pub first: u64,
    /// The last of them.
    pub last: u64,
    /// SHA-256 of what is in them.
    pub sha256: [u8; 32],
}

/// The text of a map of an image of `image_bytes`; ranges in their order, without overlap.
pub fn text(image_bytes: u64, ranges: &[Range]) -> String {
    let blocks = image_bytes.div_ceil(BLOCK);
    let mapped: u64 = ranges.iter().map(|range| range.last - range.first + 1).sum();
    let lines: String = ranges
        .iter()
        .map(|Range { first, last, sha256 }| {
            let place = if first == last { first.to_string() } else { format!("{first}-{last}") };
            format!("        <Range chksum=\"{}\"> {place} </Range>\n", hex::encode(sha256))
        })
        .collect();
    let with = |checksum: &str| {
        format!(
            "<?xml version=\"1.0\" ?>\n<bmap version=\"2.0\">\n    <ImageSize> {image_bytes} </ImageSize>\n    \
             <BlockSize> {BLOCK} </BlockSize>\n    <BlocksCount> {blocks} </BlocksCount>\n    \
             <MappedBlocksCount> {mapped} </MappedBlocksCount>\n    <ChecksumType> sha256 </ChecksumType>\n    \
             <BmapFileChecksum> {checksum} </BmapFileChecksum>\n    <BlockMap>\n{lines}    </BlockMap>\n</bmap>\n"
        )
    };
    // Its own checksum is that of the file with zeros in its place.
    let checksum = hex::encode(Sha256::digest(with(&"0".repeat(64))));
    with(&checksum)
}
