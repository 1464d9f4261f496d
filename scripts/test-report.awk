# Shortens the output of `cargo test -- --show-output`: tests that passed are counted, not listed, and of what they printed only
# the lines that begin with "skipped" are kept, for the end: a tier that cannot run must not go unseen, nor a test that needed a second try.

/^(skipped|unsteady)/                         { skipped[$0]++; next }
/^successes:$/                                { quiet = 1; next }
/^failures:$/ || /^test result:/              { quiet = 0 }
quiet || /^test .* \.\.\. ok$/                { next }
/^running [0-9]+ tests?$/ || /^$/             { next }
/^test result: ok\. 0 passed; 0 failed; 0 ig/ { next }
/^test result: ok/                            { passed += $4 }
                                              { print; fflush() }

END {
    printf "\n%d tests passed\n", passed
    for (why in skipped) printf "%s (%d)\n", why, skipped[why]
}
