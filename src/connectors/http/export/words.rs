use crate::connectors::http::status::quoted;
use crate::error::{Error, Result};
use serde::Serialize;

/// How a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum State {
    Running,
    Done,
    Failed,
    Skipped,
}

/// What the API calls the states of a job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Words {
    pub(super) running: Vec<String>,
    pub(super) done: Vec<String>,
    pub(super) failed: Vec<String>,
    pub(super) skipped: Vec<String>,
}

impl Words {
    /// What `word` means: as declared, or as APIs usually mean it. Case does not matter.
    pub(super) fn state(&self, word: &str) -> Result<State> {
        let is_word = |known: &&str| known.eq_ignore_ascii_case(word);
        let declared = self.all().into_iter().find(|(_, words)| words.iter().any(|w| is_word(&w.as_str())));
        let usual = || USUAL.iter().find(|(state, words)| self.of(*state).is_empty() && words.iter().any(&is_word));
        declared.map(|(state, _)| state).or_else(|| usual().map(|(state, _)| *state)).ok_or_else(|| {
            Error::data("poll job", "nothing says what this state of a job means")
                .with("state", quoted(word))
                .with_hint("say so with .running([…]), .done([…]), .failed([…]) or .skipped([…])")
        })
    }

    /// A word must not mean two things.
    pub(super) fn check(&self) -> Result<()> {
        let words: Vec<String> =
            self.all().into_iter().flat_map(|(_, words)| words.iter().map(|word| word.to_ascii_lowercase())).collect();
        let twice = words.iter().enumerate().find(|(n, word)| words[..*n].contains(word));
        twice.map_or(Ok(()), |(_, word)| {
            Err(Error::config("build source", "a state of export jobs means two things").with("state", word))
        })
    }

    fn all(&self) -> [(State, &[String]); 4] {
        [State::Running, State::Done, State::Failed, State::Skipped].map(|state| (state, self.of(state)))
    }

    fn of(&self, state: State) -> &[String] {
        match state {
            State::Running => &self.running,
            State::Done => &self.done,
            State::Failed => &self.failed,
            State::Skipped => &self.skipped,
        }
    }
}

/// What APIs usually say, for states that nothing was declared for.
const USUAL: [(State, &[&str]); 4] = [
    (
        State::Running,
        &[
            "created",
            "new",
            "queued",
            "pending",
            "waiting",
            "submitted",
            "accepted",
            "scheduled",
            "preparing",
            "started",
            "running",
            "in_progress",
            "in-progress",
            "inprogress",
            "in progress",
            "processing",
            "executing",
            "uploading",
        ],
    ),
    (State::Done, &["done", "complete", "completed", "success", "succeeded", "successful", "finished", "ready"]),
    (
        State::Failed,
        &[
            "failed",
            "failure",
            "error",
            "errored",
            "cancelled",
            "canceled",
            "aborted",
            "expired",
            "timeout",
            "timed_out",
        ],
    ),
    (State::Skipped, &["skipped"]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_declared_word_counts_before_a_usual_one_and_an_unknown_one_is_an_error() {
        let words = Words { done: vec!["PUBLISHED".into(), "accepted".into()], ..Words::default() };
        assert_eq!(words.state("published").expect("declared"), State::Done);
        assert_eq!(words.state("Accepted").expect("declared"), State::Done);
        assert_eq!(words.state("RUNNING").expect("usual"), State::Running);
        // What is done was declared, so nothing else is.
        assert!(words.state("done").is_err() && words.state("purple").is_err());
    }

    #[test]
    fn a_word_does_not_mean_two_things() {
        let words = Words { done: vec!["OK".into()], failed: vec!["ok".into()], ..Words::default() };
        assert!(words.check().is_err());
    }
}
