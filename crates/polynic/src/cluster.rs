//! Commands that look at a cluster: `pools` and `doctor`.

mod doctor;
mod pools;

use std::io;
use std::path::PathBuf;

use polynic_cluster::survey::{Survey, survey};
use polynic_cni::cause::chain;

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

    /// The kubeconfig asked for: by option, by environment, or the usual one.
    fn kubeconfig(&self) -> Option<PathBuf> {
        let by_environment = || std::env::var_os("KUBECONFIG").filter(|v| !v.is_empty()).map(PathBuf::from);
        let usual = || {
            let file = PathBuf::from(std::env::var_os("HOME")?).join(".kube/config");
            file.is_file().then_some(file)
        };
        self.kubeconfig.clone().or_else(by_environment).or_else(usual)
    }

    fn survey(&self) -> io::Result<Survey> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let client = polynic_cluster::client_from(self.kubeconfig().as_deref()).await;
            let client = client
                .map_err(|why| io::Error::other(chain(&why)))?
                .ok_or_else(|| io::Error::other("no cluster: give --kubeconfig FILE, or set KUBECONFIG"))?;
            survey(&client).await.map_err(|e| io::Error::other(format!("cannot read the cluster: {e}")))
        })
    }
}

/// `polynic pools [POOL] [-o json]`.
pub(crate) fn pools(args: &[&str]) -> io::Result<String> {
    let options = Options::read(args)?;
    let survey = options.survey()?;
    match options.words.as_slice() {
        [] if options.json => Ok(pools::json(&survey)),
        [] => Ok(pools::overview(&survey)),
        [name] if options.json => pools::one_json(&survey, name).map_err(io::Error::other),
        [name] => pools::holders(&survey, name).map_err(io::Error::other),
        _ => Err(io::Error::other("name one pool, or none")),
    }
}

/// `polynic doctor [-o json]`: the report, and whether all is well.
pub(crate) fn doctor(args: &[&str]) -> io::Result<(String, bool)> {
    let options = Options::read(args)?;
    if let Some(word) = options.words.first() {
        return Err(io::Error::other(format!("doctor takes no argument {word:?}")));
    }
    let survey = options.survey()?;
    let report = doctor::examine(&survey);
    Ok((if options.json { report.json() } else { report.text() }, report.is_well()))
}

#[cfg(test)]
mod tests {
    use super::*;

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
