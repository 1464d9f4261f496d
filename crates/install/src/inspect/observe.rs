//! Looks at a node: directories are listed, files read, sockets connected to. Nothing is written.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use polynic_cni::json::get_ci;
use rustix::fs::{Access, StatVfsMountFlags};
use serde_json::Value;

use super::{Configuration, Seen};
use crate::candidates::read_small;

/// What is left at least for a few more files: each of ours is smaller than a block.
const LEAST_BLOCKS: u64 = 64;
/// How long a daemon may take to take a connection.
const PATIENCE: Duration = Duration::from_secs(2);
/// The agent's socket, where the chart puts it.
const ADDRESSES: &str = "run/spidernet/spiderpool.sock";
/// The replaced daemon's default.
const SOCKET_DIRECTORY: &str = "run/multus";

/// Where things are on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    root: PathBuf,
}

impl Places {
    /// The usual places below a root: `/` on the node itself, `/host` in most manifests.
    pub fn below(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }
}

/// Looks.
pub fn observe(places: &Places) -> Seen {
    let directory = places.at("etc/cni/net.d");
    let configurations = configurations(&directory);
    let plugins: Vec<Value> = configurations
        .iter()
        .flatten()
        .filter_map(|(_, read)| read.as_ref().ok())
        .flat_map(super::rules::plugins)
        .cloned()
        .collect();
    // Plugins and configurations are put there by installers, and no ADD writes there: nodes may have them read-only.
    let kept = ["run/polynic", "var/lib/polynic", "var/lib/cni"];
    Seen {
        plugins: executables(&places.at("opt/cni/bin")),
        programs: places.at("opt/cni/bin"),
        directory,
        configurations,
        unreadable: unreadable(places, &plugins),
        unwritable: kept.iter().filter_map(|path| unwritable(&places.at(path))).collect(),
        silent: silent(places, &plugins),
        waiting: ["var/lib/polynic/deletions", "var/lib/polynic/releases"]
            .map(|path| (places.at(path), count(&places.at(path))))
            .to_vec(),
    }
}

fn executables(directory: &Path) -> Result<Vec<String>, String> {
    let entries = fs::read_dir(directory).map_err(|why| why.to_string())?.flatten();
    let runs = |entry: &fs::DirEntry| {
        fs::metadata(entry.path()).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    };
    Ok(entries.filter(runs).filter_map(|entry| entry.file_name().into_string().ok()).collect())
}

/// What the reference library, and with it every runtime, takes for configurations.
fn configurations(directory: &Path) -> Result<Vec<Configuration>, String> {
    let entries = fs::read_dir(directory).map_err(|why| why.to_string())?.flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<String> =
        names.filter(|name| [".conf", ".conflist", ".json"].iter().any(|end| name.ends_with(end))).collect();
    names.sort();
    let read = |name: &String| {
        let bytes = read_small(&directory.join(name)).map_err(|why| why.to_string())?;
        serde_json::from_slice(&bytes).map_err(|why| format!("it is no JSON: {why}"))
    };
    Ok(names.into_iter().map(|name| (name.clone(), read(&name))).collect())
}

/// Credentials that plugins are told of.
fn unreadable(places: &Places, plugins: &[Value]) -> Vec<(PathBuf, String)> {
    let named = plugins.iter().filter_map(|plugin| get_ci(plugin.as_object()?, "kubeconfig")?.as_str());
    let files = named.filter(|path| !path.is_empty()).map(|path| places.at(path));
    files.filter_map(|path| Some((path.clone(), read_small(&path).err()?.to_string()))).collect()
}

/// Why nothing more can be kept in a directory. One that is not there is made when it is needed, by whoever may write above.
fn unwritable(directory: &Path) -> Option<(PathBuf, String)> {
    let there = directory.ancestors().find(|path| path.exists())?;
    let said = |why: String| Some((directory.to_owned(), why));
    if !there.is_dir() {
        return said(format!("{} is no directory", there.display()));
    }
    let space = rustix::fs::statvfs(there).ok()?;
    if space.f_flag.contains(StatVfsMountFlags::RDONLY) {
        return said("its file system is mounted read-only".to_owned());
    }
    if rustix::fs::access(there, Access::WRITE_OK).is_err() {
        return said("it may not be written by this user".to_owned());
    }
    // File systems without a limit of files say zero of zero.
    if space.f_bavail < LEAST_BLOCKS || (space.f_files > 0 && space.f_favail < LEAST_BLOCKS) {
        return said("its file system is full".to_owned());
    }
    None
}

