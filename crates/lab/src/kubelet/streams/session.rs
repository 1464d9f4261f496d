//! A program's standard streams on their way between it and a client, whatever protocol the client speaks.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;

/// Messages under way: enough to keep both sides busy, few enough to stop a program that nobody reads from.
const ROOM: usize = 32;

/// Something that a program wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// On its standard output.
    Stdout(Bytes),
    /// On its standard error.
    Stderr(Bytes),
}

/// The size of a client's terminal, in characters, as clients write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Size {
    /// Columns.
    pub width: u16,
    /// Rows.
    pub height: u16,
}

/// The program's side.
pub struct Inner {
    /// What the client types; closed at its end.
    pub stdin: mpsc::Receiver<Bytes>,
    /// Sizes of its terminal.
    pub sizes: mpsc::Receiver<Size>,
    /// What the program writes.
    pub output: mpsc::Sender<Output>,
}

/// The client's side.
pub struct Outer {
    /// To the program; dropped at the end of input.
    pub stdin: Option<mpsc::Sender<Bytes>>,
    /// Sizes of the terminal.
    pub sizes: mpsc::Sender<Size>,
    /// From the program.
    pub output: mpsc::Receiver<Output>,
}

/// Both sides.
pub fn pair() -> (Inner, Outer) {
    let ((to_program, stdin), (sizes_in, sizes), (output, from_program)) =
        (mpsc::channel(ROOM), mpsc::channel(ROOM), mpsc::channel(ROOM));
    let inner = Inner { stdin, sizes, output };
    (inner, Outer { stdin: Some(to_program), sizes: sizes_in, output: from_program })
}

/// How a program ended, or why there was none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with this exit code.
    Exited(i32),
    /// Not begun.
    Failed(String),
}

impl Ended {
    /// As clients get to know it (`remotecommand/v4`).
    pub fn status(&self) -> Value {
        match self {
            Ended::Exited(0) => json!({"metadata": {}, "status": "Success"}),
            Ended::Exited(code) => json!({
                "metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
                "message": format!("command terminated with non-zero exit code: exit status {code}"),
                "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
            }),
            Ended::Failed(why) => json!({
                "metadata": {}, "status": "Failure", "reason": "InternalError", "message": why, "code": 500,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_code_is_told_where_clients_look_for_it() {
        let status = Ended::Exited(7).status();
        assert_eq!(status["details"]["causes"][0], json!({"reason": "ExitCode", "message": "7"}));
        assert_eq!(Ended::Exited(0).status()["status"], "Success");
    }

    #[test]
    fn sizes_are_read_as_clients_write_them() {
        let size: Size = serde_json::from_str(r#"{"Width":80,"Height":24}"#).unwrap();
        assert_eq!(size, Size { width: 80, height: 24 });
    }
}
