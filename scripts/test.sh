#!/usr/bin/env bash
# test.sh [CARGO_FLAGS...]: runs all tests, and ends with what was skipped, and why.
#
# With POLYNIC_SECOND_TRY=1 up to three tests that fail in the crowd are run again, alone. One that passes then is named "unsteady" at
# the end: a defect to be mended, but of a test's patience more often than of the program.
set -euo pipefail

cd "$(dirname "$0")/.."
log=$(mktemp /tmp/polynic-test.XXXXXX)
trap 'rm -f "$log"' EXIT

all_tests() {
    cargo test "$@" --workspace --no-fail-fast -- --show-output 2>&1 | tee "$log" | awk -f scripts/test-report.awk
}

# What cargo says of a test program that failed: "    `-p polynic --test lab`".
failed_programs() { sed -n 's/^    `\(-p .*\)`$/\1/p' "$log"; }

failed_tests() { sed -n 's/^test \([^ ]*\) \.\.\. FAILED$/\1/p' "$log"; }

# Whether every program that failed has failed by tests alone, not by its death.
only_tests_failed() { ! grep -Eq '^(error: could not compile|error: doctest failed|Caused by:|  process didn.t exit successfully.*signal)' "$log"; }

second_try() {
    local programs tests program passed=0
    mapfile -t programs < <(failed_programs)
    mapfile -t tests < <(failed_tests)
    ((${#tests[@]} > 0 && ${#tests[@]} <= 3 && ${#programs[@]} > 0)) && only_tests_failed || return 1
    for program in "${programs[@]}"; do
        # shellcheck disable=SC2086 # the program's options are words
        cargo test "$@" $program -- --exact "${tests[@]}" --test-threads=1 > "$log" 2>&1 || { cat "$log"; return 1; }
        passed=$((passed + $(sed -n 's/^test result: ok\. \([0-9]*\) passed.*/\1/p' "$log" | awk '{ n += $1 } END { print n + 0 }')))
    done
    ((passed == ${#tests[@]})) || return 1
    printf 'unsteady: %s failed beside other tests, and passed alone\n' "${tests[@]}"
}

all_tests "$@" || { [[ ${POLYNIC_SECOND_TRY:-} == 1 ]] && second_try "$@"; }
