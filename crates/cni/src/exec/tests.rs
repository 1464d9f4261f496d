use std::ffi::OsString;
use std::fs::{self, OpenOptions, Permissions};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};

use tempfile::TempDir;

use super::*;
use crate::delegate::delegate_ipam;

const CONF: &str = r#"{"name":"lab","type":"x","cniVersion":"0.4.0"}"#;

/// A directory with shell scripts as plugins.
fn plugins(scripts: &[(&str, &str)]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, script) in scripts {
        let path = directory.path().join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    }
    directory
}

fn invocation(path: &Path, stdin: &str) -> Invocation {
    Invocation {
        container_id: "c7".into(),
        netns: "/run/netns/c7".into(),
        ifname: "net1".into(),
        args: "IgnoreUnknown=1".into(),
        path: path.to_str().unwrap().to_owned(),
        stdin: stdin.as_bytes().to_vec(),
        env: vec![("PATH".into(), "/usr/bin:/bin".into()), ("CNI_X".into(), "kept".into())],
        ..Invocation::default()
    }
}

/// Forks of other tests may hold a script open for writing for a moment.
fn exec() -> Exec {
    Exec { busy_pause: Duration::from_millis(50) }
}

fn run(script: &str, verb: Verb) -> Result<Output, Error> {
    let directory = plugins(&[("x", script)]);
    exec().call("x", verb, &invocation(directory.path(), CONF))
}

fn failure_text(script: &str) -> String {
    let error = run(script, Verb::Add).unwrap_err();
    assert_eq!(error.code, 0, "made up by the runtime: {error}");
    error.msg
}

#[test]
fn plugins_are_found_by_name_in_the_order_of_the_path() {
    let (first, second) = (plugins(&[("a", "")]), plugins(&[("a", ""), ("b", "")]));
    fs::create_dir(first.path().join("b")).unwrap();
    let path = format!("{}::{}", first.path().display(), second.path().display());
    assert_eq!(find_plugin("a", &path), Ok(first.path().join("a")));
    assert_eq!(find_plugin("b", &path), Ok(second.path().join("b")));
    let text = |plugin_type: &str, path: &str| find_plugin(plugin_type, path).unwrap_err();
    assert_eq!(text("", &path), Error::internal("no plugin name provided"));
    assert_eq!(text("../b", &path), Error::internal("invalid plugin name: ../b"));
    assert_eq!(text("a", ""), Error::internal("no paths provided"));
    assert_eq!(text("n", "/x:/y"), Error::internal("failed to find plugin \"n\" in path [/x /y]"));
    assert_eq!(exec().find("n", "/x"), Err(Error::internal("failed to find plugin \"n\" in path [/x]")));
}

#[test]
fn the_child_gets_stdin_the_variables_and_the_rest_of_the_environment() {
    let script = r#"[ "$(cat)" = '{"name":"lab","type":"x","cniVersion":"0.4.0"}' ] || exit 3
vars="$CNI_COMMAND $CNI_CONTAINERID $CNI_NETNS $CNI_IFNAME $CNI_ARGS $CNI_X ${HOME-none} ${CNI_PATH:+path}"
echo "{\"ips\":[{\"address\":\"192.0.2.9/24\"}],\"dns\":{\"domain\":\"$vars\"}}""#;
    let Ok(Output::Success(result)) = run(script, Verb::Add) else { panic!() };
    assert_eq!(result.cni_version, Version::V0_4_0, "the request's version");
    assert_eq!(result.dns.domain, "ADD c7 /run/netns/c7 net1 IgnoreUnknown=1 kept none path");
}

