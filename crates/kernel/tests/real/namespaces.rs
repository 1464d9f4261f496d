//! Opening, making and pinning namespaces.

use std::path::Path;

use polynic_kernel::netns::{self, Netns, Pod};
use polynic_kernel::testing::scratch_netns;
use polynic_kernel::{Door, KernelError, OpenError, RealDoor};
use polynic_net::{Change, Place};

use crate::support::name;

fn open_error(path: &str) -> OpenError {
    RealDoor::default().open(Some(path)).err().expect("the path is no namespace")
}

#[test]
fn a_missing_path_is_told_from_a_wrong_one() {
    let Some(_scratch) = scratch_netns() else { return };
    let missing = open_error("/run/netns/none");
    assert!(missing.is_missing());
    assert_eq!(
        missing.to_string(),
        "failed to open netns \"/run/netns/none\": failed to Statfs \"/run/netns/none\": no such file or directory"
    );
    std::fs::write("/run/plain", "").unwrap();
    let wrong = open_error("/run/plain").to_string();
    assert_eq!(wrong, "failed to open netns \"/run/plain\": unknown FS magic on \"/run/plain\": 1021994");
}

#[test]
fn a_namespace_of_another_kind_is_refused() {
    let Some(_scratch) = scratch_netns() else { return };
    for path in ["/proc/self/ns/mnt", "/proc/self/status"] {
        assert!(matches!(open_error(path), OpenError::Refused { .. }), "{path}");
    }
}

#[test]
fn identities_tell_namespaces_apart() {
    let Some(scratch) = scratch_netns() else { return };
    let kernel = RealDoor::default().open(Some(&scratch.path)).unwrap();
    assert_eq!(kernel.host_id(), scratch.host.id());
    assert_eq!(kernel.pod_id(), Some(scratch.pod.id()));
    assert_ne!(scratch.host.id(), scratch.pod.id());
}

#[test]
fn the_host_is_where_the_thread_was_at_opening() {
    let Some(scratch) = scratch_netns() else { return };
    let mut kernel = RealDoor::default().open(None).unwrap();
    Netns::<Pod>::create().unwrap().enter().unwrap();
    kernel.apply(&crate::support::ifb(Place::Host, "i0")).unwrap();
    let seen = scratch.host.run(|| std::fs::read_to_string("/proc/thread-self/net/dev").unwrap()).unwrap();
    assert!(seen.contains("i0:"), "{seen}");
}

#[test]
fn without_a_pod_its_changes_fail_as_absent() {
    let Some(_scratch) = scratch_netns() else { return };
    let mut kernel = RealDoor::default().open(None).unwrap();
    let error = kernel.apply(&Change::up(Place::Pod, &name("lo"))).unwrap_err();
    assert!(matches!(error, KernelError::NoPod { .. }), "{error}");
    assert_eq!(kernel.pod_id(), None);
    kernel.delete_links(Place::Pod, &[name("net1")]).unwrap();
}

#[test]
fn a_pinned_namespace_stays_until_it_is_unpinned() {
    let Some(_scratch) = scratch_netns() else { return };
    let path = Path::new("/run/polynic-lab/netns/node1");
    let id = netns::create_pinned::<Pod>(path).unwrap().id();
    assert_eq!(Netns::<Pod>::open(path.to_str().unwrap()).unwrap().id(), id);
    netns::unpin(path).unwrap();
    assert!(Netns::<Pod>::open(path.to_str().unwrap()).unwrap_err().is_missing());
}

#[test]
fn work_runs_inside_and_a_panic_stays_there() {
    let Some(scratch) = scratch_netns() else { return };
    let inside =
        || std::fs::metadata("/proc/thread-self/ns/net").map(|m| std::os::unix::fs::MetadataExt::ino(&m));
    assert_eq!(scratch.pod.run(inside).unwrap().unwrap(), scratch.pod.id().inode);
    assert_eq!(inside().unwrap(), scratch.host.id().inode);
    assert!(scratch.pod.run(|| panic!("on purpose")).is_err());
    assert_eq!(scratch.pod.run(inside).unwrap().unwrap(), scratch.pod.id().inode);
}

#[test]
fn who_may_not_enter_stays_at_home() {
    let Some(scratch) = scratch_netns() else { return };
    let mut mine = rustix::thread::capabilities(None).unwrap();
    mine.effective.remove(rustix::thread::CapabilitySet::SYS_ADMIN);
    rustix::thread::set_capabilities(None, mine).unwrap();
    assert!(scratch.pod.run(|| ()).is_err());
    let here = std::fs::metadata("/proc/thread-self/ns/net").map(|m| std::os::unix::fs::MetadataExt::ino(&m));
    assert_eq!(here.unwrap(), scratch.host.id().inode);
    assert!(scratch.host.run(|| ()).is_ok());
}

#[test]
fn a_process_is_opened_by_its_number() {
    let Some(_scratch) = scratch_netns() else { return };
    assert!(Netns::<Pod>::of_process(std::process::id()).is_ok());
    assert!(Netns::<Pod>::of_process(u32::MAX).unwrap_err().is_missing());
}
