//! The stdin of a plugin, as bytes: the parser and everything it reads later on demand.
#![no_main]

use libfuzzer_sys::fuzz_target;
use polynic_cni::PluginConf;

fuzz_target!(|stdin: &[u8]| {
    let Ok(conf) = PluginConf::parse(stdin) else { return };
    let _ = (conf.ipam(), conf.args_cni(), conf.prev_result(), conf.valid_attachments());
});
