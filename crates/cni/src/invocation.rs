//! One call of a plugin as a value: the environment and stdin, checked in the order of spec/cni.md 1.1.

use std::ffi::OsString;
use std::io::Read;

use crate::conf;
use crate::error::Error;
use crate::names;
use crate::verb::Verb;

/// What a plugin is called with, apart from the verb.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Invocation {
    /// `CNI_CONTAINERID`.
    pub container_id: String,
    /// `CNI_NETNS`: path of the pod's namespace; may be empty for DEL.
    pub netns: String,
    /// `CNI_IFNAME`.
    pub ifname: String,
    /// `CNI_ARGS` as given; see [`crate::args::parse`].
    pub args: String,
    /// `CNI_PATH`: directories with plugins, separated by `:`.
    pub path: String,
    /// `CNI_NETNS_OVERRIDE`: do not insist that the pod's namespace is another than our own.
    pub netns_override: bool,
    /// The request configuration.
    pub stdin: Vec<u8>,
    /// The rest of the environment, which delegates inherit.
    pub env: Vec<(OsString, OsString)>,
}

/// The variables that an [`Invocation`] holds as fields, in the order in which they are checked.
pub(crate) const VARIABLES: [&str; 6] =
    ["CNI_COMMAND", "CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS", "CNI_PATH"];

impl Invocation {
    /// Reads and checks everything that a plugin is called with. stdin is not touched for VERSION.
    ///
    /// Errors by spec/cni.md 1.1: the first invalid variable, then all missing ones (code 4), stdin (5), the
    /// config's form (6) and network name (7), and last an unknown command (4).
    pub fn from_env(
        vars: impl IntoIterator<Item = (OsString, OsString)>,
        stdin: &mut dyn Read,
    ) -> Result<(Verb, Invocation), Error> {
        let (command, mut invocation) = split(vars);
        invocation.check_env(&command)?;
        if command == Verb::Version.as_str() {
            return Ok((Verb::Version, invocation));
        }
        let read = stdin.read_to_end(&mut invocation.stdin);
        read.map_err(|why| Error::io(format!("error reading from stdin: {why}")))?;
        conf::check_stdin(&invocation.stdin)?;
        let unknown = || Error::invalid_environment(format!("unknown CNI_COMMAND: {command}"), "");
        Ok((Verb::from_word(&command).ok_or_else(unknown)?, invocation))
    }

    fn check_env(&self, command: &str) -> Result<(), Error> {
        let verb = Verb::from_word(command);
        let attaches = matches!(verb, Some(Verb::Add | Verb::Check | Verb::Del));
        let mut missing = Vec::new();
        if command.is_empty() {
            missing.push("CNI_COMMAND");
        }
        if attaches {
            present("CNI_CONTAINERID", &self.container_id, names::container_id, &mut missing)?;
        }
        if matches!(verb, Some(Verb::Add | Verb::Check)) {
            present("CNI_NETNS", &self.netns, |_| Ok(()), &mut missing)?;
        }
        if attaches {
            present("CNI_IFNAME", &self.ifname, names::interface_name, &mut missing)?;
        }
        if attaches || matches!(verb, Some(Verb::Gc | Verb::Status)) {
            present("CNI_PATH", &self.path, |_| Ok(()), &mut missing)?;
        }
        if missing.is_empty() {
            return Ok(());
        }
        Err(Error::invalid_environment(format!("required env variables [{}] missing", missing.join(",")), ""))
    }

    /// Is this the variable that disables the check of spec/cni.md 1.6, and switched on?
    pub(crate) fn is_override(name: &OsString, value: &OsString) -> bool {
        name == "CNI_NETNS_OVERRIDE" && is_switch_on(&value.to_string_lossy())
    }

    /// The six variables for a child that is to do `verb`, as its environment has them.
    pub fn variables(&self, verb: Verb) -> [(&'static str, &str); 6] {
        let values = [verb.as_str(), &self.container_id, &self.netns, &self.ifname, &self.args, &self.path];
        std::array::from_fn(|index| (VARIABLES[index], values[index]))
    }
}

fn present(
    name: &'static str,
    value: &str,
    check: impl Fn(&str) -> Result<(), Error>,
    missing: &mut Vec<&'static str>,
) -> Result<(), Error> {
    if value.is_empty() {
        missing.push(name);
        return Ok(());
    }
    check(value)
}

/// Sorts the variables into fields and rest. Bytes that are no UTF-8 become U+FFFD, which no validated name
/// may contain.
fn split(vars: impl IntoIterator<Item = (OsString, OsString)>) -> (String, Invocation) {
    let mut command = String::new();
    let mut invocation = Invocation::default();
    for (name, value) in vars {
        let text = || value.to_string_lossy().into_owned();
        match name.to_str() {
            Some("CNI_COMMAND") => command = text(),
            Some("CNI_CONTAINERID") => invocation.container_id = text(),
            Some("CNI_NETNS") => invocation.netns = text(),
            Some("CNI_IFNAME") => invocation.ifname = text(),
            Some("CNI_ARGS") => invocation.args = text(),
            Some("CNI_PATH") => invocation.path = text(),
            Some("CNI_NETNS_OVERRIDE") => {
                invocation.netns_override = is_switch_on(&text());
                invocation.env.push((name, value));
            }
            _ => invocation.env.push((name, value)),
        }
    }
    (command, invocation)
}

fn is_switch_on(text: &str) -> bool {
    text == "1" || text.eq_ignore_ascii_case("true")
}

#[cfg(test)]
mod tests;
