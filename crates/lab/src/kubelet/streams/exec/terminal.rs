//! Programs that have a terminal.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::process::{ExitStatus, Stdio};

use bytes::Bytes;
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use tokio::sync::mpsc;

use super::super::session::{Inner, Output, Size};
use super::{LAST_WORDS, command, wait};

/// Runs a program on a terminal of its own until it ends or the client goes.
pub async fn run(pause: u32, program: &[String], inner: Inner) -> io::Result<ExitStatus> {
    let (ours, theirs) = open()?;
    let mut command = command(pause, &["--terminal"], program);
    command.env("TERM", "xterm");
    command.stdin(theirs.try_clone()?).stdout(theirs.try_clone()?).stderr(Stdio::from(theirs));
    let mut child = command.spawn()?;
    // The command holds the other end as well, and its end is the end of output.
    drop(command);
    let (mut reader, mut writer, screen) =
        (File::from(ours.try_clone()?), File::from(ours.try_clone()?), ours);
    let output = inner.output.clone();
    let reading = tokio::task::spawn_blocking(move || read(&mut reader, &output));
    let mut stdin = inner.stdin;
    tokio::task::spawn_blocking(move || write(&mut writer, &mut stdin));
    tokio::spawn(resize(screen, inner.sizes));
    let status = wait(&mut child, &inner.output).await?;
    let _ = tokio::time::timeout(LAST_WORDS, reading).await;
    Ok(status)
}

/// Both ends of a new terminal.
fn open() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let ours = openpt(flags)?;
    grantpt(&ours)?;
    unlockpt(&ours)?;
    let theirs = ioctl_tiocgptpeer(&ours, flags)?;
    Ok((ours, theirs))
}

/// A terminal that nobody has open any more answers with an error, which is its end.
fn read(from: &mut File, to: &mpsc::Sender<Output>) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if to.blocking_send(Output::Stdout(Bytes::copy_from_slice(&buffer[..count]))).is_err() {
            return;
        }
    }
}

fn write(to: &mut File, from: &mut mpsc::Receiver<Bytes>) {
    while let Some(bytes) = from.blocking_recv() {
        if to.write_all(&bytes).is_err() {
            return;
        }
    }
}

async fn resize(screen: OwnedFd, mut sizes: mpsc::Receiver<Size>) {
    while let Some(size) = sizes.recv().await {
        let size = Winsize { ws_row: size.height, ws_col: size.width, ws_xpixel: 0, ws_ypixel: 0 };
        // A program that is gone needs no size.
        let _ = tcsetwinsize(&screen, size);
    }
}
