//! Files of the result cache, ours and other runtimes'. What was read once prints and reads as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use polynic_cni::cache::Entry;

fuzz_target!(|file: &[u8]| {
    let Ok(entry) = Entry::from_json(file) else { return };
    let again = Entry::from_json(entry.to_json().as_bytes()).expect("our own file is readable");
    assert_eq!(again.to_json(), entry.to_json());
});
