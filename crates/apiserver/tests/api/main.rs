//! The server from outside: over HTTPS, with its own small client and with kubectl.

mod client;
mod crash;
mod custom;
mod deletion;
mod kubectl;
mod robustness;
mod verbs;
mod watch;