#[test]
fn variables_of_the_invocation_win_over_inherited_ones() {
    let directory = plugins(&[("x", r#"echo "{\"dns\":{\"domain\":\"$CNI_COMMAND $CNI_IFNAME\"}}""#)]);
    let mut call = invocation(directory.path(), CONF);
    call.env
        .extend([("CNI_COMMAND", "DEL"), ("CNI_IFNAME", "old")].map(|(k, v)| (k.into(), OsString::from(v))));
    let Ok(Output::Success(result)) = exec().call("x", Verb::Add, &call) else { panic!() };
    assert_eq!(result.dns.domain, "ADD net1");
}

#[test]
fn an_error_object_comes_back_unchanged() {
    let script = r#"echo '{"cniVersion":"1.0.0","code":11,"msg":"busy","details":"d"}'; exit 1"#;
    assert_eq!(run(script, Verb::Add), Err(Error::new(11, "busy", "d")));
    assert_eq!(run(script, Verb::Del), Err(Error::new(11, "busy", "d")));
}

#[test]
fn failures_without_an_error_object_are_described() {
    assert_eq!(failure_text("exit 7"), "netplugin failed with no error message: exit status 7");
    assert_eq!(failure_text("kill -9 $$"), "netplugin failed with no error message: signal: killed");
    assert_eq!(
        failure_text("echo 'say \"x\"' >&2; exit 1"),
        "netplugin failed: \"say \\\"x\\\"\\n\": exit status 1"
    );
    let text = failure_text("echo oops; exit 1");
    assert!(
        text.starts_with("netplugin failed but error parsing its diagnostic message \"oops\\n\": "),
        "{text}"
    );
}

#[test]
fn a_file_that_cannot_run_is_an_error_that_names_it() {
    let directory = plugins(&[("x", "")]);
    fs::set_permissions(directory.path().join("x"), Permissions::from_mode(0o644)).unwrap();
    let error = exec().call("x", Verb::Add, &invocation(directory.path(), CONF)).unwrap_err();
    assert!(error.msg.contains("/x: Permission denied"), "{error}");
}

#[test]
fn success_without_a_result_is_an_error_for_add_only() {
    assert!(run("exit 0", Verb::Add).is_err());
    for verb in [Verb::Del, Verb::Check, Verb::Gc, Verb::Status] {
        assert_eq!(run("echo ignored", verb), Ok(Output::Empty));
    }
}

#[test]
fn large_requests_and_answers_do_not_block() {
    let stdin = format!(r#"{{"name":"lab","cniVersion":"1.0.0","pad":"{}"}}"#, "x".repeat(300_000));
    let directory = plugins(&[("x", "head -c 300000 /dev/zero | tr '\\0' ' '; cat >/dev/null; echo '{}'")]);
    let answer = exec().call("x", Verb::Add, &invocation(directory.path(), &stdin));
    assert!(matches!(answer, Ok(Output::Success(_))), "{answer:?}");
    let unread = plugins(&[("x", "echo '{}'")]);
    let answer = exec().call("x", Verb::Add, &invocation(unread.path(), &stdin));
    assert!(matches!(answer, Ok(Output::Success(_))), "a child need not read its stdin: {answer:?}");
}

#[test]
fn version_is_asked_with_dummy_values() {
    let script = r#"[ "$(cat)" = '{"cniVersion":"1.1.0"}' ] || exit 3
[ "$CNI_COMMAND $CNI_NETNS $CNI_IFNAME $CNI_PATH $CNI_CONTAINERID$CNI_ARGS" = "VERSION dummy dummy dummy " ] || exit 4
echo '{"cniVersion":"1.0.0","supportedVersions":["0.4.0","1.0.0"]}'"#;
    let Ok(Output::Version(info)) = run(script, Verb::Version) else { panic!() };
    assert!(info.supports("1.0.0") && !info.supports("1.1.0"));
    let old = r#"echo '{"code":4,"msg":"unknown CNI_COMMAND: VERSION"}'; exit 1"#;
    assert_eq!(run(old, Verb::Version), Ok(Output::Version(VersionInfo::oldest_only())));
    assert_eq!(run("exit 1", Verb::Version).unwrap_err().code, 0);
}

#[test]
fn a_file_that_is_being_written_is_tried_again_and_never_a_success() {
    let directory = plugins(&[("x", "echo '{}'")]);
    let writer = OpenOptions::new().append(true).mode(0o755).open(directory.path().join("x")).unwrap();
    let impatient = Exec { busy_pause: Duration::from_millis(1) };
    let error = impatient.call("x", Verb::Del, &invocation(directory.path(), CONF)).unwrap_err();
    assert!(error.msg.contains("Text file busy"), "{error}");
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(60));
            drop(writer);
        });
        let patient = Exec { busy_pause: Duration::from_millis(100) };
        assert_eq!(patient.call("x", Verb::Del, &invocation(directory.path(), CONF)), Ok(Output::Empty));
    });
}

/// Where Debian keeps the reference plugins.
const REFERENCE: &str = "/usr/lib/cni";

