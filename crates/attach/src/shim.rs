//! The executable `multus-shim` as a value (spec/multus.md 13.7): one request to the node agent, and what happens without one.
//!
//! Without an agent a DEL and a CHECK are done here, from the caches on disk, by the same code; a STATUS says so at once (code 50); an ADD
//! waits for a while and is then answered with "try again later" (code 11). An ADD whose agent dies in the middle is made again when the
//! agent is back, because a repeated ADD converges; if it stays away, what was done is taken back here.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use polynic_cni::{Answer, Error, Invocation, Success, Verb, Version, VersionInfo, code, conf, gate, json};
use polynic_wire::ServiceError;
use polynic_wire::multus::deletions::Deletions;
use polynic_wire::multus::{self, CniAnswer, CniRequest, Endpoint, Reply};
use serde::Deserialize;

use crate::log::{Log, LogConfig};
use crate::thin::Thin;

/// How long a shim waits for whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Between two looks whether the agent is ready.
    pub interval: Duration,
    /// For an agent that is to attach a pod.
    pub ready: Duration,
    /// For an agent without which something else can be done.
    pub brief: Duration,
    /// For the whole call. Container runtimes give up after two minutes or more.
    pub total: Duration,
}

impl Patience {
    /// As the replaced shim waits for the agent, and within what kubelet grants.
    pub const DEFAULT: Patience = Patience {
        interval: Duration::from_millis(100),
        ready: Duration::from_secs(60),
        brief: Duration::from_secs(2),
        total: Duration::from_secs(110),
    };
}

/// The executable, with what it needs of the machine.
#[derive(Clone, Copy)]
pub struct Shim<'a> {
    /// The agent whose socket lies in a directory.
    pub agent: &'a dyn Fn(&Path) -> Box<dyn Endpoint>,
    /// What is done here without an agent. It has no API server.
    pub local: Thin<'a>,
    /// Where deletions wait that could not be completed.
    pub deletions: &'a Deletions,
    /// How long to wait.
    pub patience: Patience,
}

/// What the shim reads of its configuration.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Conf {
    cni_version: String,
    daemon_socket_dir: String,
}

impl Shim<'_> {
    /// Serves one call. Every failure, a defect of ours included, is a CNI error object.
    pub fn answer(
        &self,
        vars: impl IntoIterator<Item = (OsString, OsString)>,
        stdin: &mut dyn Read,
    ) -> Answer {
        let vars: Vec<(OsString, OsString)> = vars.into_iter().collect();
        let env = texts(&vars);
        self.local.program("multus-shim").answer(vars, stdin, |verb, call| self.serve(verb, call, env))
    }

    fn serve(
        &self,
        verb: Verb,
        invocation: &Invocation,
        env: BTreeMap<String, String>,
    ) -> Result<String, Error> {
        if verb == Verb::Version {
            return Ok(VersionInfo::of(&Version::ALL).to_json());
        }
        let map = conf::check_stdin(&invocation.stdin)?;
        gate::check(verb, conf::version_text(&map)?, &Version::ALL)?;
        let load = |why: json::JsonError| Error::internal(format!("LoadShimNetConf: {why}"));
        let log: LogConfig =
            LogConfig { log_to_stderr: logs_to_stderr(&map), ..json::from_map(&map).map_err(load)? };
        let conf: Conf = json::from_map(&map).map_err(load)?;
        let directory = match conf.daemon_socket_dir.as_str() {
            "" => PathBuf::from(multus::SOCKET_DIR),
            directory => PathBuf::from(directory),
        };
        let request = CniRequest { env, config: invocation.stdin.clone(), attributes: None };
        let body = serde_json::to_vec(&request).map_err(|why| Error::internal(why.to_string()))?;
        let agent = (self.agent)(&directory);
        let end = Instant::now() + self.patience.total;
        let call = Call { shim: self, verb, invocation, request, body, agent: agent.as_ref(), end };
        call.serve(&Log::open(&log), &conf.cni_version)
    }
}

/// Unlike the plugin itself, the shim is silent unless it is told to speak.
fn logs_to_stderr(map: &polynic_cni::JsonMap) -> bool {
    json::get_ci(map, "logToStderr").and_then(serde_json::Value::as_bool).unwrap_or_default()
}

