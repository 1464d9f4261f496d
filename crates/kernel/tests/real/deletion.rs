//! Several links in one go.

use polynic_net::{Change, Link, LinkKind, MacvlanMode, Place};

use crate::support::{Bench, ifb, macvlan_on, name, veth};

#[test]
fn links_go_together_and_others_stay() {
    let Some(mut bench) = Bench::new() else { return };
    bench.apply(ifb(Place::Host, "p0"));
    for link in ["net1", "net2", "net3", "stays"] {
        let parent = macvlan_on(Place::Host, "p0", MacvlanMode::Bridge);
        bench.apply(Change::create_link(Place::Pod, Link::new(name(link), LinkKind::Macvlan(parent))));
    }
    bench.apply(veth(Place::Pod, "eth0", Place::Host, "veth0"));
    let doomed = ["net1", "gone", "net2", "eth0", "net3"].map(name);
    bench.kernel.delete_links(Place::Pod, &doomed).unwrap();
    let mut left: Vec<_> = bench.all_links(Place::Pod).into_iter().map(|l| l.name.to_string()).collect();
    left.sort();
    assert_eq!(left, ["lo", "stays"]);
    assert_eq!(bench.link(Place::Host, "veth0"), None);
    bench.kernel.delete_links(Place::Pod, &doomed).unwrap();
}

#[test]
fn both_ends_of_a_pair_may_be_named() {
    let Some(mut bench) = Bench::new() else { return };
    bench.apply(veth(Place::Host, "a", Place::Host, "b"));
    bench.kernel.delete_links(Place::Host, &["a", "b"].map(name)).unwrap();
    assert_eq!(bench.all_links(Place::Host).len(), 1);
}

#[test]
fn a_link_that_cannot_be_deleted_does_not_keep_the_others() {
    let Some(mut bench) = Bench::new() else { return };
    bench.apply(ifb(Place::Pod, "i0"));
    let error = bench.kernel.delete_links(Place::Pod, &["lo", "i0"].map(name)).unwrap_err();
    assert!(error.to_string().starts_with("remove links lo, i0 in pod: "), "{error}");
    assert_eq!(bench.link(Place::Pod, "i0"), None);
}

#[test]
fn none_or_one_missing_link_is_no_error() {
    let Some(mut bench) = Bench::new() else { return };
    bench.kernel.delete_links(Place::Pod, &[]).unwrap();
    bench.kernel.delete_links(Place::Pod, &[name("gone")]).unwrap();
}
