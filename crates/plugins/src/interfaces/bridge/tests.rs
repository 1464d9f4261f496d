//! Two networks of one pod on one bridge.

use polynic_cni::{Invocation, Verb};
use polynic_kernel::FakeDoor;
use serde_json::json;

use crate::testing::{self, NETNS};
use crate::{Host, Registry};

#[test]
fn deleting_net1_leaves_the_spoof_check_of_net10() {
    let (door, directory) = (FakeDoor::new(), tempfile::tempdir().unwrap());
    door.add_netns(NETNS);
    let seeds = std::sync::atomic::AtomicU64::new(1);
    let seed = move || seeds.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let registry = Registry::new(Host { seed: Box::new(seed), ..testing::host(&door, directory.path()) });
    let conf = json!({"cniVersion": "1.1.0", "name": "lab", "type": "bridge", "macspoofchk": true});
    let call = |verb: Verb, ifname: &str| {
        let invocation = Invocation { ifname: ifname.into(), ..testing::invocation(&conf) };
        polynic_cni::invoke(&registry.plugin("bridge").unwrap(), verb, &invocation).unwrap()
    };
    call(Verb::Add, "net10");
    let alone = door.snapshot();
    call(Verb::Add, "net1");
    call(Verb::Del, "net1");
    assert_eq!(alone.diff(&door.snapshot()), Vec::<String>::new());
    call(Verb::Del, "net1");
    assert_eq!(alone.diff(&door.snapshot()), Vec::<String>::new(), "a second DEL, without a record");
}
