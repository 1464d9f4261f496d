//! The namespaces of pods and hosts, and all of them together.

use std::path::PathBuf;
use std::rc::Rc;

use polynic_explain::{Scene, Site};
use polynic_kernel::netns::{Netns, Pod};
use polynic_kernel::survey::together;

use super::{Place, World, split};
use crate::process::network_of;
use crate::registry::{self, Sandbox};

impl World {
    /// A running pod's sandbox.
    pub fn sandbox(&self, pod: &str) -> Result<Sandbox, String> {
        let (namespace, name) = split(pod);
        registry::sandbox_of(&self.state, namespace, name).ok_or_else(|| format!("pod {pod} has no sandbox"))
    }

    /// All sandboxes there are records of.
    pub fn sandboxes(&self) -> Vec<Sandbox> {
        registry::sandboxes(&self.state)
    }

    /// The process that holds a place's namespaces.
    pub(super) fn process(&self, place: Place<'_>) -> Result<u32, String> {
        let process = match place {
            Place::Host(name) => registry::host(&self.state, name).map_err(|why| why.to_string())?,
            Place::Pod(name) => {
                self.sandbox(name)?.pause.ok_or_else(|| format!("pod {name} has no process"))?
            }
        };
        Ok(process.pid)
    }

    pub(super) fn network_path(&self, place: Place<'_>) -> Result<PathBuf, String> {
        self.process(place).map(network_of)
    }

    /// An open namespace, to send packets from.
    pub fn network(&self, place: Place<'_>) -> Result<Netns<Pod>, String> {
        let path = self.network_path(place)?;
        Netns::open(&path.to_string_lossy()).map_err(|why| why.to_string())
    }

    /// What [`World::scene`] calls a place.
    pub fn site_name(place: Place<'_>) -> String {
        match place {
            Place::Pod(name) => {
                let (namespace, name) = split(name);
                format!("pod {namespace}/{name}")
            }
            Place::Host(name) => name.to_owned(),
        }
    }

    /// Every namespace of the lab, with the switches between them. They are looked at once, until [`World::forget`] or until others are there.
    pub fn scene(&self) -> Result<Rc<Scene>, String> {
        let hosts = registry::hosts(&self.state).map_err(|why| why.to_string())?;
        let hosts = hosts.into_iter().map(|(name, process)| (name, process.pid));
        let pods = self.sandboxes().into_iter().filter(Sandbox::is_up);
        let pods = pods.filter_map(|pod| Some((format!("pod {}", pod.pod()), pod.pause?.pid)));
        let mut places: Vec<(String, u32)> = hosts.chain(pods).collect();
        places.push(("switches".to_owned(), std::process::id()));
        places.sort();
        let processes: Vec<u32> = places.iter().map(|(_, process)| *process).collect();
        if let Some(scene) = self.memory.borrow().get(&processes) {
            return Ok(scene);
        }
        let scene = Rc::new(look_at(places)?);
        self.memory.borrow_mut().keep(processes, &scene);
        Ok(scene)
    }

    /// Something was done that may have changed what namespaces show.
    pub fn forget(&self) {
        self.memory.borrow_mut().forget();
    }
}

fn look_at(places: Vec<(String, u32)>) -> Result<Scene, String> {
    let open = |process: &u32| Netns::<Pod>::open(&network_of(*process).to_string_lossy());
    let spaces: Result<Vec<_>, _> = places.iter().map(|(_, process)| open(process)).collect();
    let seen = together(&spaces.map_err(|why| why.to_string())?).map_err(|why| why.to_string())?;
    let named = places.into_iter().zip(seen);
    let sites = named.map(|((name, _), it)| Site { name, stack: it.stack, numbers: it.numbers });
    Ok(Scene { sites: sites.collect() })
}
