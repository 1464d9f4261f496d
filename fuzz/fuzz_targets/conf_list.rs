//! Network lists and single configurations as files.
#![no_main]

use libfuzzer_sys::fuzz_target;
use polynic_cni::ConfList;

fuzz_target!(|file: &[u8]| {
    for list in [ConfList::parse(file), ConfList::parse_single(file), ConfList::parse_any(file)].into_iter().flatten() {
        let _ = list.version();
    }
});
