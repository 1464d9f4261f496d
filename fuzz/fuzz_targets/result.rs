//! Results and prevResult. What was read can be printed in every version that can express it, and what is printed reads back
//! as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use polynic_cni::{Success, Version};

fuzz_target!(|text: &[u8]| {
    let _ = Success::parse_reply(text, "0.4.0");
    let Ok(success) = Success::parse(text, Version::V0_1_0) else { return };
    for version in Version::ALL {
        let Ok(printed) = success.print(version) else { continue };
        let again = Success::parse(printed.as_bytes(), version).expect("our own result is readable");
        let twice = again.print(version).expect("what was printed once can be printed again");
        assert_eq!(printed, twice, "version {version}");
    }
});
