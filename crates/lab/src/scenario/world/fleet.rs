//! Nodes that come and go, and programs that run on them.

use std::process::Stdio;

use super::{Place, World};
use crate::fleet::request::{self, Request};
use crate::process;
use crate::scenario::Finding;

impl World {
    /// One more node joins, and is ready.
    pub fn add_node(&self) -> Finding {
        self.ask(&Request::Add)
    }

    /// A node loses its power: the cluster has to notice by itself.
    pub fn kill_node(&self, node: &str) -> Finding {
        self.ask(&Request::Kill { node: node.to_owned() })
    }

    /// A node goes, and its object with it.
    pub fn remove_node(&self, node: &str) -> Finding {
        self.ask(&Request::Remove { node: node.to_owned() })
    }

    fn ask(&self, request: &Request) -> Finding {
        request::ask(&self.state, request).map_err(|why| why.to_string())
    }

    /// Runs one of this machine's programs in a pod or on a host, with its file system, and hands back what it prints.
    pub fn run(&self, place: Place<'_>, program: &[&str]) -> Finding {
        let process = self.process(place)?.to_string();
        let args = ["__become", &process, "--"].into_iter().chain(program.iter().copied());
        let output = process::again(args).stdin(Stdio::null()).output();
        let output = output.map_err(|why| format!("run {program:?}: {why}"))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() {
            return Ok(text(&output.stdout));
        }
        Err(format!("{program:?}: {}: {}{}", output.status, text(&output.stdout), text(&output.stderr)))
    }
}
