#!/usr/bin/env bash
# test.sh [CARGO_FLAGS...]: runs all tests, and ends with what was skipped, and why.
set -euo pipefail

cd "$(dirname "$0")/.."
cargo test "$@" --workspace --no-fail-fast -- --show-output 2>&1 | awk -f scripts/test-report.awk
