//! The backend ipip. Kernels without this kind of link leave it to the throw-away kernel of the tier vm.

use polynic_kernel::Kernel;
use polynic_net::{Change, Link, LinkKind, Place};

use crate::site::{Site, SiteNode, exchange, name};

const IPIP: &str = r#"{"Network": "10.233.0.0/16", "Backend": {"Type": "ipip"}}"#;

fn offers_ipip(node: &mut SiteNode) -> bool {
    let local = Some([192, 168, 10, node.number].into());
    let probe = Change::create_link(Place::Host, Link::new(name("probe"), LinkKind::Ipip { local }));
    let made = node.kernel.apply(&probe).is_ok();
    match made {
        true => node.remove_link("probe"),
        false => polynic_e2e::left_to_vm("ipip"),
    }
    made
}

#[test]
fn packets_go_in_packets_and_a_restart_changes_nothing() {
    let Some(site) = Site::new(IPIP) else { return };
    let (mut a, mut b) = (site.node(1), site.node(2));
    if !offers_ipip(&mut a) {
        return;
    }
    a.add_pod_address();
    b.add_pod_address();
    site.converge(&mut [&mut a, &mut b]);
    assert_eq!(exchange(&a, &b, false), Some(a.pod_ip(false)));
    assert_eq!(exchange(&b, &a, false), Some(b.pod_ip(false)));
    let device = a.link("flannel.ipip");
    assert_eq!((device.mtu, device.up, device.kind.as_str()), (1480, true, "ipip"));
    assert_eq!(a.routes_by("flannel.ipip"), ["10.233.2.0/24 via 192.168.10.2 dev flannel.ipip"]);
    let data = a.object.annotations["flannel.alpha.coreos.com/backend-data"].as_str();
    assert_eq!(
        (data, a.object.annotations["flannel.alpha.coreos.com/backend-type"].as_str()),
        ("null", "ipip")
    );
    let all = site.leases(&[&b]);
    a.restart(&site);
    assert_eq!(a.must_pass(&site, &all).made, 0);
    // A peer that goes takes its way along, a tunnel that goes comes back with all peers.
    a.must_pass(&site, &[]);
    assert!(a.routes_by("flannel.ipip").is_empty());
    a.remove_link("flannel.ipip");
    a.must_pass(&site, &all);
    assert!(exchange(&a, &b, false).is_some());
}

#[test]
fn neighbours_are_reached_without_tunnel_where_the_configuration_says_so() {
    let direct = IPIP.replace(r#""ipip""#, r#""ipip", "DirectRouting": true"#);
    let Some(site) = Site::new(&direct) else { return };
    let (mut a, mut b) = (site.node(1), site.node(2));
    if !offers_ipip(&mut a) {
        return;
    }
    a.add_pod_address();
    b.add_pod_address();
    site.converge(&mut [&mut a, &mut b]);
    assert_eq!(a.routes_by("eth1"), ["10.233.2.0/24 via 192.168.10.2 dev eth1"]);
    assert_eq!(exchange(&a, &b, false), Some(a.pod_ip(false)));
}

#[test]
fn all_of_it_in_a_kernel_that_has_every_link() {
    polynic_e2e::run_bare_in_vm(&["ipip::packets", "ipip::neighbours"]);
}
