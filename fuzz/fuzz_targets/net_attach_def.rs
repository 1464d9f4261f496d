//! NetworkAttachmentDefinitions as the API server gives them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use polynic_api::NetworkAttachmentDefinition;

fuzz_target!(|object: &[u8]| {
    let Ok(nad) = NetworkAttachmentDefinition::parse(object) else { return };
    let _ = (nad.resource_name(), nad.display_name());
});
