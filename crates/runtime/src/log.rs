//! Logs of daemons: JSON lines on standard output, as container runtimes collect them.

use std::io;

use tracing_subscriber::EnvFilter;

/// Why logging could not start.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The level has another name than debug, info, warn, error, fatal or panic.
    #[error("unknown log level {0:?}: debug, info, warn, error, fatal and panic are known")]
    Level(String),
    /// Logging was started already.
    #[error("logging has been started already")]
    Twice,
}

/// Starts logging of the whole process at a level by its name in any case; empty is `info`. The libraries underneath log only what goes wrong.
pub fn start(level: &str) -> Result<(), LogError> {
    let filter = EnvFilter::new(filter(level)?);
    let json = tracing_subscriber::fmt().json().flatten_event(true).with_writer(io::stdout);
    json.with_env_filter(filter).try_init().map_err(|_| LogError::Twice)
}

fn filter(level: &str) -> Result<String, LogError> {
    let own = match level.to_ascii_lowercase().as_str() {
        "" | "info" => "info",
        "debug" => "debug",
        "warn" | "warning" => "warn",
        // Whoever wants to hear of nothing less than the end still wants to know why it came.
        "error" | "fatal" | "panic" => "error",
        _ => return Err(LogError::Level(level.to_owned())),
    };
    let others = if own == "error" { "error" } else { "warn" };
    Ok(format!(
        "{own},hyper={others},hyper_util={others},kube={others},kube_client={others},kube_runtime={others},tower={others},rustls={others}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_have_the_names_of_the_replaced_daemons() {
        for (name, own) in [("", "info"), ("DEBUG", "debug"), ("Warn", "warn"), ("panic", "error")] {
            assert!(filter(name).unwrap().starts_with(&format!("{own},")), "{name}");
        }
        assert!(matches!(filter("loud"), Err(LogError::Level(_))));
    }
}