fn has_reference(plugin: &str) -> bool {
    let there = Path::new(REFERENCE).join(plugin).is_file();
    if !there {
        eprintln!("skipped: {REFERENCE}/{plugin} is not installed");
    }
    there
}

#[test]
fn the_reference_static_plugin_answers_what_we_read_and_print() {
    if !has_reference("static") {
        return;
    }
    for version in Version::ALL.into_iter().filter(|version| *version <= Version::V1_0_0) {
        let stdin = format!(
            r#"{{"name":"lab","type":"x","cniVersion":"{version}","ipam":{{"type":"static",
                "addresses":[{{"address":"192.0.2.9/24","gateway":"192.0.2.1"}},{{"address":"2001:DB8::9/64"}}],
                "routes":[{{"dst":"0.0.0.0/0","gw":"192.0.2.1"}},{{"dst":"2001:db8:1::5/48"}}],
                "dns":{{"nameservers":["192.0.2.53"],"domain":"a<b"}}}}}}"#
        );
        let call = invocation(Path::new(REFERENCE), &stdin);
        let printed = exec().run(&find_plugin("static", REFERENCE).unwrap(), Verb::Add, &call).unwrap();
        let result = Success::parse(&printed, Version::V0_1_0).unwrap();
        assert_eq!(result.cni_version, version);
        let ours = result.print(version).unwrap();
        // The packaged plugins are older than the sorted keys of 1.x.
        assert_eq!(crate::json::parse(ours.as_bytes()), crate::json::parse(&printed), "{version}");
        if version < Version::V1_0_0 {
            assert_eq!(ours, String::from_utf8(printed).unwrap());
        }
        let Ok(Output::Success(newest)) = delegate_ipam(&exec(), "static", Verb::Add, &call) else {
            panic!()
        };
        assert_eq!((newest.cni_version, newest.ips.len()), (Version::NEWEST, 2));
    }
}

#[test]
fn the_reference_host_local_plugin_is_driven_through_its_verbs() {
    if !has_reference("host-local") {
        return;
    }
    let data = tempfile::tempdir().unwrap();
    let stdin = format!(
        r#"{{"name":"lab","type":"x","cniVersion":"1.0.0","ipam":{{"type":"host-local","dataDir":"{}",
            "subnet":"192.0.2.0/30"}}}}"#,
        data.path().display()
    );
    let call = invocation(Path::new(REFERENCE), &stdin);
    let add = || delegate_ipam(&exec(), "host-local", Verb::Add, &call);
    let Ok(Output::Success(result)) = add() else { panic!() };
    assert_eq!(result.ips[0].address, "192.0.2.2/30".parse().unwrap());
    assert_eq!(exec().call("host-local", Verb::Check, &with_prev(&call, &result)), Ok(Output::Empty));
    assert_eq!(add().unwrap_err().code, 999, "the same attachment twice");
    assert_eq!(exec().call("host-local", Verb::Del, &call), Ok(Output::Empty));
    let Ok(Output::Version(info)) = exec().call("host-local", Verb::Version, &call) else { panic!() };
    assert!(info.supports("1.0.0"));
}

fn with_prev(call: &Invocation, result: &Success) -> Invocation {
    let mut request = crate::json::parse_object(&call.stdin).unwrap();
    request.insert("prevResult".to_owned(), result.to_value(Version::V1_0_0).unwrap());
    let stdin = crate::json::print_sorted(&request.into()).into_bytes();
    Invocation { stdin, ..call.clone() }
}

#[test]
fn the_reference_plugins_words_for_bad_input_are_ours() {
    if !has_reference("static") {
        return;
    }
    let stdin = r#"{"name":"a b","cniVersion":"1.0.0"}"#;
    let call = |verb, change: fn(&mut Invocation)| {
        let mut call = invocation(Path::new(REFERENCE), stdin);
        change(&mut call);
        let theirs = exec().call("static", verb, &call).unwrap_err();
        let vars = call.variables(verb).map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let ours = Invocation::from_env(vars, &mut stdin.as_bytes()).unwrap_err();
        assert_eq!(ours, theirs);
    };
    call(Verb::Add, |_| ());
    call(Verb::Add, |call| call.container_id.clear());
    call(Verb::Add, |call| (call.container_id.clear(), call.ifname.clear(), call.netns.clear()).2);
    call(Verb::Check, |call| call.netns.clear());
    // An invalid container id is not compared: the packaged plugins are older than the order of spec/cni.md
    // 1.1.
}
