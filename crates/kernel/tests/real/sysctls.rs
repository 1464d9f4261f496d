//! Settings, each in its own namespace.

use polynic_kernel::{Errno, KernelError};
use polynic_net::{Change, Place, Sysctl, SysctlKey};

use crate::support::{Bench, ifb, name};

fn value(bench: &mut Bench, place: Place, key: &SysctlKey) -> Option<String> {
    let facts = bench.observe(|n| n.at_mut(place).sysctl(key.clone()));
    facts.at(place).unwrap().sysctl(key).map(str::to_owned)
}

fn set(place: Place, key: &SysctlKey, before: &str, after: &str) -> Change {
    Change::sysctl(place, Sysctl { key: key.clone(), value: before.into() }, after)
}

#[test]
fn a_setting_changes_in_its_namespace_only() {
    let Some(mut bench) = Bench::new() else { return };
    let key = SysctlKey::ip_forward();
    for (place, other) in [(Place::Pod, Place::Host), (Place::Host, Place::Pod)] {
        let change = set(place, &key, "0", "1");
        bench.apply(change.clone());
        assert_eq!(value(&mut bench, place, &key).as_deref(), Some("1"));
        assert_eq!(value(&mut bench, other, &key).as_deref(), Some("0"));
        bench.apply(change.inverse().unwrap());
        assert_eq!(value(&mut bench, place, &key).as_deref(), Some("0"));
    }
}

#[test]
fn a_links_setting_is_found_although_its_name_has_a_dot() {
    let Some(mut bench) = Bench::new() else { return };
    bench.apply(ifb(Place::Pod, "eth0.5"));
    let key = SysctlKey::conf("ipv6", &name("eth0.5"), "hop_limit");
    bench.apply(set(Place::Pod, &key, "64", "65"));
    assert_eq!(value(&mut bench, Place::Pod, &key).as_deref(), Some("65"));
}

#[test]
fn a_setting_that_changed_meanwhile_is_stale_unless_it_is_as_wanted() {
    let Some(mut bench) = Bench::new() else { return };
    let key = SysctlKey::conf("ipv4", &name("lo"), "rp_filter");
    bench.apply(set(Place::Pod, &key, "0", "2"));
    let error = bench.fail(set(Place::Pod, &key, "0", "1"));
    assert!(matches!(&error, KernelError::Stale { found, .. } if found == "2"), "{error}");
    bench.apply(set(Place::Pod, &key, "0", "2"));
}

#[test]
fn a_missing_setting_is_absent_and_observed_as_such() {
    let Some(mut bench) = Bench::new() else { return };
    let key = SysctlKey::conf("ipv4", &name("nope"), "rp_filter");
    assert_eq!(bench.errno(set(Place::Pod, &key, "0", "1")), Errno::ENOENT);
    assert_eq!(value(&mut bench, Place::Pod, &key), None);
    let facts = bench.observe(|n| n.pod.sysctl(key.clone()));
    assert_eq!(facts.pod.unwrap().sysctls.get(&key), Some(&None));
}

#[test]
fn a_value_the_kernel_does_not_take_is_refused() {
    let Some(mut bench) = Bench::new() else { return };
    let key = SysctlKey::conf("ipv4", &name("lo"), "rp_filter");
    assert_eq!(bench.errno(set(Place::Pod, &key, "0", "yes")), Errno::EINVAL);
}
