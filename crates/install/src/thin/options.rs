//! The command line of `thin_entrypoint`.

use std::path::PathBuf;

/// A command line that is not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// There is no such flag.
    #[error("unknown flag: {0}")]
    Unknown(String),
    /// The flag needs a value.
    #[error("flag needs an argument: --{0}")]
    NoValue(&'static str),
    /// The value is not of the flag's type.
    #[error("invalid argument {value:?} for \"--{flag}\" flag: it is either true or false")]
    NoBool {
        /// The flag.
        flag: &'static str,
        /// What stands there.
        value: String,
    },
    /// The log level has another name.
    #[error("unknown log level {0:?}: debug, verbose, error and panic are known")]
    LogLevel(String),
}

/// What a command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// To run.
    Run(Box<Options>),
    /// To print the flags.
    Help(String),
}

/// What the entry point is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    pub(super) bin_dir: PathBuf,
    pub(super) conf_dir: PathBuf,
    pub(super) cni_version: String,
    pub(super) conf_file: String,
    pub(super) bin_file: PathBuf,
    pub(super) networks_dir: PathBuf,
    pub(super) skip_binary_copy: bool,
    pub(super) kubeconfig_on_host: String,
    pub(super) master: String,
    pub(super) autoconfig_dir: PathBuf,
    pub(super) namespace_isolation: bool,
    pub(super) global_namespaces: String,
    pub(super) log_to_stderr: bool,
    pub(super) log_level: String,
    pub(super) log_file: String,
    pub(super) override_network_name: bool,
    pub(super) cleanup: bool,
    pub(super) skip_watch: bool,
    pub(super) rename: bool,
    pub(super) readiness_file: String,
    pub(super) additional_bin_dir: String,
    pub(super) skip_tls_verify: bool,
    pub(super) force_cni_version: bool,
    pub(super) cluster_network: String,
    pub(super) multus_namespace: String,
    pub(super) uninstall: bool,
}

enum Setter {
    Text(fn(&mut Options, String)),
    Switch(fn(&mut Options, bool)),
}

/// One flag: everything that is known of it.
struct Flag {
    name: &'static str,
    default: &'static str,
    help: &'static str,
    set: Setter,
}

const fn text(
    name: &'static str,
    default: &'static str,
    help: &'static str,
    set: fn(&mut Options, String),
) -> Flag {
    Flag { name, default, help, set: Setter::Text(set) }
}

const fn switch(
    name: &'static str,
    default: &'static str,
    help: &'static str,
    set: fn(&mut Options, bool),
) -> Flag {
    Flag { name, default, help, set: Setter::Switch(set) }
}

/// Without help it is hidden.
const FLAGS: [Flag; 26] = [
    text("cni-bin-dir", "/host/opt/cni/bin", "the node's directory of CNI plugins", |o, v| {
        o.bin_dir = v.into()
    }),
    text("cni-conf-dir", "/host/etc/cni/net.d", "the node's directory of CNI configurations", |o, v| {
        o.conf_dir = v.into()
    }),
    text("cni-version", "", "the version that the master configuration must have", |o, v| o.cni_version = v),
    text("multus-conf-file", "auto", "a configuration to install as it is, or auto", |o, v| o.conf_file = v),
    text("multus-bin-file", "/usr/src/multus-cni/bin/multus", "the plugin to install", |o, v| {
        o.bin_file = v.into()
    }),
    text(
        "multus-cni-conf-dir",
        "/host/etc/cni/multus/net.d",
        "configurations of networks without spec.config",
        |o, v| {
            o.networks_dir = v.into();
        },
    ),
    switch("skip-multus-binary-copy", "false", "do not install the plugin", |o, v| o.skip_binary_copy = v),
    text(
        "multus-kubeconfig-file-host",
        "/etc/cni/net.d/multus.d/multus.kubeconfig",
        "where the plugin finds its credentials on the node",
        |o, v| o.kubeconfig_on_host = v,
    ),
    text("multus-master-cni-file-name", "", "the master configuration's file name", |o, v| o.master = v),
    text("multus-autoconfig-dir", "/host/etc/cni/net.d", "where the master configuration is", |o, v| {
        o.autoconfig_dir = v.into()
    }),
    switch("namespace-isolation", "false", "pods select networks of their own namespace only", |o, v| {
        o.namespace_isolation = v
    }),
    text("global-namespaces", "", "namespaces exempt from isolation, separated by commas", |o, v| {
        o.global_namespaces = v
    }),
    switch("multus-log-to-stderr", "true", "the plugin logs to standard error", |o, v| o.log_to_stderr = v),
    text("multus-log-level", "", "the plugin's log level: debug, verbose, error, panic", |o, v| {
        o.log_level = v
    }),
    text("multus-log-file", "", "the plugin's log file", |o, v| o.log_file = v),
    switch("override-network-name", "false", "take the master's network name", |o, v| {
        o.override_network_name = v
    }),
    switch("cleanup-config-on-exit", "false", "remove the configuration at the end", |o, v| o.cleanup = v),
    switch("skip-config-watch", "false", "do not follow the master configuration", |o, v| o.skip_watch = v),
    switch("rename-conf-file", "false", "rename the master configuration to *.old", |o, v| o.rename = v),
    text(
        "readiness-indicator-file",
        "",
        "a file that is there while the default network is ready",
        |o, v| o.readiness_file = v,
    ),
    text("additional-bin-dir", "", "another directory in which the plugin finds plugins", |o, v| {
        o.additional_bin_dir = v
    }),
    switch("skip-tls-verify", "false", "", |o, v| o.skip_tls_verify = v),
    switch("force-cni-version", "false", "", |o, v| o.force_cni_version = v),
    text(
        "cluster-network",
        "",
        "not in Multus: name the default network (a NAD, or auto for the master's name) instead of copying the master",
        |o, v| o.cluster_network = v,
    ),
    text("multus-namespace", "", "not in Multus: where the cluster network's NAD is", |o, v| {
        o.multus_namespace = v
    }),
    switch("uninstall-on-exit", "false", "not in Multus: take everything off the node at the end", |o, v| {
        o.uninstall = v;
    }),
];

