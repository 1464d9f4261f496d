//! One load for two API servers, one after the other: the embedded one, and a real etcd with kube-apiserver where their programs are
//! (`scripts/control-plane.sh`). Each runs in processes of its own. Prints figures and their ratios; asserts none.
//!
//! `cargo run --release -p polynic-apiserver --example load`

#![allow(clippy::print_stdout, reason = "it is what the example is for")]

use std::error::Error;

use polynic_control_plane::Programs;

#[allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "shared with the tests, which use more of it"
)]
#[path = "../../tests/api/client.rs"]
mod client;
mod figures;
mod server;
mod work;

use figures::Figures;
use server::{Embedded, Server};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Outcome<()> {
    if let Some(directory) = server::directory_to_serve() {
        return server::serve(&directory);
    }
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(compare())
}

async fn compare() -> Outcome<()> {
    let embedded = measure_embedded().await?;
    let real = match Programs::or_skip() {
        Some(programs) => Some(measure_real(&programs).await?),
        None => None,
    };
    print!("{}", figures::table(&embedded, real.as_ref()));
    Ok(())
}

async fn measure_embedded() -> Outcome<Figures> {
    let directory = tempfile::tempdir()?;
    let mut figures = Figures::default();
    let (started, took) = Embedded::start(directory.path()).await?;
    let server = Server::Embedded(started);
    figures.time("ready, empty", took);
    work::load(&server, &mut figures).await?;
    drop(server);
    let (_again, took) = Embedded::start(directory.path()).await?;
    figures.time("ready again with all of it", took);
    Ok(figures)
}

async fn measure_real(programs: &Programs) -> Outcome<Figures> {
    let mut figures = Figures::default();
    let (server, took) = Server::real(programs)?;
    figures.time("ready, empty", took);
    work::load(&server, &mut figures).await?;
    Ok(figures)
}
