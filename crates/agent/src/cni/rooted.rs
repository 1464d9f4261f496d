//! Plugins with the node's root directory, where the agent runs in a container of its own (spec/multus.md 7.3).
//!
//! All plugins, built-in ones included: their stores of addresses, their sockets and their records are the node's. Those of a container would
//! go with it, and the programs on the node would not see them.

use std::path::PathBuf;

use polynic_cni::{Delegate, Error, Invocation, Output, Verb};
use polynic_kernel::rooted::in_root;

/// Calls plugins below a root directory.
pub(crate) struct Rooted {
    pub(crate) root: PathBuf,
    pub(crate) inner: Box<dyn Delegate>,
}

impl Delegate for Rooted {
    /// A plugin is looked for here, and has to be at the same path there.
    fn call(&self, plugin_type: &str, verb: Verb, invocation: &Invocation) -> Result<Output, Error> {
        self.inner.find(plugin_type, &invocation.path)?;
        let called = in_root(&self.root, || self.inner.call(plugin_type, verb, invocation));
        let root = self.root.display();
        let failed = |why| Error::internal(format!("cannot run plugin {plugin_type} below {root}: {why}"));
        called.map_err(failed)?
    }

    fn find(&self, plugin_type: &str, path: &str) -> Result<(), Error> {
        self.inner.find(plugin_type, path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use polynic_cni::Exec;
    use polynic_kernel::FakeDoor;
    use polynic_plugins::{Host, Registry};
    use polynic_wire::{ReleaseJournal, Sockets};

    /// A root with directories, and plugins that work below it. Nothing where a test may not change its root.
    fn rooted(directories: &[&Path], inner: Box<dyn Delegate>) -> Option<(tempfile::TempDir, Rooted)> {
        let root = tempfile::tempdir().unwrap();
        for directory in directories {
            fs::create_dir_all(below(root.path(), directory)).unwrap();
        }
        if let Err(why) = in_root(root.path(), || ()) {
            polynic_kernel::testing::say_skipped(&format!("the root cannot be changed: {why}"));
            return None;
        }
        let rooted = Rooted { root: root.path().to_owned(), inner };
        Some((root, rooted))
    }

    fn below(root: &Path, path: &Path) -> PathBuf {
        root.join(path.strip_prefix("/").unwrap())
    }

    fn script(path: &Path, text: &str) {
        fs::write(path, text).unwrap();
        fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
    }

    fn host() -> Host {
        Host {
            door: Box::new(FakeDoor::default()),
            state: "/run/polynic".into(),
            executable: None,
            addresses: Box::new(Sockets),
            releases: ReleaseJournal::new("/releases"),
            seed: Box::new(|| 7),
            warn: Box::new(|_| {}),
        }
    }

    #[test]
    fn a_plugin_is_found_here_and_must_be_at_the_same_path_below_the_root() {
        let bin = tempfile::tempdir().unwrap();
        script(&bin.path().join("theirs"), "#!/bin/sh\n");
        let Some((_root, rooted)) = rooted(&[], Box::new(Exec::default())) else { return };
        let call = Invocation { path: bin.path().display().to_string(), ..Invocation::default() };
        let missing = rooted.call("nobodys", Verb::Add, &call).unwrap_err();
        assert!(missing.msg.contains("failed to find plugin \"nobodys\""), "{missing}");
        let elsewhere = rooted.call("theirs", Verb::Add, &call).unwrap_err();
        assert!(elsewhere.msg.contains("failed to find plugin \"theirs\""), "{elsewhere}");
    }

    #[test]
    fn a_plugin_runs_with_the_files_of_the_root() {
        let bin = tempfile::tempdir().unwrap();
        script(&bin.path().join("theirs"), "not this one");
        let Some((root, rooted)) = rooted(&[bin.path(), Path::new("/bin")], Box::new(Exec::default())) else {
            return;
        };
        if !bring_a_shell(root.path()) {
            return polynic_kernel::testing::say_skipped("no shell can be brought into another root");
        }
        fs::write(root.path().join("answer"), r#"{"cniVersion":"1.0.0","dns":{"domain":"below"}}"#).unwrap();
        script(
            &below(root.path(), bin.path()).join("theirs"),
            "#!/bin/sh\nread -r answer < /answer\necho \"$answer\"\n",
        );
        let stdin = br#"{"cniVersion":"1.0.0","name":"n","type":"theirs"}"#.to_vec();
        let path = bin.path().display().to_string();
        let call = Invocation {
            path,
            stdin,
            container_id: "c1".into(),
            netns: "/n".into(),
            ifname: "eth0".into(),
            ..Invocation::default()
        };
        let answer = rooted.call("theirs", Verb::Add, &call).unwrap().into_success("theirs").unwrap();
        assert_eq!(answer.dns.domain, "below");
    }

    /// `/bin/sh` and the libraries that it is linked to.
    fn bring_a_shell(root: &Path) -> bool {
        let Ok(listed) = std::process::Command::new("ldd").arg("/bin/sh").output() else { return false };
        let text = String::from_utf8_lossy(&listed.stdout).into_owned();
        let libraries = text.split_whitespace().filter(|word| word.starts_with('/'));
        for file in libraries.chain(["/bin/sh"]) {
            let there = below(root, Path::new(file));
            fs::create_dir_all(there.parent().unwrap()).unwrap();
            fs::copy(file, &there).unwrap();
        }
        in_root(root, || std::process::Command::new("/bin/sh").args(["-c", "exit 0"]).status())
            .is_ok_and(|status| status.is_ok_and(|status| status.success()))
    }

    #[test]
    fn built_in_plugins_keep_their_files_below_the_root() {
        let registry = Box::new(Registry::new(host()));
        let Some((root, rooted)) = rooted(&[Path::new("/run")], registry) else { return };
        // A path that nobody else has: were it ours, the test would see it.
        let store = root.path().join("store");
        let stdin = serde_json::json!({"cniVersion": "1.0.0", "name": "lan", "type": "bridge",
            "ipam": {"type": "host-local", "dataDir": store, "ranges": [[{"subnet": "10.9.0.0/24"}]]}});
        let call = Invocation {
            stdin: stdin.to_string().into_bytes(),
            container_id: "c1".into(),
            netns: "/run/netns/n".into(),
            ifname: "eth0".into(),
            ..Invocation::default()
        };
        rooted.call("host-local", Verb::Add, &call).unwrap();
        let address = below(root.path(), &store).join("lan/10.9.0.2");
        assert!(address.exists() && !store.exists());
        rooted.call("host-local", Verb::Del, &call).unwrap();
        assert!(!address.exists());
    }
}
