//! Serves until Ctrl-C: `cargo run -p polynic-apiserver --example serve -- DIR [ADDR]`, then
//! `kubectl --kubeconfig DIR/kubeconfig get namespaces`.

use std::error::Error;

use polynic_apiserver::{Config, Server};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut config = Config::new(arguments.next().ok_or("usage: serve DIR [ADDR]")?);
    if let Some(addr) = arguments.next() {
        config.listen = addr.parse()?;
    }
    let running = Server::start(config).await?;
    eprintln!(
        "listening on {}; kubectl --kubeconfig {}",
        running.addr(),
        running.kubeconfig_path().display()
    );
    tokio::signal::ctrl_c().await?;
    running.shutdown().await;
    Ok(())
}
