//! From a plugin as a value to a CNI executable, as a pure function: no printing, no exit, no ambient
//! environment.

use std::ffi::OsString;
use std::io::Read;
use std::panic::{self, AssertUnwindSafe};

use crate::conf::{self, PluginConf};
use crate::delegate::Output;
use crate::error::Error;
use crate::gate::{self, VersionInfo};
use crate::invocation::Invocation;
use crate::result::Success;
use crate::verb::Verb;
use crate::version::Version;

/// A plugin, built in.
pub trait PluginMain {
    /// Its type, as in `CNI <name> plugin …`.
    fn name(&self) -> &str;
    /// The version in its about text.
    fn about_version(&self) -> &str;
    /// The protocol versions it accepts, oldest first.
    fn versions(&self) -> &[Version];
    /// Verbs that it does not implement succeed silently. Not asked for VERSION.
    fn implements(&self, verb: Verb) -> bool;
    /// Does the work. The config is decoded and fits [`PluginMain::versions`].
    fn call(&self, verb: Verb, invocation: &Invocation, conf: &PluginConf) -> Result<Output, Error>;
}

/// What an executable is to print and exit with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The result, the version line, or the error object.
    pub stdout: String,
    /// The about text, or nothing.
    pub stderr: String,
    /// 0, or 1 for every error.
    pub code: i32,
}

impl Answer {
    fn failure(error: &Error) -> Answer {
        Answer { stdout: error.to_json(), code: 1, ..Answer::default() }
    }
}

/// An executable that a runtime calls, as far as every one of them is the same.
#[derive(Clone, Copy, Debug)]
pub struct Program<'a> {
    /// Its type, as in `CNI <name> plugin …`.
    pub name: &'a str,
    /// The version in its about text.
    pub about_version: &'a str,
    /// The protocol versions it accepts, oldest first.
    pub versions: &'a [Version],
}

impl Program<'_> {
    /// Serves one call: checks the environment and reads stdin, has the work done, and makes an answer of the outcome. Every failure, a defect
    /// of ours included, is a CNI error object. Without a command it says what it is.
    pub fn answer(
        &self,
        vars: impl IntoIterator<Item = (OsString, OsString)>,
        stdin: &mut dyn Read,
        serve: impl FnOnce(Verb, &Invocation) -> Result<String, Error>,
    ) -> Answer {
        let vars: Vec<(OsString, OsString)> = vars.into_iter().collect();
        if vars.iter().all(|(name, value)| name != "CNI_COMMAND" || value.is_empty()) {
            return Answer { stderr: self.about(), ..Answer::default() };
        }
        // A panic is a defect of ours, and even then the runtime gets an error object instead of a broken pipe.
        let run = || Invocation::from_env(vars, stdin).and_then(|(verb, call)| serve(verb, &call));
        let text = panic::catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| Err(self.panicked()));
        match text {
            Ok(stdout) => Answer { stdout, ..Answer::default() },
            Err(error) => Answer::failure(&error),
        }
    }

    fn about(&self) -> String {
        let versions: Vec<&str> = self.versions.iter().map(|version| version.as_str()).collect();
        format!(
            "CNI {} plugin {}\nCNI protocol versions supported: {}\n",
            self.name,
            self.about_version,
            versions.join(", ")
        )
    }

    fn panicked(&self) -> Error {
        Error::internal(format!("plugin {} panicked; this is a defect, its message is on stderr", self.name))
    }
}

/// Runs a plugin as an executable: checks the environment and stdin, applies the version gates, calls it,
/// prints.
pub fn dispatch(
    plugin: &dyn PluginMain,
    vars: impl IntoIterator<Item = (OsString, OsString)>,
    stdin: &mut dyn Read,
) -> Answer {
    let program =
        Program { name: plugin.name(), about_version: plugin.about_version(), versions: plugin.versions() };
    program.answer(vars, stdin, |verb, call| run(plugin, verb, call))
}

/// Calls a plugin inside this process by the rules of the executable: the same checks of the config, the
/// same gates, and a result that can be printed as the config's version.
pub fn invoke(plugin: &dyn PluginMain, verb: Verb, invocation: &Invocation) -> Result<Output, Error> {
    if verb == Verb::Version {
        return Ok(Output::Version(VersionInfo::of(plugin.versions())));
    }
    call(plugin, verb, invocation)
}

fn run(plugin: &dyn PluginMain, verb: Verb, invocation: &Invocation) -> Result<String, Error> {
    if verb == Verb::Version {
        return Ok(VersionInfo::of(plugin.versions()).to_json());
    }
    match call(plugin, verb, invocation)? {
        Output::Success(success) => success.print(success.cni_version),
        Output::Version(info) => Ok(info.to_json()),
        Output::Empty => Ok(String::new()),
    }
}

/// The checks of the config, the gates and the call.
fn call(plugin: &dyn PluginMain, verb: Verb, invocation: &Invocation) -> Result<Output, Error> {
    let request = conf::check_stdin(&invocation.stdin)?;
    gate::check(verb, conf::version_text(&request)?, plugin.versions())?;
    if !plugin.implements(verb) {
        return Ok(Output::Empty);
    }
    let conf = PluginConf::from_map(request)?;
    match plugin.call(verb, invocation, &conf)? {
        Output::Success(success) if verb == Verb::Add => {
            success.check_convertible(conf.cni_version)?;
            Ok(Output::Success(Success { cni_version: conf.cni_version, ..success }))
        }
        _ if verb == Verb::Add => Err(Error::internal(format!("plugin {} made no result", plugin.name()))),
        _ => Ok(Output::Empty),
    }
}

#[cfg(test)]
mod tests;
