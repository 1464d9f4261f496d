//! The only program of the test image: it waits until it is killed. The test compiles it statically; it is no part of a crate.

fn main() {
    loop {
        std::thread::park();
    }
}
