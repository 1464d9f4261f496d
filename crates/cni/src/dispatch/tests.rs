use std::sync::Mutex;

use super::*;
use crate::result::Ip;

/// What a test plugin answers to every verb it implements.
struct Plugin {
    versions: &'static [Version],
    implemented: &'static [Verb],
    answer: Result<Output, Error>,
    seen: Mutex<Vec<(Verb, String)>>,
}

impl PluginMain for Plugin {
    fn name(&self) -> &str {
        "sample"
    }

    fn about_version(&self) -> &str {
        "v0.1.0"
    }

    fn versions(&self) -> &[Version] {
        self.versions
    }

    fn implements(&self, verb: Verb) -> bool {
        self.implemented.contains(&verb)
    }

    fn call(&self, verb: Verb, invocation: &Invocation, conf: &PluginConf) -> Result<Output, Error> {
        assert_ne!(invocation.container_id, "panic", "asked to panic");
        self.seen.lock().unwrap().push((verb, conf.name.clone()));
        self.answer.clone()
    }
}

fn plugin(answer: Result<Output, Error>) -> Plugin {
    let implemented = &[Verb::Add, Verb::Del, Verb::Check];
    Plugin { versions: &Version::ALL, implemented, answer, seen: Mutex::default() }
}

fn success() -> Result<Output, Error> {
    let ips = vec![Ip::new("192.0.2.9/24".parse().unwrap())];
    Ok(Output::Success(Success { ips, ..Success::default() }))
}

fn run_with(plugin: &Plugin, command: &str, id: &str, stdin: &str) -> Answer {
    let vars = [
        ("CNI_COMMAND", command),
        ("CNI_CONTAINERID", id),
        ("CNI_NETNS", "/run/netns/c7"),
        ("CNI_IFNAME", "net1"),
        ("CNI_PATH", "/bin/cni"),
    ];
    let vars = vars.map(|(name, value)| (OsString::from(name), OsString::from(value)));
    dispatch(plugin, vars, &mut stdin.as_bytes())
}

fn run(plugin: &Plugin, command: &str, version: &str) -> Answer {
    run_with(plugin, command, "c7", &format!(r#"{{"name":"lab","type":"sample","cniVersion":"{version}"}}"#))
}

#[test]
fn without_a_command_the_about_text_is_on_stderr() {
    let expected = Answer {
        stderr: "CNI sample plugin v0.1.0\nCNI protocol versions supported: 0.4.0, 1.0.0\n".to_owned(),
        ..Answer::default()
    };
    let plugin = Plugin { versions: &Version::ALL[4..6], ..plugin(success()) };
    assert_eq!(dispatch(&plugin, [], &mut &b""[..]), expected);
    assert_eq!(run(&plugin, "", "1.0.0"), expected);
}

#[test]
fn version_ignores_stdin() {
    let answer = run_with(&plugin(success()), "VERSION", "", "no json");
    let list = r#"["0.1.0","0.2.0","0.3.0","0.3.1","0.4.0","1.0.0","1.1.0"]"#;
    let stdout = format!("{{\"cniVersion\":\"1.1.0\",\"supportedVersions\":{list}}}\n");
    assert_eq!(answer, Answer { stdout, ..Answer::default() });
}

#[test]
fn add_prints_the_result_in_the_configs_version() {
    let answer = run(&plugin(success()), "ADD", "0.2.0");
    let stdout = "{\n    \"cniVersion\": \"0.2.0\",\n    \"ip4\": {\n        \"ip\": \"192.0.2.9/24\"\n    },\n    \"dns\": {}\n}";
    assert_eq!(answer, Answer { stdout: stdout.to_owned(), ..Answer::default() });
}

#[test]
fn errors_are_printed_on_stdout_with_exit_1() {
    let answer = run(&plugin(Err(Error::try_again("busy"))), "ADD", "1.0.0");
    let stdout = "{\n    \"code\": 11,\n    \"msg\": \"busy\"\n}".to_owned();
    assert_eq!(answer, Answer { stdout, stderr: String::new(), code: 1 });
    let shapeless = run(&plugin(Ok(Output::Success(Success::default()))), "ADD", "0.2.0");
    assert!(shapeless.code == 1 && shapeless.stdout.contains("cannot convert: no valid IP addresses"));
    assert!(run(&plugin(Ok(Output::Empty)), "ADD", "1.0.0").stdout.contains("made no result"));
    assert!(run(&plugin(success()), "add", "1.0.0").stdout.contains("unknown CNI_COMMAND: add"));
    assert!(
        run_with(&plugin(success()), "ADD", "c7", "{").stdout.contains("error unmarshall network config: ")
    );
}

#[test]
fn other_verbs_print_nothing() {
    let plugin = plugin(success());
    for verb in ["DEL", "CHECK"] {
        assert_eq!(run(&plugin, verb, "1.1.0"), Answer::default());
    }
    let seen = plugin.seen.into_inner().unwrap();
    assert_eq!(seen, [(Verb::Del, "lab".to_owned()), (Verb::Check, "lab".to_owned())]);
}

#[test]
fn verbs_that_are_not_implemented_succeed_after_the_gates() {
    let plugin = plugin(Err(Error::internal("not to be called")));
    for verb in ["GC", "STATUS"] {
        assert_eq!(run(&plugin, verb, "1.1.0"), Answer::default());
        let refused = run(&plugin, verb, "1.0.0");
        assert_eq!(refused.code, 1);
        assert!(refused.stdout.contains(&format!("config version does not allow {verb}")));
    }
}

#[test]
fn an_unknown_config_version_is_incompatible() {
    let answer = run(&plugin(success()), "ADD", "9.0.0");
    assert!(
        answer.code == 1 && answer.stdout.contains(r#"config is \"9.0.0\", plugin supports [\"0.1.0\""#),
        "{answer:?}"
    );
}

#[test]
fn a_panic_becomes_an_error_object() {
    let answer = run_with(&plugin(success()), "ADD", "panic", r#"{"name":"lab","cniVersion":"1.0.0"}"#);
    assert!(answer.code == 1 && answer.stdout.contains("plugin sample panicked"), "{answer:?}");
}

#[test]
fn in_process_calls_obey_the_same_rules() {
    let call = |verb, stdin: &str| {
        let invocation = Invocation { stdin: stdin.as_bytes().to_vec(), ..Invocation::default() };
        invoke(&plugin(success()), verb, &invocation)
    };
    let Ok(Output::Success(result)) = call(Verb::Add, r#"{"name":"lab","cniVersion":"0.3.1"}"#) else {
        panic!()
    };
    assert_eq!(result.cni_version, Version::V0_3_1);
    assert_eq!(call(Verb::Add, r#"{"cniVersion":"0.3.1"}"#).unwrap_err().code, 7);
    assert_eq!(call(Verb::Check, r#"{"name":"lab"}"#).unwrap_err().code, 1);
    assert_eq!(call(Verb::Version, ""), Ok(Output::Version(VersionInfo::of(&Version::ALL))));
    assert_eq!(call(Verb::Gc, r#"{"name":"lab","cniVersion":"1.1.0"}"#), Ok(Output::Empty));
}
