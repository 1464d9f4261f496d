//! The pod annotations that select networks: a list in commas or in JSON, and the default network.
#![no_main]

use libfuzzer_sys::fuzz_target;
use polynic_api::selection;

fuzz_target!(|value: &str| {
    let _ = selection::parse_networks(value, "default");
    let _ = selection::parse_default_network(value, "kube-system");
});
