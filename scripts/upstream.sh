#!/usr/bin/env bash
# upstream.sh: has the replaced programs themselves in the cache, for tests, and prints where: Multus (thin, shim and daemon) and whereabouts in bin/,
# compiled once from their Go modules, and the published manifests of Multus and flannel in manifests/. Nothing of it is part of this repository or of
# what is shipped.
# Without Go, or without its module proxy, it says so and exits with 3.
set -euo pipefail

source=$(cd "$(dirname "$0")/../crates/real-node/upstream" && pwd)
multus=gopkg.in/k8snetworkplumbingwg/multus-cni.v4
flannel=github.com/flannel-io/flannel
whereabouts=github.com/k8snetworkplumbingwg/whereabouts
digest=$(cat "$source"/*/go.mod "$0" | sha256sum | cut -c1-16)
there=${POLYNIC_CACHE:-$HOME/.cache/polynic}/upstream/$digest
export GOTOOLCHAIN=go1.26.8 CGO_ENABLED=0

fail() { echo "upstream: $*" >&2; exit 3; }

module() { # module DIRECTORY MODULE: downloads it, and prints where it is
    (cd "$source/$1" && go mod download "$2" && go list -mod=readonly -m -f '{{.Dir}}' "$2") || fail "cannot get $2: see above"
}

build() { # build DIRECTORY PACKAGE PROGRAM
    (cd "$source/$1" && go build -mod=readonly -trimpath -ldflags "-s -w" -o "$3" "$2") || fail "cannot build $2: see above"
}

if [[ ! -d $there ]]; then
    command -v go > /dev/null || fail "no Go here"
    echo "upstream: building Multus and whereabouts (once)" >&2
    new=$there.$$
    trap 'rm -rf "$new"' EXIT
    mkdir -p "$new/bin" "$new/manifests"
    for program in multus multus-shim multus-daemon; do build multus "$multus/cmd/$program" "$new/bin/$program"; done
    build whereabouts "$whereabouts/cmd" "$new/bin/whereabouts"
    deployments=$(module multus $multus)/deployments
    documentation=$(module flannel $flannel)/Documentation
    cp "$deployments"/multus-daemonset.yml "$deployments"/multus-daemonset-thick.yml "$documentation"/kube-flannel.yml "$new/manifests/"
    chmod -R u+w "$new"
    mv -T "$new" "$there" 2> /dev/null || [[ -d $there ]]
fi
echo "$there"
