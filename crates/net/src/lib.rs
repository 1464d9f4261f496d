//! The vocabulary of polynic.
