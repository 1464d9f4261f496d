//! Reads as much of an ELF file as tells whether the program runs on any node: nothing to load, nothing to relocate.
//!
//! Only little-endian 64-bit files are known: polynic is built for x86_64 and aarch64. Layouts are those of elf(5).

use anyhow::{Context as _, Result, ensure};

/// The most a program may weigh, in bytes: half of what the 16 reference plugins weigh together (docs/performance.md), and a little.
pub const LARGEST: usize = 25_000_000;

const ET_EXEC: u16 = 2;
const PT_DYNAMIC: u32 = 2;
const PT_INTERP: u32 = 3;
const DT_NEEDED: u64 = 1;
const SHT_SYMTAB: u32 = 2;

/// What is wrong with the program in `bytes`; nothing for a static, stripped one at a fixed address of at most `largest` bytes.
///
/// # Errors
/// The bytes are no little-endian 64-bit ELF file, or its headers point outside of it.
pub fn problems(bytes: &[u8], largest: usize) -> Result<Vec<String>> {
    ensure!(bytes.starts_with(b"\x7fELF\x02\x01"), "no little-endian 64-bit ELF file");
    let file = File { bytes };
    let rules = [
        (file.u16(16)? != ET_EXEC, "is position independent: start-up pays for relocations".to_owned()),
        (file.has_segment(PT_INTERP)?, "asks for a dynamic loader".to_owned()),
        (file.needed()? > 0, format!("needs {} shared libraries", file.needed()?)),
        (file.has_section(SHT_SYMTAB)?, "is not stripped".to_owned()),
        (bytes.len() > largest, format!("weighs {} bytes, more than {largest}", bytes.len())),
    ];
    Ok(rules.into_iter().filter(|(broken, _)| *broken).map(|(_, what)| what).collect())
}

struct File<'a> {
    bytes: &'a [u8],
}

impl File<'_> {
    fn has_segment(&self, kind: u32) -> Result<bool> {
        Ok(self.segments()?.iter().any(|segment| segment.kind == kind))
    }

    fn has_section(&self, kind: u32) -> Result<bool> {
        let (table, size, count) = (self.offset(40)?, self.u16(58)?, self.u16(60)?);
        for index in 0..usize::from(count) {
            if self.u32(entry(table, index, size.into())? + 4)? == kind {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// How many shared libraries the dynamic section names.
    fn needed(&self) -> Result<usize> {
        let mut needed = 0;
        for segment in self.segments()?.iter().filter(|segment| segment.kind == PT_DYNAMIC) {
            for index in 0..segment.length / 16 {
                needed += usize::from(self.u64(entry(segment.start, index, 16)?)? == DT_NEEDED);
            }
        }
        Ok(needed)
    }

    fn segments(&self) -> Result<Vec<Segment>> {
        let (table, size, count) = (self.offset(32)?, self.u16(54)?, self.u16(56)?);
        (0..usize::from(count)).map(|index| self.segment(entry(table, index, size.into())?)).collect()
    }

    fn segment(&self, at: usize) -> Result<Segment> {
        Ok(Segment { kind: self.u32(at)?, start: self.offset(at + 8)?, length: self.offset(at + 32)? })
    }

    fn offset(&self, at: usize) -> Result<usize> {
        let value = usize::try_from(self.u64(at)?)?;
        ensure!(value <= self.bytes.len(), "an offset of {value} is outside of the file");
        Ok(value)
    }

    fn u16(&self, at: usize) -> Result<u16> {
        Ok(u16::from_le_bytes(self.array(at)?))
    }

    fn u32(&self, at: usize) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array(at)?))
    }

    fn u64(&self, at: usize) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array(at)?))
    }

    fn array<const N: usize>(&self, at: usize) -> Result<[u8; N]> {
        let end = at.checked_add(N).context("a header is outside of the file")?;
        let part = self.bytes.get(at..end).context("a header is outside of the file")?;
        Ok(part.try_into()?)
    }
}

struct Segment {
    kind: u32,
    start: usize,
    length: usize,
}

fn entry(table: usize, index: usize, size: usize) -> Result<usize> {
    index
        .checked_mul(size)
        .and_then(|offset| table.checked_add(offset))
        .context("a table is outside of the file")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ELF file of one program header, one dynamic entry and one section header.
    fn elf(kind: u16, segment: u32, tag: u64, section: u32) -> Vec<u8> {
        let mut file = vec![0; 256];
        let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, b"\x7fELF\x02\x01");
        put(16, &kind.to_le_bytes());
        put(32, &64u64.to_le_bytes());
        put(40, &136u64.to_le_bytes());
        put(54, &56u16.to_le_bytes());
        put(56, &1u16.to_le_bytes());
        put(58, &64u16.to_le_bytes());
        put(60, &1u16.to_le_bytes());
        put(64, &segment.to_le_bytes());
        put(64 + 8, &120u64.to_le_bytes());
        put(64 + 32, &16u64.to_le_bytes());
        put(120, &tag.to_le_bytes());
        put(136 + 4, &section.to_le_bytes());
        file
    }

    #[test]
    fn a_static_stripped_program_passes() {
        assert_eq!(problems(&elf(ET_EXEC, 1, 0, 1), LARGEST).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn each_fault_is_named() {
        let faults = [
            (elf(3, 1, 0, 1), "position independent"),
            (elf(ET_EXEC, PT_INTERP, 0, 1), "dynamic loader"),
            (elf(ET_EXEC, PT_DYNAMIC, DT_NEEDED, 1), "1 shared libraries"),
            (elf(ET_EXEC, 1, 0, SHT_SYMTAB), "not stripped"),
        ];
        for (file, expected) in faults {
            let found = problems(&file, LARGEST).unwrap();
            assert!(found.len() == 1 && found[0].contains(expected), "{expected}: {found:?}");
        }
    }

    #[test]
    fn a_heavy_program_is_refused() {
        let mut file = elf(ET_EXEC, 1, 0, 1);
        file.resize(LARGEST + 1, 0);
        assert!(problems(&file, LARGEST).unwrap()[0].contains("25000001 bytes"));
    }

    #[test]
    fn a_file_cut_anywhere_is_an_error_and_no_panic() {
        let file = elf(ET_EXEC, PT_DYNAMIC, DT_NEEDED, SHT_SYMTAB);
        for length in 0..144 {
            assert!(problems(&file[..length], LARGEST).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn offsets_beyond_the_file_are_an_error() {
        let mut file = elf(ET_EXEC, 1, 0, 1);
        file[32..40].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(problems(&file, LARGEST).is_err());
    }

    #[test]
    fn the_running_test_is_itself_an_elf_file() {
        let itself = std::fs::read("/proc/self/exe").unwrap();
        assert!(problems(&itself, LARGEST).unwrap().iter().any(|problem| problem.contains("not stripped")));
    }
}
