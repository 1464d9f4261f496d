//! `CNI_ARGS`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use polynic_cni::args;

fuzz_target!(|text: &str| {
    for known in [&["K8S_POD_NAME", "IP", "MAC"][..], &[]] {
        let Ok(parsed) = args::parse(text, known) else { continue };
        assert!(parsed.pairs().iter().all(|(key, value)| text.contains(&format!("{key}={value}"))));
    }
});
