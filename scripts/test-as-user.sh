#!/usr/bin/env bash
# test-as-user.sh [CARGO_FLAGS...]: runs all tests again as an ordinary user. Needs root, to become somebody else.
#
# The test programs are those that are built already. The user is a bare number: no account is made. Where the repository or the
# target directory lie below a directory that others may not enter (/root), a private mount namespace shows just these two.
set -euo pipefail

((EUID == 0)) || { echo "test-as-user.sh: not root: the tests have run as an ordinary user anyway" >&2; exit 0; }
cd "$(dirname "$0")/.."
repository=$PWD
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
user=54321

as_user() { # as_user HOME COMMAND...: nothing of root's rights or environment is left
    local home=$1
    shift
    local kept=(PATH="$PATH" HOME="$home" TMPDIR="$home" CI="${CI:-}" POLYNIC_REQUIRE_TIERS="$tiers" CARGO_MANIFEST_DIR="$PWD")
    setpriv --reuid $user --regid $user --clear-groups --inh-caps=-all --ambient-caps=-all -- env -i "${kept[@]}" "$@"
}

# "directory<TAB>program" of each test program, from cargo's JSON lines.
list_tests() {
    cargo test -q "$@" --workspace --no-run --message-format=json |
        grep '"profile":{[^}]*"test":true}' |
        sed -n 's/.*"manifest_path":"\([^"]*\)\/Cargo.toml".*"executable":"\([^"]*\)".*/\1\t\2/p'
}

# The first directory on the way to $1 that others may not enter.
hidden_part() {
    local at="" part
    IFS=/ read -ra parts <<< "${1#/}"
    for part in "${parts[@]}"; do
        at=$at/$part
        [[ -d $at && $(stat -c %A "$at") != *[xt] ]] && echo "$at" && return
    done
    return 0
}

uncover() { # uncover STAGE PATH...: makes the paths reachable, and nothing beside them
    local stage=$1 path hidden
    shift
    for path in "$@"; do
        mkdir -p "$stage$path"
        mount --bind "$path" "$stage$path"
    done
    for path in "$@"; do
        hidden=$(hidden_part "$path")
        [[ -n $hidden ]] || continue
        mount -t tmpfs -o mode=0755 tmpfs "$hidden"
    done
    for path in "$@"; do
        mkdir -p "$path"
        mountpoint -q "$path" || mount --bind "$stage$path" "$path"
    done
    mkdir -p "$target/tmp"
    mount -t tmpfs -o uid=$user,gid=$user,mode=0700 tmpfs "$target/tmp"
}

run_tests() { as_user "$home/user" "$@" < /dev/null | tee "$home/log"; }

# As in test.sh: what fails beside other tests may be run again, alone.
second_try() {
    local tests
    mapfile -t tests < <(sed -n 's/^test \([^ ]*\) \.\.\. FAILED$/\1/p' "$home/log")
    [[ ${POLYNIC_SECOND_TRY:-} == 1 ]] && ((${#tests[@]} > 0 && ${#tests[@]} <= 3)) || return 1
    run_tests "$1" --exact "${tests[@]}" --test-threads=1 || return 1
    grep -q "^test result: ok. ${#tests[@]} passed" "$home/log" || return 1
    printf 'unsteady: %s failed beside other tests, and passed alone\n' "${tests[@]}"
}

if [[ ${1:-} == --inside ]]; then
    list=$2 home=$3 tiers=$4 failed=0
    mkdir "$home/stage"
    uncover "$home/stage" "$target" "$repository"
    mkdir -m 0700 "$home/user"
    chown $user:$user "$home/user"
    while IFS=$'\t' read -r directory program; do
        cd "$directory"
        echo "     Running $program as uid $user"
        run_tests "$program" --show-output && continue
        second_try "$program" || { failed=1; echo "FAILED: $program"; }
    done < "$list"
    exit $failed
fi

home=$(mktemp -d /tmp/polynic-user.XXXXXX)
trap 'rm -rf --one-file-system "$home"' EXIT
chmod 0755 "$home"
tiers=pure
if (cd / && as_user "$home" unshare --user --map-root-user --net --mount true 2> /dev/null); then
    # The real control plane lies in root's cache; in the throw-away kernel everybody is root; containers need root.
    tiers=${POLYNIC_REQUIRE_TIERS:-}
    tiers=${tiers//,cluster/}
    tiers=${tiers//,vm/}
    tiers=${tiers//,helm/}
    tiers=${tiers//,node/}
    tiers=${tiers//,upstream/}
else
    echo "skipped: uid $user may not make user namespaces here"
fi
list_tests "$@" > "$home/list"
[[ -s $home/list ]] || { echo "test-as-user.sh: cargo lists no test programs" >&2; exit 1; }
unshare --mount --propagation private "$0" --inside "$home/list" "$home" "$tiers" 2>&1 | awk -f scripts/test-report.awk
