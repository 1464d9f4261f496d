//! Calls of a plugin's executable, as a container runtime makes them.

use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::{Pod, plugins};

/// One attachment, on which the verbs are called.
#[derive(Clone, Debug)]
pub struct Call {
    /// Directory of the executable that is called.
    pub directory: String,
    /// The executable: by default the configuration's `type`.
    pub plugin: String,
    /// The configuration.
    pub conf: Value,
    /// The environment: `CNI_…` without `CNI_COMMAND`.
    pub env: Vec<(String, String)>,
}

/// What a plugin answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The exit code.
    pub code: i32,
    /// All it wrote to stdout.
    pub stdout: String,
    /// All it wrote to stderr.
    pub stderr: String,
}

/// A plugin at work.
pub struct Running(Child);

impl Call {
    /// A call of one of our plugins for `net1` of a pod.
    pub fn new(pod: &Pod, conf: Value) -> Self {
        let plugin = conf["type"].as_str().unwrap_or_default().to_owned();
        let call = Self { directory: plugins().to_owned(), plugin, conf, env: Vec::new() };
        let call = call.with("CNI_CONTAINERID", &pod.id).with("CNI_NETNS", &pod.path);
        call.with("CNI_IFNAME", "net1").with("CNI_PATH", plugins())
    }

    /// Calls the executable of another directory, which also becomes `CNI_PATH`.
    pub fn from_directory(self, directory: &str) -> Self {
        Self { directory: directory.to_owned(), ..self }.with("CNI_PATH", directory)
    }

    /// Sets a variable of the environment.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.env.retain(|(known, _)| known != name);
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Removes a variable of the environment.
    pub fn without(mut self, name: &str) -> Self {
        self.env.retain(|(known, _)| known != name);
        self
    }

    /// Sets a key of the configuration.
    pub fn key(mut self, key: &str, value: Value) -> Self {
        self.conf[key] = value;
        self
    }

    /// The value of a variable of the environment.
    pub fn env(&self, name: &str) -> &str {
        self.env.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// Starts the plugin.
    pub fn start(&self, verb: &str) -> Running {
        self.start_with(verb, self.conf.to_string().as_bytes())
    }

    /// Starts the plugin with this text as its input.
    pub fn start_with(&self, verb: &str, stdin: &[u8]) -> Running {
        let mut child = Command::new(Path::new(&self.directory).join(&self.plugin))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("CNI_COMMAND", verb)
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A plugin that needs no input closes it early.
        let _ = child.stdin.take().unwrap().write_all(stdin);
        Running(child)
    }

    /// Calls the plugin.
    pub fn run(&self, verb: &str) -> Answer {
        self.start(verb).answer()
    }

    /// ADD, which must succeed; answers the result.
    pub fn add(&self) -> Value {
        self.run("ADD").result()
    }

    /// CHECK with the result of ADD.
    pub fn check(&self, result: &Value) -> Answer {
        self.clone().key("prevResult", result.clone()).run("CHECK")
    }

    /// DEL, which must succeed silently.
    pub fn del(&self) {
        assert_eq!(self.run("DEL").silent(), "", "DEL of {}", self.conf);
    }
}

impl Running {
    /// Waits for the answer.
    pub fn answer(self) -> Answer {
        let output = self.0.wait_with_output().unwrap();
        Answer {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Ends it with SIGKILL, if it has not ended by itself.
    pub fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Answer {
    /// The result of a success.
    pub fn result(&self) -> Value {
        assert_eq!(self.code, 0, "{}{}", self.stdout, self.stderr);
        serde_json::from_str(&self.stdout).unwrap()
    }

    /// The text of an answer that should have been a silent success; empty if it was.
    pub fn silent(&self) -> String {
        match (self.code, self.stdout.as_str()) {
            (0, "") => String::new(),
            (code, stdout) => format!("exit {code}: {stdout}{}", self.stderr),
        }
    }

    /// Code and message of a failure, which must be one error object and exit code 1.
    pub fn error(&self) -> (u64, String) {
        let object = self.error_object();
        (object["code"].as_u64().unwrap(), object["msg"].as_str().unwrap().to_owned())
    }

    /// The error object of a failure.
    pub fn error_object(&self) -> Value {
        assert_eq!(self.code, 1, "{}{}", self.stdout, self.stderr);
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| json!(format!("{e}: {}", self.stdout)))
    }
}
