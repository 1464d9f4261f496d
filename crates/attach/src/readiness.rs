//! The readiness file: nothing is attached before the default network says so (spec/multus.md 8).

use std::path::Path;
use std::thread;
use std::time::Instant;

use polynic_cni::Error;

use crate::context::Wait;

/// Waits until the file is there. Without a file there is nothing to wait for.
pub(crate) fn wait(file: Option<&Path>, wait: Wait) -> Result<(), Error> {
    let Some(file) = file else { return Ok(()) };
    let started = Instant::now();
    while !file.exists() {
        if started.elapsed() + wait.interval > wait.limit {
            return Err(Error::internal(format!(
                "have you checked that your default network is ready? still waiting for readinessindicatorfile @ {}. \
                 pollimmediate error: timed out waiting for the condition",
                file.display()
            )));
        }
        thread::sleep(wait.interval);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const SHORT: Wait = Wait { interval: Duration::from_millis(5), limit: Duration::from_millis(20) };

    #[test]
    fn a_missing_file_is_an_error_that_names_it() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("ready");
        let error = wait(Some(&file), SHORT).unwrap_err();
        assert_eq!(error.code, 999);
        assert!(
            error.msg.starts_with("have you checked that your default network is ready? still waiting for ")
        );
        assert!(error.msg.contains(&file.display().to_string()), "{error}");
    }

    #[test]
    fn a_file_that_appears_ends_the_wait() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("ready");
        let patient = Wait { limit: Duration::from_secs(60), ..SHORT };
        thread::scope(|scope| {
            let waiting = scope.spawn(|| wait(Some(&file), patient));
            std::fs::write(&file, "").unwrap();
            assert_eq!(waiting.join().unwrap(), Ok(()));
        });
        assert_eq!(wait(None, SHORT), Ok(()));
    }
}