fn texts(vars: &[(OsString, OsString)]) -> BTreeMap<String, String> {
    let text = |text: &OsString| text.to_string_lossy().into_owned();
    vars.iter().map(|(name, value)| (text(name), text(value))).collect()
}

/// One call with everything that it needs.
struct Call<'a> {
    shim: &'a Shim<'a>,
    verb: Verb,
    invocation: &'a Invocation,
    request: CniRequest,
    body: Vec<u8>,
    agent: &'a dyn Endpoint,
    end: Instant,
}

impl Call<'_> {
    fn serve(&self, log: &Log, version: &str) -> Result<String, Error> {
        match self.verb {
            Verb::Add => self.add(log, version),
            Verb::Del => self.del(log).map(|()| String::new()),
            Verb::Check => self.check(log).map(|()| String::new()),
            Verb::Status => self.status().map(|()| String::new()),
            Verb::Gc => self.gc().map(|()| String::new()),
            Verb::Version => Ok(String::new()),
        }
    }

    fn add(&self, log: &Log, version: &str) -> Result<String, Error> {
        let mut broken = false;
        loop {
            if let Err(why) = self.ready(self.shim.patience.ready) {
                return Err(self.given_up(log, broken, &why));
            }
            match self.post() {
                Ok(Reply { status: 200, body }) => return self.result(&body, version),
                Ok(reply) => return Err(self.refused(&reply)),
                Err(why @ ServiceError::Late { .. }) => return Err(self.later(&why)),
                Err(why) => {
                    log.error(&format!("{}, trying again", self.named(&why)));
                    broken = true;
                    thread::sleep(self.shim.patience.interval);
                }
            }
        }
    }

    /// No agent came. If one died over this ADD, what it did must not stay: the runtime may not know of it.
    fn given_up(&self, log: &Log, broken: bool, why: &ServiceError) -> Error {
        if broken {
            log.error(&format!("{}, taking the ADD back", self.named(why)));
            if let Err(left) = self.delete_here() {
                log.error(&left.to_string());
            }
        }
        self.later(why)
    }

    /// The result in the version that the runtime asks for.
    fn result(&self, body: &[u8], version: &str) -> Result<String, Error> {
        let garbled =
            |why: &dyn std::fmt::Display| self.plain(&format!("the agent's answer makes no sense: {why}"));
        let answer: CniAnswer = serde_json::from_slice(body).map_err(|why| garbled(&why))?;
        let text = answer.result.to_string();
        let result = Success::parse(text.as_bytes(), Version::NEWEST).map_err(|why| garbled(&why))?;
        let version = Version::or_oldest(version).map_err(|why| garbled(&why))?;
        result.print(version)
    }

    /// Never fails where something else can be done: by the agent, here, or by an agent that comes later.
    fn del(&self, log: &Log) -> Result<(), Error> {
        if self.ask(multus::HEALTHZ, Instant::now() + self.shim.patience.brief).is_ok() {
            match self.post() {
                Ok(Reply { status: 200, .. }) => return Ok(()),
                Ok(reply) => {
                    log.error(&self.refused(&reply).to_string());
                    // The agent goes on; the runtime hears what the replaced shim says.
                    if reply.is_written_down() {
                        return Ok(());
                    }
                }
                Err(why) => log.error(&self.named(&why)),
            }
        }
        log.verbose(|| format!("no agent that does it, deleting {} here", self.invocation.container_id));
        self.delete_here()
    }

    /// From the caches on disk. What cannot be completed waits for an agent; if not even that works, the runtime has to know.
    fn delete_here(&self) -> Result<(), Error> {
        let Err(why) = self.shim.local.serve(Verb::Del, self.invocation) else { return Ok(()) };
        let mut deletion = self.request.clone();
        deletion.env.insert("CNI_COMMAND".to_owned(), "DEL".to_owned());
        let recorded = self.shim.deletions.record(&self.invocation.container_id, &deletion);
        recorded.map_err(|unwritten| {
            self.plain(&format!("{why}, and it cannot be left to the agent: {unwritten}"))
        })
    }

    fn check(&self, log: &Log) -> Result<(), Error> {
        match self.asked_briefly() {
            Ok(Reply { status: 200, .. }) => Ok(()),
            Ok(reply) => Err(self.refused(&reply)),
            Err(why) => {
                log.error(&format!("{}, checking here", self.named(&why)));
                let checked = self.shim.local.serve(Verb::Check, self.invocation);
                checked.map(drop).map_err(|why| why.within(self.name()))
            }
        }
    }

    /// The codes of a plugin reach the runtime as they are; an agent that is not there attaches nobody.
    fn status(&self) -> Result<(), Error> {
        match self.asked_briefly() {
            Ok(Reply { status: 200, .. }) => Ok(()),
            Ok(reply) => Err(Error::from_json(&reply.body).unwrap_or_else(|_| self.refused(&reply))),
            Err(why) => Err(Error::not_available(self.named(&why))),
        }
    }

    fn gc(&self) -> Result<(), Error> {
        match self.asked_briefly() {
            Ok(Reply { status: 200, .. }) => Ok(()),
            Ok(reply) => Err(self.refused(&reply)),
            Err(why) => Err(self.later(&why)),
        }
    }

    /// The agent's answer, if it is there now or very soon.
    fn asked_briefly(&self) -> Result<Reply, ServiceError> {
        self.ready(self.shim.patience.brief)?;
        self.post()
    }

    fn post(&self) -> Result<Reply, ServiceError> {
        self.agent.post(multus::CNI, &self.body, self.end)
    }

    /// Waits until the agent says that it is ready, looking at least once.
    fn ready(&self, patience: Duration) -> Result<(), ServiceError> {
        let last = self.end.min(Instant::now() + patience);
        loop {
            let Err(why) = self.ask(multus::READYZ, last.max(Instant::now() + self.shim.patience.interval))
            else {
                return Ok(());
            };
            if Instant::now() + self.shim.patience.interval >= last {
                return Err(why);
            }
            thread::sleep(self.shim.patience.interval);
        }
    }

    /// Asks a probe. Agents of old releases have no [`multus::READYZ`].
    fn ask(&self, probe: &'static str, deadline: Instant) -> Result<(), ServiceError> {
        match self.agent.post(probe, b"", deadline)? {
            Reply { status: 200, .. } => Ok(()),
            Reply { status: 404, .. } if probe == multus::READYZ => self.ask(multus::HEALTHZ, deadline),
            Reply { status, .. } => Err(ServiceError::status(status, format!("{probe} answers {status}"))),
        }
    }

    /// What the agent says. An error object keeps its code: "try again later" means the same one layer up.
    fn refused(&self, reply: &Reply) -> Error {
        match Error::from_json(&reply.body) {
            Ok(error) if error.code != 0 => error.within(self.name()),
            _ => self.plain(String::from_utf8_lossy(&reply.body).trim()),
        }
    }

    fn plain(&self, text: &str) -> Error {
        let stdin = String::from_utf8_lossy(&self.invocation.stdin);
        Error::internal(format!("{}: {text}: StdinData: {}", self.name(), stdin.trim()))
    }

    fn later(&self, why: &ServiceError) -> Error {
        Error::new(code::TRY_AGAIN_LATER, self.named(why), "")
    }

    /// The failure with the verb, the pod and its causes.
    fn named(&self, why: &ServiceError) -> String {
        let text = crate::cause::chain(why);
        match pod_of(&self.invocation.args) {
            Some(pod) => format!("{}: pod {pod}: {text}", self.name()),
            None => format!("{}: {text}", self.name()),
        }
    }

    fn name(&self) -> String {
        let verb = match self.verb {
            Verb::Add => "Add",
            Verb::Del => "Del",
            Verb::Check => "Check",
            Verb::Status => "Status",
            Verb::Gc => "GC",
            Verb::Version => "Version",
        };
        format!("Cmd{verb} (shim)")
    }
}

/// `namespace/name` in `CNI_ARGS`.
fn pod_of(args: &str) -> Option<String> {
    let value =
        |key: &str| args.split(';').filter_map(|pair| pair.split_once('=')).find(|(known, _)| *known == key);
    let (namespace, name) = (value("K8S_POD_NAMESPACE")?.1, value("K8S_POD_NAME")?.1);
    Some(format!("{namespace}/{name}"))
}

#[cfg(test)]
mod tests;
