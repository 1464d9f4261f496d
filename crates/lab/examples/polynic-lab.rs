//! The lab as a program of its own, for this crate's tests; users get the same from the package `polynic`.

fn main() -> std::process::ExitCode {
    polynic_lab::main()
}
