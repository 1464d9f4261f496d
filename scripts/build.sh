#!/usr/bin/env bash
# build.sh [CARGO_FLAGS...]: builds the programs that run on any node into target/static, and proves that they do.
#
# Static and at a fixed address: no loader, no relocations, nothing to install. The target is named explicitly because the flags
# must not reach procedural macros, which are shared libraries of the compiler.
set -euo pipefail

cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}
host=$(rustc -vV | sed -n 's/^host: //p')
programs=(polynic polynic-lab)

RUSTFLAGS="-C target-feature=+crt-static -C relocation-model=static" \
    cargo build "$@" --release --target "$host" -p polynic "${programs[@]/#/--bin=}"

mkdir -p "$target/static"
for program in "${programs[@]}"; do
    ln -f "$target/$host/release/$program" "$target/static/$program"
    cargo xtask static-check "$target/static/$program"
done
