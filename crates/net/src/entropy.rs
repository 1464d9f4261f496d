//! Chance as a value: planners choose names and addresses from it, tests choose the seed.

use crate::{IfName, Mac};

/// A small deterministic generator (splitmix64). Good enough for names that must differ, not for secrets.
#[derive(Clone, Debug)]
pub struct Entropy(u64);

impl Entropy {
    /// A generator whose every choice follows from `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A unicast, locally administered hardware address.
    pub fn mac(&mut self) -> Mac {
        let [a, b, c, d, e, f, ..] = self.bits().to_be_bytes();
        Mac::local([a, b, c, d, e, f])
    }

    /// A name for the host end of a pair: `veth` and eight hexadecimal digits (spec/plugins.md 0.5).
    pub fn veth_name(&mut self) -> IfName {
        let digits = (self.bits() >> 32) as u32;
        match IfName::new(format!("veth{digits:08x}")) {
            Ok(name) => name,
            Err(_) => unreachable!("twelve letters and digits are a valid name"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_one_sequence_and_no_quick_repeats() {
        let (mut a, mut b) = (Entropy::new(7), Entropy::new(7));
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..1000 {
            let name = a.veth_name();
            assert_eq!(name, b.veth_name());
            assert!(seen.insert(name));
        }
        assert_ne!(Entropy::new(1).mac(), Entropy::new(2).mac());
    }
}
