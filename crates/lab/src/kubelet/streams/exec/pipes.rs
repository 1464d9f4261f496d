//! Programs whose streams are pipes.

use std::io;
use std::process::{ExitStatus, Stdio};

use bytes::Bytes;
use tokio::io::AsyncWriteExt;
use tokio::process::ChildStdin;
use tokio::sync::mpsc;

use super::super::session::{Inner, Output};
use super::{LAST_WORDS, Streams, carry, command, wait};

/// Runs a program until it ends or the client goes.
pub async fn run(pause: u32, program: &[String], streams: Streams, inner: Inner) -> io::Result<ExitStatus> {
    let pipe = |wanted: bool| if wanted { Stdio::piped() } else { Stdio::null() };
    let mut command = command(pause, &[], program);
    command.stdin(pipe(streams.stdin)).stdout(pipe(streams.stdout)).stderr(pipe(streams.stderr));
    let mut child = command.spawn()?;
    if let Some(stdin) = child.stdin.take() {
        tokio::spawn(feed(inner.stdin, stdin));
    }
    let mut readers = tokio::task::JoinSet::new();
    if let Some(stdout) = child.stdout.take() {
        readers.spawn(carry(stdout, inner.output.clone(), Output::Stdout));
    }
    if let Some(stderr) = child.stderr.take() {
        readers.spawn(carry(stderr, inner.output.clone(), Output::Stderr));
    }
    let status = wait(&mut child, &inner.output).await?;
    let _ = tokio::time::timeout(LAST_WORDS, async { while readers.join_next().await.is_some() {} }).await;
    Ok(status)
}

/// What the client types, until it or the program ends.
async fn feed(mut from: mpsc::Receiver<Bytes>, mut to: ChildStdin) {
    while let Some(bytes) = from.recv().await {
        if to.write_all(&bytes).await.is_err() {
            return;
        }
    }
}
