//! Sources of firewalld's zones, by its service on the system's bus (spec/plugins.md 3.4).

use std::path::{Path, PathBuf};

use polynic_net::{Diff, ZoneSource};

use super::{Wanted, wanted};
use crate::bus::{Body, Bus, BusError, Method};

/// Where the system's bus listens; in a container, where the node's /run may be.
const SYSTEM_BUS: [&str; 2] = ["/run/dbus/system_bus_socket", "/host/run/dbus/system_bus_socket"];

/// The socket of the system's bus.
pub(super) fn system_bus() -> PathBuf {
    let there = SYSTEM_BUS.into_iter().find(|path| Path::new(path).exists());
    PathBuf::from(there.unwrap_or(SYSTEM_BUS[0]))
}

const SERVICE: &str = "org.fedoraproject.FirewallD1";
const OBJECT: &str = "/org/fedoraproject/FirewallD1";
const ZONES: &str = "org.fedoraproject.FirewallD1.zone";

/// What firewalld's error begins with.
const HAS_IT: &str = "ZONE_ALREADY_SET";

/// Those of the sources that their zones have; none if no firewalld runs as far as the bus says. What cannot be asked is not there:
/// adding it says why.
pub(super) fn observe(bus: &Path, asked: &[ZoneSource]) -> Option<Vec<ZoneSource>> {
    let mut firewalld = connect(bus).ok().flatten()?;
    let mut found = Vec::new();
    for source in asked {
        match call(&mut firewalld, "querySource", source).and_then(|answer| answer.bool()) {
            Ok(true) => found.push(source.clone()),
            Ok(false) | Err(BusError::Refused { .. }) => {}
            // Whoever does not answer one question is not asked the next.
            Err(_) => break,
        }
    }
    Some(found)
}

/// Adds or removes a source. What is so already is no error, and of a removal nothing is: a firewalld that does not run has no sources,
/// and a pod must not stay for its sake (spec/plugins.md 3.4).
pub(super) fn change(bus: &Path, diff: &Diff<ZoneSource>) -> Result<(), BusError> {
    match wanted(diff) {
        None => Ok(()),
        Some(Wanted::Create(source)) => add(bus, source),
        Some(Wanted::Delete(source)) => {
            remove(bus, source);
            Ok(())
        }
        Some(Wanted::Replace(before, after)) => {
            remove(bus, before);
            add(bus, after)
        }
    }
}

fn add(bus: &Path, source: &ZoneSource) -> Result<(), BusError> {
    let mut firewalld = connect(bus)?.ok_or_else(no_service)?;
    match call(&mut firewalld, "addSource", source) {
        Err(BusError::Refused { text, .. }) if text.starts_with(HAS_IT) => Ok(()),
        answer => answer.map(drop),
    }
}

fn remove(bus: &Path, source: &ZoneSource) {
    if let Ok(Some(mut firewalld)) = connect(bus) {
        // Nobody is told: there is nothing that DEL could do about it.
        let _ = call(&mut firewalld, "removeSource", source);
    }
}

fn no_service() -> BusError {
    BusError::Refused { name: SERVICE.to_owned(), text: "nobody has this name on the bus".to_owned() }
}

/// The bus, if firewalld is on it.
fn connect(path: &Path) -> Result<Option<Bus>, BusError> {
    let mut bus = Bus::connect(path)?;
    Ok(bus.has_owner(SERVICE)?.then_some(bus))
}

fn call(firewalld: &mut Bus, member: &str, source: &ZoneSource) -> Result<Body, BusError> {
    let method = Method { destination: SERVICE, path: OBJECT, interface: ZONES, member };
    firewalld.call(&method, &[&source.zone, &source.source.to_string()])
}
