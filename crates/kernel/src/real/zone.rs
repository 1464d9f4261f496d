//! Sources of firewalld's zones, by its service on the system's bus (spec/plugins.md 3.4).

use std::io::ErrorKind;
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

/// What firewalld's errors begin with.
const HAS_IT: &str = "ZONE_ALREADY_SET";
const HAS_IT_NOT: &str = "UNKNOWN_SOURCE";

/// Those of the sources that their zones have; none if no firewalld runs.
pub(super) fn observe(bus: &Path, asked: &[ZoneSource]) -> Result<Option<Vec<ZoneSource>>, BusError> {
    let Some(mut firewalld) = connect(bus)? else { return Ok(None) };
    let mut found = Vec::new();
    for source in asked {
        if call(&mut firewalld, "querySource", source)?.bool()? {
            found.push(source.clone());
        }
    }
    Ok(Some(found))
}

/// Adds or removes a source. What is so already is no error, and a firewalld that does not run has no sources to remove.
pub(super) fn change(bus: &Path, diff: &Diff<ZoneSource>) -> Result<(), BusError> {
    let (method, source, done) = match wanted(diff) {
        None => return Ok(()),
        Some(Wanted::Create(source)) => ("addSource", source, HAS_IT),
        Some(Wanted::Delete(source)) => ("removeSource", source, HAS_IT_NOT),
        Some(Wanted::Replace(before, after)) => {
            change(bus, &Diff::delete(before.clone()))?;
            return change(bus, &Diff::create(after.clone()));
        }
    };
    let Some(mut firewalld) = connect(bus)? else {
        return if method == "removeSource" { Ok(()) } else { Err(no_service()) };
    };
    match call(&mut firewalld, method, source) {
        Err(BusError::Refused { text, .. }) if text.starts_with(done) => Ok(()),
        answer => answer.map(drop),
    }
}

fn no_service() -> BusError {
    BusError::Refused { name: SERVICE.to_owned(), text: "nobody has this name on the bus".to_owned() }
}

/// The bus, if firewalld is on it.
fn connect(path: &Path) -> Result<Option<Bus>, BusError> {
    let mut bus = match Bus::connect(path) {
        Err(BusError::Io(e)) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        connected => connected?,
    };
    Ok(bus.has_owner(SERVICE)?.then_some(bus))
}

fn call(firewalld: &mut Bus, member: &str, source: &ZoneSource) -> Result<Body, BusError> {
    let method = Method { destination: SERVICE, path: OBJECT, interface: ZONES, member };
    firewalld.call(&method, &[&source.zone, &source.source.to_string()])
}
