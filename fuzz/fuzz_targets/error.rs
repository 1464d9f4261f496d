//! Error objects of other plugins. What was read once prints and reads as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use polynic_cni::Error;

fuzz_target!(|text: &[u8]| {
    let Ok(error) = Error::from_json(text) else { return };
    let again = Error::from_json(error.to_json().as_bytes()).expect("our own error object is readable");
    assert_eq!(again.to_json(), error.to_json());
});
