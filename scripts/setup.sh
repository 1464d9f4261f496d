#!/usr/bin/env bash
# setup.sh demo|test|bench|lint: installs what the task needs and this machine lacks. Changes nothing when nothing is missing.
#
# As root on Debian or Ubuntu it runs apt-get. Otherwise it names the command that would help, and goes on if the task can do
# without: a tier of tests that cannot run says so itself. It never changes a sysctl.
set -euo pipefail

task=${1:?usage: setup.sh demo|test|bench|lint}
root=$(cd "$(dirname "$0")/.." && pwd)
PATH=$PATH:/usr/sbin:/sbin:$HOME/.cargo/bin

essential=() # packages without which nothing is built
useful=()    # packages without which something is skipped

say() { printf 'setup: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }
has() { command -v "$1" > /dev/null 2>&1; }

want() { # want LIST PACKAGE CHECK...: notes the package if the check fails
    local -n list=$1
    local package=$2
    shift 2
    "$@" > /dev/null 2>&1 || list+=("$package")
}

# A static program needs libc.a: gcc prints the bare name of a file that it does not find.
has_static_libc() { [[ $(gcc -print-file-name=libc.a) == /* ]]; }
has_reference_plugins() { [[ -x /usr/lib/cni/macvlan || -x /opt/cni/bin/macvlan ]]; }

find_missing() {
    want essential gcc has gcc
    want essential libc6-dev has_static_libc
    case $task in
        test)
            want useful iproute2 has ip
            want useful iputils-ping has ping
            want useful tcpdump has tcpdump
            want useful nftables has nft
            want useful iptables has iptables
            want useful containernetworking-plugins has_reference_plugins
            want useful etcd-server has etcd
            want useful dnsmasq-base has dnsmasq
            want useful dbus-daemon has dbus-daemon
            want useful busybox has busybox
            want useful containerd has containerd
            want useful runc has runc
            want useful podman has podman
            ;;
        bench) want useful containernetworking-plugins has_reference_plugins ;;
        demo | lint) ;;
        *) fail "no such task: $task" ;;
    esac
}

apt_install() {
    local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -o Dpkg::Use-Pty=0 -qq -y --no-install-recommends)
    say "installing: $*"
    # The lists of a fresh machine are empty or old: fetch them only when they turn out to be.
    "${apt[@]}" install "$@" >&2 || { apt-get -qq update >&2 && "${apt[@]}" install "$@" >&2; }
}

install_packages() {
    local missing=("${essential[@]}" "${useful[@]}")
    ((${#missing[@]})) || return 0
    if ! has apt-get; then
        say "missing here (names of the Debian packages): ${missing[*]}"
    elif ((EUID == 0)); then
        apt_install "${missing[@]}" && return 0
        say "apt-get could not install: ${missing[*]}"
    else
        say "missing here; install with: sudo apt-get install ${missing[*]}"
    fi
    ((${#essential[@]} == 0)) || fail "cannot build without: ${essential[*]}"
}

# rust-toolchain.toml names the version; rustup fetches it.
install_toolchain() {
    local channel
    channel=$(sed -n 's/^channel = "\(.*\)"$/\1/p' "$root/rust-toolchain.toml")
    if ! has rustup && ! has cargo && ((EUID == 0)) && [[ -n $(apt-cache search --names-only '^rustup$' 2> /dev/null) ]]; then
        apt_install rustup
    fi
    if has rustup; then
        (cd "$root" && cargo --version) > /dev/null 2>&1 ||
            rustup toolchain install "$channel" --profile minimal --component rustfmt --component clippy >&2
    elif ! has cargo; then
        fail "Rust is missing; install it with rustup (https://rustup.rs), then run this again: version $channel is fetched by itself"
    elif [[ $(cargo --version | cut -d' ' -f2) != "$channel" ]]; then
        say "this is $(cargo --version), not $channel: if the build fails, install rustup (https://rustup.rs)"
    fi
}

# Without root, namespaces need a user namespace, which some systems forbid.
check_namespaces() {
    ((EUID == 0)) && return 0
    unshare --user --map-root-user --net --mount true 2> /dev/null && return 0
    say "this user may not make network namespaces; allow it with: $(namespace_remedy)"
    [[ $task != demo ]] || fail "or run the demo as root; it touches nothing outside of its own namespaces either way"
}

namespace_remedy() {
    local restrict=kernel.apparmor_restrict_unprivileged_userns clone=kernel.unprivileged_userns_clone
    if [[ $(sysctl -n $restrict 2> /dev/null) == 1 ]]; then
        echo "sudo sysctl -w $restrict=0"
    elif [[ $(sysctl -n $clone 2> /dev/null) == 0 ]]; then
        echo "sudo sysctl -w $clone=1"
    elif [[ $(sysctl -n user.max_user_namespaces 2> /dev/null) == 0 ]]; then
        echo "sudo sysctl -w user.max_user_namespaces=10000"
    else
        echo "a container or security policy that permits unshare(CLONE_NEWUSER)"
    fi
}

# The real control plane is compiled once. Without Go the tests that need it say that they are skipped.
build_control_plane() {
    "$root/scripts/control-plane.sh" kube-apiserver kube-controller-manager kube-scheduler kubelet > /dev/null ||
        say "no real control plane: its tests will be skipped"
    "$root/scripts/libcni.sh" > /dev/null || say "no client of CNI's reference library: its tests will be skipped"
    "$root/scripts/upstream.sh" > /dev/null || say "no programs of upstream: tests beside them will be skipped"
}

find_missing
install_packages
install_toolchain
[[ $task != test ]] || build_control_plane
[[ $task == lint ]] || check_namespaces
