use std::io;

use super::*;

const CONF: &[u8] = br#"{"name":"lab","type":"x"}"#;

fn call(vars: &[(&str, &str)], mut stdin: &[u8]) -> Result<(Verb, Invocation), Error> {
    let vars = vars.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    Invocation::from_env(vars, &mut stdin)
}

/// A complete environment with some values replaced.
fn with<'a>(command: &'a str, changes: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut vars = vec![
        ("CNI_COMMAND", command),
        ("CNI_CONTAINERID", "c7"),
        ("CNI_NETNS", "/run/netns/c7"),
        ("CNI_IFNAME", "net1"),
        ("CNI_PATH", "/opt/cni/bin"),
    ];
    vars.extend(changes);
    vars
}

fn refusal(vars: &[(&str, &str)], stdin: &[u8]) -> (u32, String) {
    let error = call(vars, stdin).unwrap_err();
    (error.code, error.to_string())
}

#[test]
fn a_complete_call_is_read_and_the_rest_of_the_environment_kept() {
    let extra = [("CNI_ARGS", "A=b"), ("CNI_NETNS_OVERRIDE", "True"), ("PATH", "/bin"), ("CNI_X", "y")];
    let (verb, invocation) = call(&with("ADD", &extra), CONF).unwrap();
    assert_eq!(verb, Verb::Add);
    assert_eq!((invocation.container_id.as_str(), invocation.ifname.as_str()), ("c7", "net1"));
    assert_eq!((invocation.netns.as_str(), invocation.path.as_str()), ("/run/netns/c7", "/opt/cni/bin"));
    assert_eq!(invocation.args, "A=b");
    assert!(invocation.netns_override);
    assert_eq!(invocation.stdin, CONF);
    let rest: Vec<_> = invocation.env.iter().map(|(name, _)| name.to_str().unwrap()).collect();
    assert_eq!(rest, ["CNI_NETNS_OVERRIDE", "PATH", "CNI_X"]);
}

#[test]
fn missing_variables_are_listed_in_table_order() {
    let all = "required env variables [CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME,CNI_PATH] missing";
    assert_eq!(refusal(&[("CNI_COMMAND", "ADD")], CONF), (4, all.to_owned()));
    assert_eq!(refusal(&[("CNI_COMMAND", "CHECK")], CONF), (4, all.to_owned()));
    let del = "required env variables [CNI_CONTAINERID,CNI_IFNAME,CNI_PATH] missing";
    assert_eq!(refusal(&[("CNI_COMMAND", "DEL")], CONF), (4, del.to_owned()));
    let path = "required env variables [CNI_PATH] missing";
    assert_eq!(refusal(&[("CNI_COMMAND", "GC")], CONF), (4, path.to_owned()));
    assert_eq!(refusal(&[("CNI_COMMAND", "STATUS")], CONF), (4, path.to_owned()));
    assert_eq!(refusal(&[], b""), (4, "required env variables [CNI_COMMAND] missing".to_owned()));
}

#[test]
fn an_empty_value_counts_as_missing() {
    let text = "required env variables [CNI_NETNS] missing";
    assert_eq!(refusal(&with("ADD", &[("CNI_NETNS", "")]), CONF), (4, text.to_owned()));
    assert!(call(&with("DEL", &[("CNI_NETNS", "")]), CONF).is_ok());
}

#[test]
fn the_first_invalid_value_wins_over_missing_ones() {
    let vars = [("CNI_COMMAND", "ADD"), ("CNI_CONTAINERID", "-x"), ("CNI_IFNAME", "a/b")];
    assert_eq!(refusal(&vars, CONF), (4, "invalid characters in containerID; -x".to_owned()));
    let vars = [("CNI_COMMAND", "ADD"), ("CNI_IFNAME", "a/b")];
    let text = "interface name contains / or : or whitespace characters";
    assert_eq!(refusal(&vars, CONF), (4, text.to_owned()));
}

#[test]
fn values_that_a_verb_does_not_need_are_not_checked() {
    assert!(call(&with("GC", &[("CNI_CONTAINERID", "-x"), ("CNI_IFNAME", "a/b")]), CONF).is_ok());
    let (verb, _) = call(&[("CNI_COMMAND", "VERSION"), ("CNI_IFNAME", "a/b")], b"no json").unwrap();
    assert_eq!(verb, Verb::Version);
}

#[test]
fn stdin_is_checked_after_the_environment() {
    assert!(refusal(&with("ADD", &[]), b"{").1.starts_with("error unmarshall network config: "));
    assert_eq!(refusal(&with("ADD", &[]), b"[]").0, 6);
    assert_eq!(refusal(&with("ADD", &[]), b"{}"), (7, "missing network name".to_owned()));
    let text = "invalid characters found in network name; a b";
    assert_eq!(refusal(&with("DEL", &[]), br#"{"name":"a b"}"#), (7, text.to_owned()));
    assert_eq!(refusal(&with("ADD", &[("CNI_IFNAME", "")]), b"{").0, 4);
}

#[test]
fn an_unknown_command_is_named_last() {
    assert_eq!(refusal(&[("CNI_COMMAND", "add")], CONF), (4, "unknown CNI_COMMAND: add".to_owned()));
    assert_eq!(refusal(&[("CNI_COMMAND", "add")], b"{").0, 6);
}

#[test]
fn a_broken_stdin_is_code_5() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("gone"))
        }
    }
    let vars = with("ADD", &[]).into_iter().map(|(name, value)| (name.into(), value.into()));
    let error = Invocation::from_env(vars, &mut Broken).unwrap_err();
    assert_eq!(error, Error::new(5, "error reading from stdin: gone", ""));
}

#[test]
fn the_override_is_one_or_true() {
    for (value, on) in [("1", true), ("TRUE", true), ("0", false), ("yes", false), ("", false)] {
        let (_, invocation) = call(&with("ADD", &[("CNI_NETNS_OVERRIDE", value)]), CONF).unwrap();
        assert_eq!(invocation.netns_override, on, "{value:?}");
    }
}
