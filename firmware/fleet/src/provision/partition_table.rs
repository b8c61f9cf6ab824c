//! The partitions of a disk or an image: GUID Partition Table (UEFI specification 2.10 §5.3), read only.
//!
//! A reader of our own, and a small one: the crates that there are panic at headers with a right checksum and unusual
//! sizes, or take as much memory as such a header says.

use std::io::{self, Read, Seek, SeekFrom};

/// One partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its label.
    pub name: String,
    /// Where it begins, in bytes.
    pub start: u64,
    /// Its size in bytes; it ends within the disk.
    pub length: u64,
}

/// Sizes of a block; cards and most disks have the first.
const BLOCKS: [u64; 2] = [512, 4096];
const HEADER: usize = 92;
/// More than any table has.
const MOST_ENTRIES: u32 = 1024;
const MOST_ENTRY_BYTES: u32 = 4096;

/// The partitions of a disk of `length` bytes, in the order of the table; `None` when it has no valid table. The copy at the end
/// counts where the one at the beginning is damaged.
///
/// # Errors
/// When the disk cannot be read.
pub fn read(disk: &mut (impl Read + Seek), length: u64) -> io::Result<Option<Vec<Partition>>> {
    for block in BLOCKS {
        for lba in [Some(1), (length / block).checked_sub(1)].into_iter().flatten() {
            if let Some(partitions) = table(disk, length, block, lba)? {
                return Ok(Some(partitions));
            }
        }
    }
    Ok(None)
}

/// The table whose header is in block `lba`.
fn table(
    disk: &mut (impl Read + Seek),
    length: u64,
    block: u64,
    lba: u64,
) -> io::Result<Option<Vec<Partition>>> {
    let Some(header) = bytes(disk, length, lba.checked_mul(block), HEADER)? else { return Ok(None) };
    let Some(header) = Header::parse(&header, lba) else { return Ok(None) };
    let size = header.entries as usize * header.entry_bytes as usize;
    let Some(array) = bytes(disk, length, header.array_lba.checked_mul(block), size)? else {
        return Ok(None);
    };
    if crc32fast::hash(&array) != header.array_crc {
        return Ok(None);
    }
    let partitions = array.chunks_exact(header.entry_bytes as usize);
    Ok(Some(partitions.filter_map(|entry| partition(entry, length, block)).collect()))
}

/// So many bytes at a place; `None` where the disk ends before.
fn bytes(
    disk: &mut (impl Read + Seek),
    length: u64,
    start: Option<u64>,
    count: usize,
) -> io::Result<Option<Vec<u8>>> {
    let Some(start) = start.filter(|start| start.checked_add(count as u64).is_some_and(|end| end <= length))
    else {
        return Ok(None);
    };
    disk.seek(SeekFrom::Start(start))?;
    let mut bytes = vec![0; count];
    disk.read_exact(&mut bytes)?;
    Ok(Some(bytes))
}

struct Header {
    array_lba: u64,
    entries: u32,
    entry_bytes: u32,
    array_crc: u32,
}

impl Header {
    /// UEFI 2.10 §5.3.2. Only headers of the length that all have are taken.
    fn parse(bytes: &[u8], lba: u64) -> Option<Self> {
        let (signature, crc, own) = (bytes.get(..8)?, u32_at(bytes, 16)?, u64_at(bytes, 24)?);
        let mut without = bytes.to_vec();
        without.get_mut(16..20)?.fill(0);
        let entries = u32_at(bytes, 80)?;
        let entry_bytes = u32_at(bytes, 84)?;
        let is_header = signature == b"EFI PART"
            && u32_at(bytes, 12)? as usize == HEADER
            && own == lba
            && crc32fast::hash(&without) == crc
            && entries <= MOST_ENTRIES
            && (128..=MOST_ENTRY_BYTES).contains(&entry_bytes);
        let array_crc = u32_at(bytes, 88)?;
        is_header.then_some(Self { array_lba: u64_at(bytes, 72)?, entries, entry_bytes, array_crc })
    }
}

