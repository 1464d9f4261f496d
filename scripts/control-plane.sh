#!/usr/bin/env bash
# control-plane.sh [PROGRAM...]: has the programs of a real Kubernetes control plane in the cache, and prints where.
#
# kube-apiserver (and whichever other programs are named) come from the Go module k8s.io/kubernetes, compiled once; etcd is Debian's.
# With KUBEBUILDER_ASSETS set nothing is built. Without Go, or without its module proxy, it says so and exits with 3.
set -euo pipefail

version=v1.35.4
source=$(cd "$(dirname "$0")/../crates/control-plane/go" && pwd)
bin=${POLYNIC_CACHE:-$HOME/.cache/polynic}/control-plane/$version/bin
programs=("${@:-kube-apiserver}")

missing=()
for program in "${programs[@]}"; do
    [[ -n ${KUBEBUILDER_ASSETS:-} && -x $KUBEBUILDER_ASSETS/$program ]] || [[ -x $bin/$program ]] || missing+=("$program")
done
if ((${#missing[@]})); then
    command -v go > /dev/null || { echo "control-plane: no Go here to build ${missing[*]} with" >&2; exit 3; }
    echo "control-plane: building ${missing[*]} $version (once)" >&2
    mkdir -p "$bin"
    # Go 1.27 changed JSON in a way that breaks the served OpenAPI of this version: stay with 1.26.
    export GOTOOLCHAIN=go1.26.8 CGO_ENABLED=0
    info=k8s.io/component-base/version
    flags="-s -w -X $info.gitVersion=$version -X $info.gitMajor=1 -X $info.gitMinor=35"
    for program in "${missing[@]}"; do
        (cd "$source" && go build -mod=readonly -trimpath -ldflags "$flags" -o "$bin/.$program.$$" "k8s.io/kubernetes/cmd/$program") ||
            { echo "control-plane: cannot build $program: see above" >&2; exit 3; }
        mv "$bin/.$program.$$" "$bin/$program"
    done
fi
echo "$bin"
