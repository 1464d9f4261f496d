//! One concept a file: a file that outgrows the limit holds more than one.

use super::tree::File;

/// The most lines a file may have that are not tests.
const LONGEST: usize = 700;

pub(super) fn problem(file: &File) -> Option<String> {
    let lines = file.product_lines().len();
    (lines > LONGEST).then(|| {
        format!("{}: {lines} lines without tests, more than {LONGEST}: split it by concept", file.path)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(lines: usize, tests: usize) -> File {
        let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "    // line\n".repeat(tests));
        File { path: "crates/net/src/a.rs".into(), text: "// line\n".repeat(lines) + &tests, is_test: false }
    }

    #[test]
    fn tests_do_not_count() {
        assert_eq!(problem(&file(LONGEST, 5000)), None);
    }

    #[test]
    fn one_line_too_many_is_a_problem() {
        assert!(problem(&file(LONGEST + 1, 0)).unwrap().contains("701 lines"));
    }
}
