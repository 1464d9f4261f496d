//! Plugins that are not built in: looked for here, executed with the node's root directory (spec/multus.md 7.3).

use std::path::PathBuf;

use polynic_cni::{Delegate, Error, Exec, Invocation, Output, Verb};
use polynic_kernel::rooted::in_root;

/// Executes plugins below a root directory.
pub(crate) struct Foreign {
    /// `None` is our own root.
    pub(crate) root: Option<PathBuf>,
    pub(crate) exec: Exec,
}

impl Delegate for Foreign {
    fn call(&self, plugin_type: &str, verb: Verb, invocation: &Invocation) -> Result<Output, Error> {
        let Some(root) = &self.root else { return self.exec.call(plugin_type, verb, invocation) };
        self.exec.find(plugin_type, &invocation.path)?;
        let called = in_root(root, || self.exec.call(plugin_type, verb, invocation));
        let failed =
            |why| Error::internal(format!("cannot run plugin {plugin_type} below {}: {why}", root.display()));
        called.map_err(failed)?
    }

    fn find(&self, plugin_type: &str, path: &str) -> Result<(), Error> {
        self.exec.find(plugin_type, path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_plugin_is_found_here_and_must_be_at_the_same_path_below_the_root() {
        let root = tempfile::tempdir().unwrap();
        let bin = tempfile::tempdir().unwrap();
        let plugin = bin.path().join("theirs");
        std::fs::write(&plugin, "#!/bin/sh\n").unwrap();
        std::fs::set_permissions(&plugin, PermissionsExt::from_mode(0o755)).unwrap();
        let foreign = Foreign { root: Some(root.path().to_owned()), exec: Exec::default() };
        let call = Invocation { path: bin.path().display().to_string(), ..Invocation::default() };
        let missing = foreign.call("nobodys", Verb::Add, &call).unwrap_err();
        assert!(missing.msg.contains("failed to find plugin \"nobodys\""), "{missing}");
        let elsewhere = foreign.call("theirs", Verb::Add, &call).unwrap_err();
        // Without the right to change the root, that is what it says.
        let said = elsewhere.to_string();
        assert!(
            said.contains("failed to find plugin") || said.contains("cannot run plugin theirs below"),
            "{said}"
        );
    }
}
