//! Plugins with the node's root directory: for a daemon in a container (spec/multus.md 7.3).
//!
//! Built-in plugins need it as much as others. What they keep (addresses, leases, records), and what configurations name (credentials,
//! sockets, `subnet.env`), is on the node; in a container's own file system it would be gone with the next restart, and the addresses be
//! given away a second time.

use std::path::PathBuf;

use polynic_cni::{Delegate, Error, Invocation, Output, Verb};
use polynic_kernel::rooted::in_root;

/// Calls plugins, and whatever they delegate to, below a root directory.
pub(crate) struct Rooted {
    /// As seen by this process.
    pub(crate) root: PathBuf,
    pub(crate) plugins: Box<dyn Delegate>,
}

impl Rooted {
    fn below<R: Send>(
        &self,
        plugin_type: &str,
        work: impl FnOnce() -> Result<R, Error> + Send,
    ) -> Result<R, Error> {
        let failed = |why| {
            Error::internal(format!("cannot run plugin {plugin_type} below {}: {why}", self.root.display()))
        };
        in_root(&self.root, work).map_err(failed)?
    }
}

impl Delegate for Rooted {
    fn call(&self, plugin_type: &str, verb: Verb, invocation: &Invocation) -> Result<Output, Error> {
        self.below(plugin_type, || self.plugins.call(plugin_type, verb, invocation))
    }

    fn find(&self, plugin_type: &str, path: &str) -> Result<(), Error> {
        self.below(plugin_type, || self.plugins.find(plugin_type, path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use polynic_cni::Exec;
    use polynic_kernel::testing::say_skipped;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    /// Answers whether it sees the mark.
    struct Looks;

    impl Delegate for Looks {
        fn call(&self, _: &str, _: Verb, _: &Invocation) -> Result<Output, Error> {
            match Path::new("/mark").exists() {
                true => Ok(Output::Empty),
                false => Err(Error::internal("no mark")),
            }
        }
    }

    #[test]
    fn a_built_in_plugin_sees_the_nodes_files() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("mark"), "").unwrap();
        let rooted = Rooted { root: root.path().to_owned(), plugins: Box::new(Looks) };
        match rooted.call("host-local", Verb::Add, &Invocation::default()) {
            Err(why) if why.msg.contains("cannot run plugin") => say_skipped(&why.msg),
            answer => assert_eq!(answer.unwrap(), Output::Empty),
        }
        assert_eq!(Looks.call("host-local", Verb::Add, &Invocation::default()).unwrap_err().msg, "no mark");
    }

    #[test]
    fn a_plugin_is_looked_for_below_the_root() {
        let root = tempfile::tempdir().unwrap();
        let bin = tempfile::tempdir().unwrap();
        let plugin = bin.path().join("theirs");
        std::fs::write(&plugin, "#!/bin/sh\n").unwrap();
        std::fs::set_permissions(&plugin, PermissionsExt::from_mode(0o755)).unwrap();
        let rooted = Rooted { root: root.path().to_owned(), plugins: Box::new(Exec::default()) };
        let call = Invocation { path: bin.path().display().to_string(), ..Invocation::default() };
        let said = rooted.call("theirs", Verb::Add, &call).unwrap_err().to_string();
        // Without the right to change the root, that is what it says.
        assert!(
            said.contains("failed to find plugin \"theirs\"")
                || said.contains("cannot run plugin theirs below"),
            "{said}"
        );
    }
}
