//! Settings below /proc/sys/net. What a path there means depends on the namespace of the thread that opens it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::PathBuf;

use polynic_net::{Diff, Sysctl, SysctlKey};

use super::Failure;
use super::space::Space;
use crate::netlink::Fault;

impl Space {
    pub(super) fn change_sysctl(&mut self, diff: &Diff<Sysctl>) -> Result<(), Failure> {
        let (Some(before), Some(after)) = (diff.before.clone(), diff.after.clone()) else {
            return Err(Fault::Talk("a setting can neither be made nor removed".into()).into());
        };
        let outcome = self.netns.run(move || change(&before, &after)).map_err(|e| Fault::io(&e))?;
        match outcome.map_err(|e| Fault::io(&e))? {
            None => Ok(()),
            Some(found) => Err(Failure::Stale(found)),
        }
    }

    /// The values of settings; nothing for those that cannot be read.
    pub(super) fn sysctls(
        &mut self,
        keys: &[SysctlKey],
    ) -> Result<BTreeMap<SysctlKey, Option<String>>, Fault> {
        let keys = keys.to_vec();
        let read_all =
            move || keys.into_iter().map(|key| (read(&key).ok(), key)).map(|(v, k)| (k, v)).collect();
        self.netns.run(read_all).map_err(|e| Fault::io(&e))
    }
}

/// Writes a setting unless it has the value already; gives back what is there if that is neither value.
fn change(before: &Sysctl, after: &Sysctl) -> io::Result<Option<String>> {
    let found = read(&after.key)?;
    if same(&found, &after.value) {
        return Ok(None);
    }
    if !same(&found, &before.value) {
        return Ok(Some(found));
    }
    // Without O_CREAT: procfs would answer a missing file with EACCES instead of ENOENT.
    let mut file = File::options().write(true).open(path(&after.key))?;
    file.write_all(after.value.as_bytes())?;
    Ok(None)
}

fn read(key: &SysctlKey) -> io::Result<String> {
    let mut file = File::open(path(key))?;
    // A setting comes whole with the first read: nearly all are numbers.
    let mut start = [0; 64];
    let length = file.read(&mut start)?;
    let mut bytes = start[..length].to_vec();
    if length == start.len() {
        file.read_to_end(&mut bytes)?;
    }
    let mut value = String::from_utf8(bytes).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
    value.truncate(value.trim_end_matches('\n').len());
    Ok(value)
}

fn path(key: &SysctlKey) -> PathBuf {
    PathBuf::from("/proc/sys").join(key.as_str())
}

/// The kernel prints lists with tabs whatever was written.
fn same(a: &str, b: &str) -> bool {
    a.split_whitespace().eq(b.split_whitespace())
}

#[cfg(test)]
mod tests {
    use super::same;

    #[test]
    fn lists_are_equal_whatever_separates_them() {
        assert!(same("4096\t131072\t6291456", "4096 131072 6291456"));
        assert!(!same("1", "10"));
    }
}