const LEVELS: [&str; 5] = ["", "debug", "verbose", "error", "panic"];

impl Options {
    /// Reads a command line, as the replaced program's library does: `--flag=value`, `--flag value`, and `--flag` alone for switches.
    ///
    /// # Errors
    /// See [`OptionsError`].
    pub fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Parsed, OptionsError> {
        let mut options = Self::defaults()?;
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            if ["-h", "--help"].contains(&argument.as_str()) {
                return Ok(Parsed::Help(help()));
            }
            let unknown = || OptionsError::Unknown(argument.clone());
            let word = argument.strip_prefix("--").ok_or_else(unknown)?;
            let (name, value) = word.split_once('=').map_or((word, None), |(n, v)| (n, Some(v.to_owned())));
            let flag = FLAGS.iter().find(|flag| flag.name == name).ok_or_else(unknown)?;
            let value = match (&flag.set, value) {
                (_, Some(value)) => value,
                (Setter::Switch(_), None) => "true".to_owned(),
                (Setter::Text(_), None) => arguments.next().ok_or(OptionsError::NoValue(flag.name))?,
            };
            options.set(flag, value)?;
        }
        if LEVELS.iter().any(|level| level.eq_ignore_ascii_case(&options.log_level)) {
            return Ok(Parsed::Run(Box::new(options)));
        }
        Err(OptionsError::LogLevel(options.log_level))
    }

    fn defaults() -> Result<Self, OptionsError> {
        let mut options = Self::default();
        FLAGS.iter().try_for_each(|flag| options.set(flag, flag.default.to_owned()))?;
        Ok(options)
    }

    fn set(&mut self, flag: &Flag, value: String) -> Result<(), OptionsError> {
        match &flag.set {
            Setter::Text(set) => set(self, value),
            Setter::Switch(set) => {
                let on = parse_bool(&value).ok_or(OptionsError::NoBool { flag: flag.name, value })?;
                set(self, on);
            }
        }
        Ok(())
    }
}

/// As Go reads booleans.
fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

fn help() -> String {
    let lines = FLAGS.iter().filter(|flag| !flag.help.is_empty()).map(|flag| {
        let default = if flag.default.is_empty() { "\"\"" } else { flag.default };
        format!("  --{:<29} {} (default {default})\n", flag.name, flag.help)
    });
    format!("Usage of thin_entrypoint:\n{}", lines.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Parsed, String> {
        Options::parse(words.iter().map(|word| (*word).to_owned())).map_err(|why| why.to_string())
    }

    fn run(words: &[&str]) -> Options {
        match parse(words).unwrap() {
            Parsed::Run(options) => *options,
            Parsed::Help(text) => panic!("{text}"),
        }
    }

    #[test]
    fn without_flags_everything_has_its_default() {
        let options = run(&[]);
        assert_eq!(options.bin_dir, PathBuf::from("/host/opt/cni/bin"));
        assert_eq!((options.conf_file.as_str(), options.log_to_stderr), ("auto", true));
        assert!(!options.cleanup && !options.rename && options.master.is_empty());
    }

    #[test]
    fn values_come_in_both_forms_and_switches_alone() {
        let words = [
            "--cni-version=1.0.0",
            "--multus-log-level",
            "Verbose",
            "--rename-conf-file",
            "--multus-log-to-stderr=false",
        ];
        let options = run(&words);
        assert_eq!((options.cni_version.as_str(), options.log_level.as_str()), ("1.0.0", "Verbose"));
        assert!(options.rename && !options.log_to_stderr);
        assert!(run(&["--global-namespaces=a=b"]).global_namespaces == "a=b");
    }

    #[test]
    fn every_flag_sets_something_of_its_own() {
        for flag in &FLAGS {
            let other = if flag.default == "true" { "false" } else { "true" };
            let value = if flag.name == "multus-log-level" { "debug" } else { other };
            assert_ne!(run(&[&format!("--{}={value}", flag.name)]), run(&[]), "{}", flag.name);
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(parse(&["--nonsense=1"]).unwrap_err(), "unknown flag: --nonsense=1");
        assert_eq!(parse(&["stray"]).unwrap_err(), "unknown flag: stray");
        assert_eq!(parse(&["--cni-version"]).unwrap_err(), "flag needs an argument: --cni-version");
        assert!(parse(&["--rename-conf-file=perhaps"]).unwrap_err().contains("perhaps"));
        assert!(parse(&["--multus-log-level=loud"]).unwrap_err().contains("loud"));
    }

    #[test]
    fn help_shows_the_flags_that_are_for_everybody() {
        let Ok(Parsed::Help(text)) = parse(&["--cni-version=1.0.0", "-h"]) else { panic!("no help") };
        assert!(text.contains("--cleanup-config-on-exit") && !text.contains("skip-tls-verify"));
    }
}
