use proptest::prelude::*;
use serde_json::{Value, json};

use crate::fake::World;

use super::*;

/// Calls the executable in a world; `None` for credentials that cannot be read.
fn run(world: &World, verb: &str, stdin: &str, can_connect: bool) -> Answer {
    let connect = |_: &Config| match can_connect {
        true => Ok(None),
        false => Err(Error::internal("failed to get context for the kubeconfig")),
    };
    let thin = Thin {
        delegate: &world.plugin,
        netns: &world.netns,
        connect: &connect,
        guard: &|_| None,
        version: "1",
    };
    let call = world.invocation();
    let vars = call.variables(Verb::Version).map(|(name, value)| (name.into(), OsString::from(value)));
    let vars = vars.into_iter().filter(|(name, _)| name != "CNI_COMMAND");
    thin.answer(vars.chain([("CNI_COMMAND".into(), verb.into())]), &mut stdin.as_bytes())
}

fn world() -> World {
    World::new(json!({"delegates": [{"cniVersion": "0.3.1", "name": "fabric", "type": "fabric"}]}))
}

fn error(answer: &Answer) -> (u32, String) {
    assert_eq!(answer.code, 1);
    let error = Error::from_json(answer.stdout.as_bytes()).unwrap();
    (error.code, error.msg)
}

#[test]
fn add_prints_the_masters_result_in_its_own_version() {
    let world = world();
    let answer = run(&world, "ADD", &world.conf.to_string(), true);
    assert_eq!(answer.code, 0, "{answer:?}");
    let result: Value = serde_json::from_str(&answer.stdout).unwrap();
    assert_eq!((&result["cniVersion"], &result["interfaces"][0]["name"]), (&json!("0.3.1"), &json!("eth0")));
    let answer = run(&world, "DEL", &world.conf.to_string(), true);
    assert_eq!(answer, Answer::default());
}

#[test]
fn version_needs_no_configuration_and_no_command_gives_the_about_text() {
    let answer = run(&world(), "VERSION", "", true);
    assert!(
        answer
            .stdout
            .contains(r#""supportedVersions":["0.1.0","0.2.0","0.3.0","0.3.1","0.4.0","1.0.0","1.1.0"]"#)
    );
    let answer = run(&world(), "", "", true);
    assert_eq!((answer.code, answer.stdout.as_str()), (0, ""));
    assert!(answer.stderr.contains("CNI multus plugin 1\n"), "{}", answer.stderr);
}

#[test]
fn younger_verbs_are_gated_by_our_own_version() {
    let mut world = world();
    world.conf["cniVersion"] = json!("0.3.1");
    for verb in ["CHECK", "STATUS", "GC"] {
        let text = format!("config version does not allow {verb}");
        assert_eq!(error(&run(&world, verb, &world.conf.to_string(), true)), (1, text));
    }
}

#[test]
fn load_errors_are_prefixed_on_add_only() {
    let world = world();
    let stdin = r#"{"cniVersion":"1.0.0","name":"n","type":"multus"}"#;
    let text = "LoadNetConf: at least one delegate/clusterNetwork must be specified";
    let add = error(&run(&world, "ADD", stdin, true));
    assert_eq!(add, (999, format!("Multus: error loading netconf: {text}")));
    assert_eq!(error(&run(&world, "DEL", stdin, true)), (999, text.to_owned()));
}

#[test]
fn bad_credentials_fail_an_add_but_not_a_del_or_check() {
    let world = world();
    let stdin = world.conf.to_string();
    let refused = (999, "failed to get context for the kubeconfig".to_owned());
    assert_eq!(error(&run(&world, "ADD", &stdin, false)), refused);
    assert_eq!(run(&world, "DEL", &stdin, false).code, 0);
    let checked = error(&run(&world, "CHECK", &stdin, false));
    assert!(checked.1.contains("does not support the CHECK command"), "{}", checked.1);
}

#[test]
fn garbage_is_an_error_object() {
    for stdin in ["", "{", "[]", "{}", r#"{"name":7}"#, r#"{"name":"../x"}"#, "\u{0}"] {
        error(&run(&world(), "ADD", stdin, true));
    }
    error(&run(&world(), "JUMP", &world().conf.to_string(), true));
}

/// What is mutated; the directories come after it and win, so that no mutation leads out of the test's own.
const FRAGMENT: &str = r#""cniVersion":"1.1.0","name":"n","type":"multus","delegates":[{"cniVersion":"1.0.0","name":"a","type":"a","args":{"cni":{}}},{"name":"b","plugins":[{"type":"c","capabilities":{"mac":true}}]}],"runtimeConfig":{"mac":"m","portMappings":[{"hostPort":1,"containerPort":2}]},"prevResult":{"ips":[{"address":"10.0.0.1/24"}]},"systemNamespaces":[]"#;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_500))]

    /// Four verbs each: 10,000 calls with mutated stdin. Each ends with a result or one error object, and no defect shows.
    #[test]
    fn mutated_stdin_is_served_or_refused(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<char>(), 0..3u8), 0..5),
    ) {
        let mut text: Vec<char> = FRAGMENT.chars().collect();
        for (at, symbol, kind) in edits {
            let at = at.index(text.len());
            match kind {
                0 => text[at] = symbol,
                1 => text.insert(at, symbol),
                _ => drop(text.remove(at)),
            }
        }
        let text: String = text.into_iter().collect();
        let world = world();
        let stdin = format!("{{{text},\"confDir\":{},\"cniDir\":{}}}", world.conf["confDir"], world.conf["cniDir"]);
        for verb in ["ADD", "CHECK", "DEL", "GC"] {
            let answer = run(&world, verb, &stdin, true);
            if answer.code != 0 {
                let (_, msg) = error(&answer);
                prop_assert!(!msg.is_empty() && !msg.contains("panicked"), "{verb}: {msg}");
            }
        }
        prop_assert!(world.links().is_empty(), "what ADD made, its undo or DEL took away");
    }
}
