//! Commands that look at a cluster, or at this node of it: `pools` and `doctor`.

mod doctor;
mod node;
mod pools;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use polynic_cluster::survey::{Survey, survey};
use polynic_cni::cause::chain;

/// How long the API server may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Time between two looks of `doctor`.
const PAUSE: Duration = Duration::from_secs(2);

/// What these commands have in common.
#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    kubeconfig: Option<PathBuf>,
    json: bool,
    /// Words that are no options.
    words: Vec<String>,
}

impl Options {
    /// `--kubeconfig FILE`, `-o json`, and words.
    fn read(args: &[&str]) -> io::Result<Self> {
        let mut options = Self::default();
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| io::Error::other(format!("{arg} needs a value")));
            match *arg {
                "--kubeconfig" => options.kubeconfig = Some(value()?.into()),
                "-o" | "--output" => match *value()? {
                    "json" => options.json = true,
                    other => {
                        return Err(io::Error::other(format!("unknown output {other:?}: there is json")));
                    }
                },
                flag if flag.starts_with('-') => {
                    return Err(io::Error::other(format!("unknown option {flag}")));
                }
                word => options.words.push(word.to_owned()),
            }
        }
        Ok(options)
    }

    /// The kubeconfig asked for: by option, by environment, or the usual one. Of several in the environment the first that is there counts.
    fn kubeconfig(&self) -> io::Result<Option<PathBuf>> {
        let by_environment = || {
            let files: Vec<PathBuf> = std::env::split_paths(&std::env::var_os("KUBECONFIG")?)
                .filter(|file| !file.as_os_str().is_empty())
                .collect();
            files.iter().find(|file| file.is_file()).or(files.first()).cloned()
        };
        let usual = || {
            let file = PathBuf::from(std::env::var_os("HOME")?).join(".kube/config");
            file.is_file().then_some(file)
        };
        let chosen = self.kubeconfig.clone().or_else(by_environment);
        match chosen.as_ref().filter(|file| !file.exists()) {
            Some(missing) => Err(io::Error::other(format!("there is no kubeconfig {}", missing.display()))),
            None => Ok(chosen.or_else(usual)),
        }
    }

    /// Looks at the cluster, as `judge` wants it.
    fn survey<T>(&self, judge: impl AsyncFnOnce(Look) -> io::Result<T>) -> io::Result<T> {
        let kubeconfig = self.kubeconfig()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let client = polynic_cluster::client_from(kubeconfig.as_deref()).await;
            let client = client
                .map_err(|why| io::Error::other(chain(&why)))?
                .ok_or_else(|| io::Error::other("no cluster: give --kubeconfig FILE, or set KUBECONFIG"))?;
            let from = kubeconfig.map_or("the service account".to_owned(), |file| file.display().to_string());
            judge(Look { client, from }).await
        })
    }
}

/// How the cluster is looked at.
struct Look {
    client: polynic_cluster::Client,
    /// Where its address is from.
    from: String,
}

impl Look {
    async fn survey(&self) -> io::Result<Survey> {
        let from = &self.from;
        let looked = tokio::time::timeout(PATIENCE, survey(&self.client)).await;
        match looked {
            Ok(Ok(survey)) => Ok(survey),
            Ok(Err(why)) => {
                Err(io::Error::other(format!("cannot read the cluster of {from}: {}", chain(&why))))
            }
            Err(_) => Err(io::Error::other(format!(
                "the API server of {from} did not answer within {} s",
                PATIENCE.as_secs()
            ))),
        }
    }
}

/// `polynic pools [POOL] [-o json]`.
pub(crate) fn pools(args: &[&str]) -> io::Result<String> {
    let options = Options::read(args)?;
    let survey = options.survey(async |look: Look| look.survey().await)?;
    match options.words.as_slice() {
        [] if options.json => Ok(pools::json(&survey)),
        [] => Ok(pools::overview(&survey)),
        [name] if options.json => pools::one_json(&survey, name).map_err(io::Error::other),
        [name] => pools::holders(&survey, name).map_err(io::Error::other),
        _ => Err(io::Error::other("name one pool, or none")),
    }
}

/// `polynic doctor [node [ROOT]] [-o json]`: the report, and whether all is well.
pub(crate) fn doctor(args: &[&str]) -> io::Result<(String, bool)> {
    let options = Options::read(args)?;
    match options.words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => {}
        ["node"] => return node::doctor(Path::new("/"), options.json),
        ["node", root] => return node::doctor(Path::new(root), options.json),
        [word, ..] => {
            return Err(io::Error::other(format!("doctor takes no argument {word:?}, only node [ROOT]")));
        }
    }
    let report = options.survey(async |look: Look| {
        let first = doctor::examine(&look.survey().await?);
        if first.is_well() {
            return Ok(first);
        }
        // Its lists are of different moments: only what is wrong twice is wrong.
        tokio::time::sleep(PAUSE).await;
        Ok(doctor::examine(&look.survey().await?).confirming(&first))
    })?;
    Ok((if options.json { report.json() } else { report.text() }, report.is_well()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kubeconfig_that_is_not_there_is_named() {
        let options = Options::read(&["--kubeconfig", "/no/such"]).unwrap();
        assert_eq!(options.kubeconfig().unwrap_err().to_string(), "there is no kubeconfig /no/such");
    }

    #[test]
    fn options_and_words_may_be_mixed() {
        let options = Options::read(&["blue", "--kubeconfig", "/k", "-o", "json"]).unwrap();
        let expected = Options { kubeconfig: Some("/k".into()), json: true, words: vec!["blue".to_owned()] };
        assert_eq!(options, expected);
        for (args, error) in [
            (&["--kubeconfig"][..], "--kubeconfig needs a value"),
            (&["-o", "yaml"], "unknown output \"yaml\": there is json"),
            (&["--color"], "unknown option --color"),
        ] {
            assert_eq!(Options::read(args).unwrap_err().to_string(), error);
        }
    }
}
