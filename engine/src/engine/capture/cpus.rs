//! Which processors `rx` threads run on.

use std::str::FromStr;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use crate::error::{Error, Result};

/// Processors, as `--cpus` names them: `0-3,8`, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CpuList(Vec<usize>);

impl FromStr for CpuList {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let wrong = || format!("'{text}' is not a list of processors; write 0-3,8");
        let mut cpus = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let number = |digits: &str| digits.parse::<usize>().map_err(|_| wrong());
            let (first, last) = (number(first)?, number(last)?);
            if last >= CpuSet::count() {
                return Err(format!("'{text}': processors are below {}", CpuSet::count()));
            }
            if first > last || (first..=last).any(|cpu| cpus.contains(&cpu)) {
                return Err(wrong());
            }
            cpus.extend(first..=last);
        }
        Ok(Self(cpus))
    }
}

impl CpuList {
    /// How many there are: at least one.
    #[expect(clippy::len_without_is_empty, reason = "it never is")]
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The processor of the thread with this number: one after the other, round and round.
    #[must_use]
    pub fn of_thread(&self, number: usize) -> usize {
        self.0[number % self.0.len()]
    }

    /// Whether this process may run on all of them.
    ///
    /// # Errors
    /// If not, with those on which it may.
    pub fn check(&self) -> Result<()> {
        let allowed = sched_getaffinity(Pid::from_raw(0)).map_err(|c| Error::new("--cpus", c))?;
        let is_allowed = |cpu: usize| allowed.is_set(cpu).unwrap_or(false);
        let Some(cpu) = self.0.iter().find(|cpu| !is_allowed(**cpu)) else { return Ok(()) };
        let others: Vec<_> = (0..CpuSet::count())
            .filter(|cpu| is_allowed(*cpu))
            .map(|cpu| cpu.to_string())
            .collect();
        Err(Error::new("--cpus", format!("this process may not run on processor {cpu}"))
            .advise(format!("it may on {}", others.join(","))))
    }
}

/// Has the thread that calls this run on `cpu` only.
///
/// # Errors
/// If the system refuses it.
pub(super) fn pin(cpu: usize) -> Result<()> {
    let mut only = CpuSet::new();
    only.set(cpu)
        .and_then(|()| sched_setaffinity(Pid::from_raw(0), &only))
        .map_err(|cause| Error::new(format!("run on processor {cpu}"), cause.desc()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_in_their_order() {
        let list = |text: &str| text.parse::<CpuList>().map(|list| list.0);
        assert_eq!(list("0-3,8"), Ok(vec![0, 1, 2, 3, 8]));
        assert_eq!(list("5,1"), Ok(vec![5, 1]));
        for wrong in ["", ",", "1,", "3-1", "a", "1-", "-1", "1,1", "0-2,2", "0-9999999", "1024"] {
            assert!(list(wrong).is_err(), "{wrong}");
        }
        let list: CpuList = "5,1".parse().unwrap();
        let threads: Vec<_> = (0..5).map(|number| list.of_thread(number)).collect();
        assert_eq!(threads, [5, 1, 5, 1, 5], "round and round");
    }

    #[test]
    fn a_processor_that_is_not_ours_is_refused() {
        let error = "1023".parse::<CpuList>().unwrap().check().unwrap_err().to_string();
        let expected = "--cpus: this process may not run on processor 1023; it may on ";
        assert!(error.starts_with(expected), "{error}");
    }

    #[test]
    fn a_thread_runs_where_it_is_pinned() {
        let allowed = sched_getaffinity(Pid::from_raw(0)).unwrap();
        let cpu = (0..CpuSet::count()).rfind(|cpu| allowed.is_set(*cpu).unwrap()).unwrap();
        std::thread::spawn(move || {
            pin(cpu).unwrap();
            let now = sched_getaffinity(Pid::from_raw(0)).unwrap();
            let set: Vec<_> =
                (0..CpuSet::count()).filter(|cpu| now.is_set(*cpu).unwrap()).collect();
            assert_eq!(set, [cpu]);
        })
        .join()
        .unwrap();
    }
}