/// Daemons that somebody on this node counts on.
fn silent(places: &Places, plugins: &[Value]) -> Vec<(PathBuf, String)> {
    let shims = plugins.iter().filter_map(Value::as_object);
    let shims = shims.filter(|plugin| get_ci(plugin, "type").is_some_and(|name| name == "multus-shim"));
    let sockets = shims.map(|shim| {
        let directory =
            get_ci(shim, "daemonSocketDir").and_then(Value::as_str).filter(|path| !path.is_empty());
        places.at(directory.unwrap_or(SOCKET_DIRECTORY)).join("multus.sock")
    });
    let addresses = Some(places.at(ADDRESSES)).filter(|socket| socket.exists());
    let unanswered = |path: PathBuf| Some((path.clone(), connect(&path).err()?.to_string()));
    sockets.chain(addresses).filter_map(unanswered).collect()
}

/// Connects, on a thread of its own: a daemon that hangs lets those who come wait for ever once there are many of them.
fn connect(path: &Path) -> io::Result<()> {
    let (tell, told) = mpsc::channel();
    let path = path.to_owned();
    thread::Builder::new().spawn(move || tell.send(UnixStream::connect(path).map(drop)))?;
    told.recv_timeout(PATIENCE)
        .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "it lets us wait")))
}

fn count(directory: &Path) -> usize {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter(|entry| !entry.file_name().to_string_lossy().starts_with('.')).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    fn put(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn what_a_runtime_would_read_is_read_in_its_order() {
        let root = tempfile::tempdir().unwrap();
        put(root.path(), "etc/cni/net.d/10-b.conflist", r#"{"plugins":[{"type":"ptp"}]}"#);
        put(root.path(), "etc/cni/net.d/00-a.conf", "{");
        put(root.path(), "etc/cni/net.d/notes.txt", "");
        let seen = observe(&Places::below(root.path()));
        let configurations = seen.configurations.unwrap();
        assert_eq!(configurations[0].0, "00-a.conf");
        assert!(configurations[0].1.is_err() && configurations[1].1.is_ok() && configurations.len() == 2);
        assert!(seen.plugins.unwrap_err().contains("No such file"));
    }

    #[test]
    fn sockets_and_credentials_are_those_that_configurations_name() {
        let root = tempfile::tempdir().unwrap();
        let conf = r#"{"type":"multus-shim","daemonSocketDir":"/run/here","kubeconfig":"/etc/gone"}"#;
        put(root.path(), "etc/cni/net.d/00-multus.conf", conf);
        fs::create_dir_all(root.path().join("run/here")).unwrap();
        let look = || observe(&Places::below(root.path()));
        assert!(look().silent[0].0.ends_with("run/here/multus.sock"));
        assert!(look().unreadable[0].0.ends_with("etc/gone"));
        let _listener = UnixListener::bind(root.path().join("run/here/multus.sock")).unwrap();
        put(root.path(), "etc/gone", "here");
        assert_eq!((look().silent, look().unreadable), (Vec::new(), Vec::new()));
    }

    #[test]
    fn what_is_no_file_does_not_hold_up_the_look() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("etc/cni/net.d/10-pipe.conf");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        let seen = observe(&Places::below(root.path()));
        assert_eq!(seen.configurations.unwrap()[0].1, Err("it is no file".to_owned()));
    }

    #[test]
    fn what_waits_is_counted() {
        let root = tempfile::tempdir().unwrap();
        put(root.path(), "var/lib/polynic/deletions/c1", "{}");
        put(root.path(), "var/lib/polynic/deletions/.half", "");
        let counts: Vec<usize> =
            observe(&Places::below(root.path())).waiting.into_iter().map(|(_, n)| n).collect();
        assert_eq!(counts, [1, 0]);
    }

    #[test]
    fn a_file_in_the_place_of_a_directory_is_seen() {
        let root = tempfile::tempdir().unwrap();
        put(root.path(), "run/polynic", "");
        let seen = observe(&Places::below(root.path()));
        assert!(seen.unwritable[0].1.contains("is no directory"), "{:?}", seen.unwritable);
    }
}
