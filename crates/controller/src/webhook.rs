//! The webhooks (spec/spiderpool.md 3): [`review`] turns a request of the API server into a question and a decision into an answer, [`patch`]
//! says what a decision changes, [`world`] asks the API server for the other objects, and [`server`] is the HTTPS side.
//!
//! What is decided lives in `polynic_api::admission`.

pub mod patch;
pub mod registration;
pub mod review;
pub mod server;
pub mod world;
