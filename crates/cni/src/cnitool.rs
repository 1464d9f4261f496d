//! The work of a `cnitool`-compatible command (spec/cni.md 5.7), without the command line.