/// UEFI 2.10 §5.3.3. `None` for an entry that is not used, and for one that leads out of the disk.
fn partition(entry: &[u8], length: u64, block: u64) -> Option<Partition> {
    if entry.get(..16)?.iter().all(|byte| *byte == 0) {
        return None;
    }
    let start = u64_at(entry, 32)?.checked_mul(block)?;
    let end = u64_at(entry, 40)?.checked_add(1)?.checked_mul(block)?;
    let units: Vec<u16> =
        entry.get(56..128)?.chunks_exact(2).map(|two| u16::from_le_bytes([two[0], two[1]])).collect();
    let name = units.split(|unit| *unit == 0).next().unwrap_or_default();
    let length = Some(end).filter(|end| *end <= length)?.checked_sub(start).filter(|length| *length > 0)?;
    Some(Partition { name: String::from_utf16_lossy(name), start, length })
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;

    const BLOCK: usize = 512;

    /// A disk of 64 blocks with a table made of these numbers, checksums right.
    fn disk(array_lba: u64, entries: u32, entry_bytes: u32, partitions: &[(&str, u64, u64)]) -> Vec<u8> {
        let mut disk = vec![0; 64 * BLOCK];
        let array_at = array_lba as usize * BLOCK;
        for (index, (name, first, last)) in partitions.iter().enumerate() {
            let entry = &mut disk[array_at + index * entry_bytes as usize..][..128];
            entry[0] = 1;
            entry[32..40].copy_from_slice(&first.to_le_bytes());
            entry[40..48].copy_from_slice(&last.to_le_bytes());
            for (place, unit) in entry[56..].chunks_exact_mut(2).zip(name.encode_utf16()) {
                place.copy_from_slice(&unit.to_le_bytes());
            }
        }
        let size = entries as usize * entry_bytes as usize;
        let crc = disk.get(array_at..array_at + size).map_or(0, crc32fast::hash);
        let header = &mut disk[BLOCK..BLOCK + HEADER];
        header[..8].copy_from_slice(b"EFI PART");
        header[12..16].copy_from_slice(&92_u32.to_le_bytes());
        header[24..32].copy_from_slice(&1_u64.to_le_bytes());
        header[72..80].copy_from_slice(&array_lba.to_le_bytes());
        header[80..84].copy_from_slice(&entries.to_le_bytes());
        header[84..88].copy_from_slice(&entry_bytes.to_le_bytes());
        header[88..92].copy_from_slice(&crc.to_le_bytes());
        let crc = crc32fast::hash(header);
        disk[BLOCK + 16..BLOCK + 20].copy_from_slice(&crc.to_le_bytes());
        disk
    }

    fn partitions(disk: &[u8]) -> Option<Vec<Partition>> {
        read(&mut Cursor::new(disk), disk.len() as u64).unwrap()
    }

    #[test]
    fn partitions_have_their_names_and_places() {
        let disk = disk(2, 8, 128, &[("boot", 8, 9), ("factory", 10, 13)]);
        let boot = Partition { name: "boot".into(), start: 8 * 512, length: 1024 };
        let factory = Partition { name: "factory".into(), start: 10 * 512, length: 2048 };
        assert_eq!(partitions(&disk).unwrap(), [boot, factory]);
    }

    #[test]
    fn a_partition_that_leads_out_of_the_disk_or_ends_before_it_begins_is_none() {
        let disk = disk(2, 8, 128, &[("a", 8, 64), ("b", u64::MAX, u64::MAX), ("c", 9, 7), ("d", 63, 63)]);
        assert_eq!(partitions(&disk).unwrap().iter().map(|p| p.name.as_str()).collect::<Vec<_>>(), ["d"]);
    }

    #[test]
    fn a_damaged_table_is_none_and_neither_memory_nor_panic_is_had_by_what_it_says() {
        let good = disk(2, 8, 128, &[("factory", 10, 13)]);
        for at in [512, 512 + 24, 512 + 90, 2 * 512 + 40] {
            let mut damaged = good.clone();
            damaged[at] ^= 1;
            assert_eq!(partitions(&damaged), None, "{at}");
        }
        assert_eq!(partitions(&disk(2, u32::MAX, 128, &[])), None);
        assert_eq!(partitions(&disk(2, 8, u32::MAX, &[])), None);
        assert_eq!(partitions(&disk(2, 8, 0, &[])), None);
        assert_eq!(partitions(&[]), None);
    }

    /// A disk of a terabyte that is empty but for its beginning, and of which nobody reads much at once.
    struct Large(Cursor<Vec<u8>>);

    impl Read for Large {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            assert!(
                into.len() <= (MOST_ENTRIES * MOST_ENTRY_BYTES) as usize,
                "it reads {} bytes",
                into.len()
            );
            into.fill(0);
            let count = into.len();
            let _ = self.0.read(into)?;
            Ok(count)
        }
    }

    impl Seek for Large {
        fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
            self.0.seek(to)
        }
    }

    #[test]
    fn a_large_disk_with_a_table_that_claims_to_be_large_takes_no_memory() {
        for (entries, bytes) in [(100_000_000, 128), (1024, 100_000_000)] {
            let mut large = Large(Cursor::new(disk(2, entries, bytes, &[])));
            read(&mut large, 1 << 40).unwrap();
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..4096)) {
            prop_assert_eq!(partitions(&bytes), None);
        }

        #[test]
        fn no_table_with_right_checksums_panics_or_gives_a_partition_outside(
            entries in prop_oneof![0..9_u32, any::<u32>()], entry_bytes in prop_oneof![Just(128_u32), any::<u32>()],
            places in prop::collection::vec((0..80_u64, 0..80_u64), 0..4), far in any::<u64>(),
        ) {
            let named: Vec<_> = places.iter().map(|(first, last)| ("p", *first, *last)).chain([("far", far, far)]).collect();
            let fits = entry_bytes == 128 && entries as usize >= named.len() && entries < 64;
            let disk = disk(2, entries, entry_bytes, if fits { &named } else { &[] });
            for partition in partitions(&disk).unwrap_or_default() {
                prop_assert!(partition.length > 0 && partition.start + partition.length <= disk.len() as u64);
            }
        }
    }
}
