//! The network-status annotation. What was read once prints and reads as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use polynic_api::status;

fuzz_target!(|text: &str| {
    let Ok(rows) = status::parse(text) else { return };
    let printed = status::print(&rows);
    let again = status::parse(&printed).expect("our own annotation is readable");
    assert_eq!(status::print(&again), printed);
});
