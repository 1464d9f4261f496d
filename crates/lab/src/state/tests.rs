use super::*;

fn spec() -> Spec {
    Spec {
        name: "one".into(),
        nodes: 2,
        shape: Shape::default(),
        strict_reverse_path: false,
        rbac: false,
        tied: false,
        polynic: "/bin/polynic".into(),
    }
}

fn state(root: &tempfile::TempDir) -> State {
    State { root: root.path().join("labs"), name: "one".into() }
}

#[test]
fn names_are_host_names() {
    for good in ["lab", "a", "lab-2", "0x"] {
        assert!(State::of(good).is_ok(), "{good}");
    }
    for bad in ["", "-a", "a-", "Lab", "a/b", "..", "a b", "sixteen-and-fifteen-are-thirty-one"] {
        assert!(State::of(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_lab_is_alive_while_its_lock_is_held() {
    let root = tempfile::tempdir().unwrap();
    let state = state(&root);
    assert!(!state.is_alive().unwrap());
    state.create(&spec(), &state.guard().unwrap()).unwrap();
    assert!(!state.is_alive().unwrap());
    let alive = state.mark_alive().unwrap();
    assert!(state.is_alive().unwrap());
    assert!(matches!(state.create(&spec(), &state.guard().unwrap()), Err(Error::Running(_))));
    drop(alive);
    assert!(!state.is_alive().unwrap());
}

#[test]
fn creation_clears_what_a_dead_lab_left() {
    let root = tempfile::tempdir().unwrap();
    let state = state(&root);
    state.create(&spec(), &state.guard().unwrap()).unwrap();
    fs::write(state.directory().join("kubeconfig"), "stale").unwrap();
    state.create(&spec(), &state.guard().unwrap()).unwrap();
    assert!(!state.kubeconfig().exists());
    assert_eq!(state.spec().unwrap(), spec());
}

#[test]
fn removing_the_last_lab_removes_the_root() {
    let root = tempfile::tempdir().unwrap();
    let state = state(&root);
    let other = State { name: "two".into(), ..state.clone() };
    for one in [&state, &other] {
        one.create(&spec(), &one.guard().unwrap()).unwrap();
    }
    state.remove(&state.guard().unwrap()).unwrap();
    assert!(!state.directory().exists() && other.directory().exists());
    other.remove(&other.guard().unwrap()).unwrap();
    assert!(!root.path().join("labs").exists());
}

#[test]
fn the_directory_is_private() {
    let root = tempfile::tempdir().unwrap();
    let state = state(&root);
    state.create(&spec(), &state.guard().unwrap()).unwrap();
    for directory in [root.path().join("labs"), state.directory()] {
        assert_eq!(fs::metadata(&directory).unwrap().mode() & 0o777, 0o700, "{}", directory.display());
    }
}

#[test]
fn a_root_that_others_may_enter_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let state = state(&root);
    DirBuilder::new().mode(0o755).create(root.path().join("labs")).unwrap();
    assert!(matches!(state.guard(), Err(Error::Input(_))));
}
