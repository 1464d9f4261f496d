//! Settings, each in its own namespace.

use polynic_kernel::{Errno, KernelError};
use polynic_net::{Change, Place, RpFilterNeed, Sysctl, SysctlKey};

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

/// In one list, however many links there are.
#[test]
fn reverse_path_filtering_of_all_links_is_seen_where_it_differs() {
    let Some(mut bench) = Bench::new() else { return };
    for link in ["i0", "i1.5"] {
        bench.apply(ifb(Place::Pod, link));
        bench.apply(set(Place::Pod, &SysctlKey::rp_filter(&name(link)), "0", "2"));
    }
    bench.apply(set(Place::Pod, &SysctlKey::rp_filter(&name("all")), "0", "1"));
    let mut seen = |need| {
        let facts = bench.observe(|n| n.pod.rp_filter = Some(need));
        let text = |(key, value): (&SysctlKey, &Option<String>)| {
            format!("{} {}", key.as_str().split('/').nth(3).unwrap(), value.as_deref().unwrap())
        };
        facts.pod.unwrap().sysctls.iter().map(text).collect::<Vec<String>>()
    };
    assert_eq!(seen(RpFilterNeed::General), ["all 1", "default 0"]);
    assert_eq!(seen(RpFilterNeed::Unlike(0)), ["all 1", "default 0", "i0 2", "i1.5 2"]);
    assert_eq!(seen(RpFilterNeed::Unlike(2)), ["all 1", "default 0", "lo 0"]);
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
