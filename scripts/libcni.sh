#!/usr/bin/env bash
# libcni.sh: has the tests' client of CNI's reference library in the cache, and prints where. Compiled once, with Go.
set -euo pipefail

source=$(cd "$(dirname "$0")/../crates/real-node/libcni" && pwd)
# A changed source is another program.
digest=$(cat "$source"/main.go "$source"/go.mod | sha256sum | cut -c1-16)
bin=${POLYNIC_CACHE:-$HOME/.cache/polynic}/libcni/$digest/libcni
if [[ ! -x $bin ]]; then
    command -v go > /dev/null || { echo "libcni: no Go here to build it with" >&2; exit 3; }
    mkdir -p "${bin%/*}"
    (cd "$source" && GOTOOLCHAIN=go1.26.8 CGO_ENABLED=0 go build -mod=readonly -trimpath -ldflags "-s -w" -o "$bin.$$" .) ||
        { echo "libcni: cannot be built: see above" >&2; exit 3; }
    mv "$bin.$$" "$bin"
fi
echo "$bin"
