//! The work of a `cnitool`-compatible command (spec/cni.md 5.7), without printing and exit.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha512};

use crate::conflist;
use crate::error::Error;
use crate::json::{self, JsonMap};
use crate::list::{Runtime, RuntimeConf};

/// Where networks are looked for unless `NETCONFPATH` says otherwise.
pub const DEFAULT_CONF_DIRECTORY: &str = "/etc/cni/net.d";

/// What the command line and the environment say. Empty texts mean "not given".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request<'a> {
    /// `add`, `check`, `del`, `gc` or `status`.
    pub command: &'a str,
    /// Name of the network.
    pub network: &'a str,
    /// Path of the namespace, absolute or relative to `working_directory`.
    pub netns: &'a str,
    /// The `--ifname` flag.
    pub ifname_flag: &'a str,
    /// `CNI_IFNAME`; the flag wins, `eth0` is the default.
    pub ifname_env: &'a str,
    /// `NETCONFPATH`.
    pub conf_directory: &'a str,
    /// `CAP_ARGS`: a JSON object of capability arguments.
    pub capability_args: &'a str,
    /// `CNI_ARGS`: strict pairs.
    pub args: &'a str,
    /// What a relative `netns` is relative to.
    pub working_directory: &'a str,
}

/// Does what is asked. The text is what to print on stdout: the result of `add` in its own version, else
/// nothing.
pub fn run(runtime: &Runtime<'_>, request: &Request<'_>) -> Result<String, Error> {
    let or =
        |given: &'_ str, default: &str| if given.is_empty() { default.to_owned() } else { given.to_owned() };
    let directory = or(request.conf_directory, DEFAULT_CONF_DIRECTORY);
    let list = conflist::find(Path::new(&directory), request.network)?;
    let conf = runtime_conf(request)?;
    match request.command {
        "add" => {
            let result = runtime.add_list(&list, &conf)?;
            return result.print(result.cni_version);
        }
        "check" => runtime.check_list(&list, &conf)?,
        "del" => runtime.del_list(&list, &conf)?,
        "gc" => runtime.gc_list(&list, None)?,
        "status" => runtime.status_list(&list)?,
        other => {
            return Err(Error::internal(format!(
                "unknown command {other:?}: use add, check, del, gc or status"
            )));
        }
    }
    Ok(String::new())
}

/// `cnitool-` and the first ten bytes of the SHA-512 of the namespace's absolute path, in hex.
pub fn container_id(netns: &str) -> String {
    let digest = Sha512::digest(netns.as_bytes());
    let hex: String = digest.iter().take(10).map(|byte| format!("{byte:02x}")).collect();
    format!("cnitool-{hex}")
}

fn runtime_conf(request: &Request<'_>) -> Result<RuntimeConf, Error> {
    let netns = absolute(request.working_directory, request.netns);
    let ifname = [request.ifname_flag, request.ifname_env, "eth0"].into_iter().find(|name| !name.is_empty());
    Ok(RuntimeConf {
        container_id: container_id(&netns),
        netns,
        ifname: ifname.unwrap_or_default().to_owned(),
        args: pairs(request.args)?,
        capability_args: capability_args(request.capability_args)?,
    })
}

/// Without `.` and `..`, as Go's `filepath.Abs` cleans a path; symbolic links are not followed.
fn absolute(working_directory: &str, path: &str) -> String {
    let mut clean = PathBuf::from("/");
    for part in Path::new(working_directory).join(path).components() {
        match part {
            std::path::Component::ParentDir => {
                clean.pop();
            }
            std::path::Component::Normal(name) => clean.push(name),
            _ => {}
        }
    }
    clean.to_string_lossy().into_owned()
}

fn pairs(text: &str) -> Result<Vec<(String, String)>, Error> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    text.split(';').map(pair).collect()
}

fn pair(text: &str) -> Result<(String, String), Error> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() && !value.is_empty() && !value.contains('=') => {
            Ok((key.to_owned(), value.to_owned()))
        }
        _ => Err(Error::internal(format!("invalid CNI_ARGS pair {text:?}"))),
    }
}

fn capability_args(text: &str) -> Result<JsonMap, Error> {
    if text.is_empty() {
        return Ok(JsonMap::new());
    }
    json::parse_object(text.as_bytes()).map_err(|why| Error::internal(format!("CAP_ARGS: {why}")))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::delegate::{Delegate, Output};
    use crate::invocation::Invocation;
    use crate::result::Success;
    use crate::verb::Verb;

    /// Answers every ADD with a result that shows what it was called with.
    struct Echo;

    impl Delegate for Echo {
        fn call(&self, _: &str, verb: Verb, invocation: &Invocation) -> Result<Output, Error> {
            if verb != Verb::Add {
                return Ok(Output::Empty);
            }
            let mut success = Success::default();
            success.dns.domain = format!("{} {} {}", invocation.netns, invocation.ifname, invocation.args);
            Ok(Output::Success(success))
        }
    }

    fn lab() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("a.conf"), r#"{"name":"lab","cniVersion":"1.1.0","type":"x"}"#)
            .unwrap();
        directory
    }

    fn ask(directory: &Path, change: impl Fn(&mut Request<'_>)) -> Result<String, Error> {
        let conf_directory = directory.to_str().unwrap();
        let mut request = Request {
            command: "add",
            network: "lab",
            netns: "/run/ns",
            conf_directory,
            ..Request::default()
        };
        change(&mut request);
        run(&Runtime::new(directory.join("cache"), "/bin/cni", &Echo), &request)
    }

    #[test]
    fn the_container_id_is_made_of_the_path() {
        // printf /run/ns | sha512sum | cut -c1-20
        assert_eq!(container_id("/run/ns"), "cnitool-f65415ea703e65ae994c");
    }

    #[test]
    fn add_prints_and_gc_removes_every_attachment() {
        let lab = lab();
        let printed = ask(lab.path(), |request| request.args = "K=v").unwrap();
        assert!(printed.contains("\"domain\": \"/run/ns eth0 K=v\""), "{printed}");
        let cached = || fs::read_dir(lab.path().join("cache/results")).unwrap().count();
        assert_eq!(cached(), 1);
        for command in ["check", "status", "gc"] {
            assert_eq!(ask(lab.path(), |request| request.command = command), Ok(String::new()));
        }
        assert_eq!(cached(), 0);
    }

    #[test]
    fn the_flag_wins_over_the_environment_and_paths_become_absolute() {
        let lab = lab();
        let printed = ask(lab.path(), |request| {
            (request.netns, request.working_directory) = ("../ns/./a", "/run/x");
            (request.ifname_flag, request.ifname_env) = ("net1", "net2");
        });
        assert!(printed.unwrap().contains("/run/ns/a net1 "));
    }

    #[test]
    fn wrong_input_is_an_error() {
        let lab = lab();
        for args in ["K", "K=", "=v", "K=v=w", "K=v;"] {
            assert!(ask(lab.path(), |request| request.args = args).unwrap_err().msg.contains("CNI_ARGS"));
        }
        assert!(
            ask(lab.path(), |request| request.capability_args = "[]").unwrap_err().msg.contains("CAP_ARGS")
        );
        assert!(
            ask(lab.path(), |request| request.command = "ADD").unwrap_err().msg.contains("unknown command")
        );
        assert!(
            ask(lab.path(), |request| request.network = "x")
                .unwrap_err()
                .msg
                .contains("no net configuration")
        );
    }
}
