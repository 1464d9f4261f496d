#!/usr/bin/env bash
# dist.sh: packs what build.sh made into target/dist: the programs with licence and changelog, an OCI image, a node's archive; with checksums. The same input gives the same bytes.
set -euo pipefail

cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"$/\1/p' Cargo.toml)
name=polynic-$version-linux-$(uname -m)
stage=$target/dist/$name

rm -rf "$stage"
mkdir -p "$stage"
cp "$target/static/polynic" "$target/static/polynic-lab" LICENSE README.md CHANGELOG.md "$stage/"
tar --create --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$(git log -1 --format=%ct)" \
    --directory "$target/dist" "$name" | gzip -n > "$target/dist/$name.tar.gz"
cargo xtask image "$target/static/polynic" "$target/dist"
(cd "$target/dist" && for file in *"$version"-linux-*.tar *"$version"-linux-*.tar.gz; do sha256sum "$file" | tee "$file.sha256"; done)
