#!/usr/bin/env bash
# helm.sh [print|lint|render|check]: Helm, built once from its Go module (scripts/helm/go.mod) into the cache.
#
# print  the program's path (default); lint  the chart, strictly; render  deploy/manifests from the chart;
# check  that deploy/manifests are what the charts render. With POLYNIC_HELM=built nothing is built. Without Go, or without its module proxy, it says so and exits with 3.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
version=$(sed -n 's/^.*helm.sh\/helm\/v3 \(v[0-9.]*\).*$/\1/p' "$root/scripts/helm/go.mod" | head -1)
helm=${POLYNIC_CACHE:-$HOME/.cache/polynic}/tools/helm-$version
# The newest Kubernetes that the tests know; Helm's own default is ancient.
kubernetes=(--kube-version 1.35.0)

build() {
    [[ ! -x $helm ]] || return 0
    [[ ${POLYNIC_HELM:-} != built ]] || { echo "helm: Helm $version is not built here: run scripts/helm.sh" >&2; exit 3; }
    command -v go > /dev/null || { echo "helm: no Go here to build Helm $version with: the chart is NOT checked" >&2; exit 3; }
    echo "helm: building Helm $version (once)" >&2
    mkdir -p "$(dirname "$helm")"
    (cd "$root/scripts/helm" && GOTOOLCHAIN=${GOTOOLCHAIN:-go1.26.8} CGO_ENABLED=0 \
        go build -mod=readonly -trimpath -ldflags "-s -w" -o "$helm.$$" helm.sh/helm/v3/cmd/helm) ||
        { echo "helm: cannot build Helm $version: see above; the chart is NOT checked" >&2; exit 3; }
    mv "$helm.$$" "$helm"
}

# Its remarks about our link to crates/api/crds are no news.
quietly() { "$helm" "$@" 2> >(grep -v 'found symbolic link in path' >&2); }

render_into() { # render_into DIRECTORY
    local chart=$root/deploy/chart
    # A cleaning hook without Helm would be a Job that removes everything at once.
    quietly template polynic "$chart/polynic" --namespace kube-system --include-crds "${kubernetes[@]}" \
        --set spiderpoolController.cleanup.enable=false > "$1/polynic.yaml"
    for mode in thin thick; do
        quietly template multus "$chart/polynic-multus" --namespace kube-system --include-crds "${kubernetes[@]}" \
            --set mode=$mode > "$1/multus-daemonset-$mode.yaml"
    done
}

build
case ${1:-print} in
    print) echo "$helm" ;;
    lint) for chart in "$root"/deploy/chart/*/; do quietly lint --strict "${kubernetes[@]}" "$chart"; done ;;
    render) render_into "$root/deploy/manifests" ;;
    check)
        there=$(mktemp -d)
        trap 'rm -rf "$there"' EXIT
        render_into "$there"
        diff -ru "$root/deploy/manifests" "$there" || { echo "helm: run scripts/helm.sh render" >&2; exit 1; }
        ;;
    *) echo "helm: no such task: $1" >&2; exit 2 ;;
esac
