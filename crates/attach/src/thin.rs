//! The executable `multus` as a value: from environment and stdin to what is printed, once per call.

use std::ffi::OsString;
use std::io::Read;

use polynic_cni::{Answer, Delegate, Error, Invocation, Program, Verb, Version, VersionInfo, conf, gate};

use crate::cluster::{Cluster, PodNetns};
use crate::config::Config;
use crate::context::{Context, LOCK_PATIENCE, Wait};
use crate::guard::Guard;
use crate::log::Log;
use crate::pod_args::Forward;
use crate::{add, check, del, gc, status};

/// How to get at the API server: `None` without credentials. The configuration says which.
pub type Connect<'a> = &'a dyn Fn(&Config) -> Result<Option<Box<dyn Cluster>>, Error>;

/// Who keeps network policies in force, if the configuration switches them on.
pub type FindGuard<'a> = &'a dyn Fn(&Config) -> Option<Box<dyn Guard>>;

/// The executable, with what it needs of the machine.
#[derive(Clone, Copy)]
pub struct Thin<'a> {
    /// Who calls the plugins.
    pub delegate: &'a dyn Delegate,
    /// The pod's network namespace.
    pub netns: &'a dyn PodNetns,
    /// How to get at the API server; asked only by verbs that need it.
    pub connect: Connect<'a>,
    /// How to get at the guard; asked by ADD only.
    pub guard: FindGuard<'a>,
    /// Version of the program, for the about text.
    pub version: &'a str,
}

impl Thin<'_> {
    /// Serves one call. Every failure, a defect of ours included, is a CNI error object.
    pub fn answer(
        &self,
        vars: impl IntoIterator<Item = (OsString, OsString)>,
        stdin: &mut dyn Read,
    ) -> Answer {
        self.program("multus").answer(vars, stdin, |verb, call| self.serve(verb, call))
    }

    /// The executable under one of its names.
    pub(crate) fn program<'a>(&'a self, name: &'a str) -> Program<'a> {
        Program { name, about_version: self.version, versions: &Version::ALL }
    }

    /// One call, already checked by the protocol's rules.
    pub(crate) fn serve(&self, verb: Verb, invocation: &Invocation) -> Result<String, Error> {
        if verb == Verb::Version {
            return Ok(VersionInfo::of(&Version::ALL).to_json());
        }
        let request = conf::check_stdin(&invocation.stdin)?;
        gate::check(verb, conf::version_text(&request)?, &Version::ALL)?;
        let config = Config::of_call(verb, &invocation.stdin).map_err(|why| load_error(verb, why.into()))?;
        let log = Log::open(&config.log);
        let cluster = self.cluster(verb, &config, &log)?;
        let guard = if verb == Verb::Add { (self.guard)(&config) } else { None };
        let context = Context {
            guard: guard.as_deref(),
            delegate: self.delegate,
            cluster: cluster.as_deref(),
            netns: self.netns,
            log: &log,
            readiness: Wait::READINESS,
            lock: LOCK_PATIENCE,
            forward: Forward::All,
        };
        serve(verb, &context, invocation, &config)
    }

    /// Bad credentials fail an ADD; a DEL goes on without them.
    fn cluster(&self, verb: Verb, config: &Config, log: &Log) -> Result<Option<Box<dyn Cluster>>, Error> {
        if verb == Verb::Check {
            return Ok(None);
        }
        match (self.connect)(config) {
            Err(why) if verb == Verb::Del => {
                log.error(&format!("{why}, going on without the API server"));
                Ok(None)
            }
            connected => connected,
        }
    }
}

fn serve(
    verb: Verb,
    context: &Context<'_>,
    invocation: &Invocation,
    config: &Config,
) -> Result<String, Error> {
    let done = match verb {
        // In the version that the master delegate answered with, whatever our own is (spec/multus.md 8.1 step 8).
        Verb::Add => {
            return add(context, invocation, config).and_then(|result| result.print(result.cni_version));
        }
        Verb::Del => del(context, invocation, config),
        Verb::Check => check(context, invocation, config),
        Verb::Status => status(context, invocation, config),
        Verb::Gc => gc(context, invocation, config),
        Verb::Version => Ok(()),
    };
    done.map(|()| String::new())
}

fn load_error(verb: Verb, why: Error) -> Error {
    if verb == Verb::Add { why.within("Multus: error loading netconf") } else { why }
}

#[cfg(test)]
mod tests;
