use std::fs;
use std::path::Path;

use super::*;

fn config(file: &Path, level: &str) -> LogConfig {
    LogConfig {
        log_to_stderr: false,
        log_file: file.display().to_string(),
        log_level: level.to_owned(),
        ..LogConfig::default()
    }
}

fn logged(level: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("multus.log");
    let log = Log::open(&config(&file, level));
    log.error("bad\nthing");
    log.verbose(|| "done".to_owned());
    log.debug(|| "why".to_owned());
    fs::read_to_string(file).unwrap_or_default()
}

#[test]
fn levels_include_those_before_them() {
    let words = |level: &str| {
        let text = logged(level);
        ["bad thing", "done", "why"].map(|word| text.contains(word))
    };
    assert_eq!(words(""), [false, false, false]);
    assert_eq!(words("Panic"), [false, false, false]);
    assert_eq!(words("ERROR"), [true, false, false]);
    assert_eq!(words("verbose"), [true, true, false]);
    assert_eq!(words("debug"), [true, true, true]);
    assert_eq!(words("chatty"), [false, false, false]);
}

#[test]
fn a_line_has_time_level_and_text() {
    let text = logged("error");
    let (time, rest) = text.split_once(' ').unwrap();
    assert!(time.parse::<jiff::Timestamp>().is_ok(), "{time}");
    assert_eq!(rest, "[error] bad thing\n");
}

#[test]
fn a_file_that_cannot_be_opened_stops_nothing() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("file"), "").unwrap();
    Log::open(&config(&directory.path().join("file/log"), "debug")).error("lost");
}

#[test]
fn a_full_file_rotates_and_old_ones_go() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("multus.log");
    let options = LogOptions { max_size: 1, max_backups: 2, max_age: 0, compress: false };
    let config = LogConfig { log_options: options, ..config(&file, "error") };
    fs::write(directory.path().join("multus-notes.log"), "not ours").unwrap();
    for round in 0..4 {
        fs::write(&file, vec![b'x'; 1024 * 1024]).unwrap();
        Log::open(&config).error(&format!("round {round}"));
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    assert!(fs::read_to_string(&file).unwrap().contains("round 3"));
    let names: Vec<String> = fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(names.iter().filter(|name| name.starts_with("multus-20")).count(), 2, "{names:?}");
    assert!(names.contains(&"multus-notes.log".to_owned()));
}

/// A configuration that says nothing of rotation.
#[test]
fn a_log_rotates_by_default() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("multus.log");
    let written = serde_json::json!({"logFile": file, "logLevel": "error", "logToStderr": false});
    let mut config: LogConfig = serde_json::from_value(written).unwrap();
    // That takes its time in a build that is not optimised, and is tested where it is done.
    assert!(std::mem::take(&mut config.log_options.compress));
    let size = |bytes: u64| fs::File::create(&file).unwrap().set_len(bytes).unwrap();
    let files = || fs::read_dir(directory.path()).unwrap().count();
    size(100 * 1024 * 1024 - 1);
    Log::open(&config).error("it is not full yet");
    assert_eq!(files(), 1);
    size(100 * 1024 * 1024);
    Log::open(&config).error("in a new file");
    assert_eq!(files(), 2);
    assert!(fs::read_to_string(&file).unwrap().ends_with("in a new file\n"));
}
