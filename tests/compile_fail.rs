//! What must not compile does not, and the compiler says why in the words of this crate.
//!
//! The compiler's words around ours change from version to version, so whole answers are not compared: what a case says in
//! a line `//~ …` must be in the answer.

use std::path::Path;
use std::process::Command;
use std::{env, fs};

#[test]
fn unsafe_or_unfit_pipelines_do_not_compile() {
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compile_fail");
    if env::var_os("TRYBUILD").is_some() {
        // trybuild writes the answers down beside the cases, and fails if a case compiles.
        return trybuild::TestCases::new().compile_fail(scratch.join("*.rs"));
    }
    let cases = cases();
    fs::remove_dir_all(&scratch).or_else(|e| if scratch.exists() { Err(e) } else { Ok(()) }).expect("a clean folder");
    fs::create_dir_all(&scratch).expect("a folder");
    for (name, text) in &cases {
        fs::write(scratch.join(name), text).expect("a copy");
    }
    let asked = Command::new(env::current_exe().expect("this test")).env("TRYBUILD", "overwrite").output();
    let asked = asked.expect("this test again");
    assert!(asked.status.success(), "{}", String::from_utf8_lossy(&asked.stderr));
    for (name, text) in &cases {
        let answer = fs::read_to_string(scratch.join(name).with_extension("stderr")).expect("an answer");
        let wanted: Vec<_> = text.lines().filter_map(|line| line.trim().strip_prefix("//~ ")).collect();
        assert!(!wanted.is_empty(), "{name} does not say what the compiler should");
        for words in wanted {
            assert!(answer.contains(words), "{name}: `{words}` is not in\n{answer}");
        }
    }
}

fn cases() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compile_fail");
    let files = fs::read_dir(folder).expect("the cases").map(|entry| entry.expect("a case").path());
    files
        .map(|path| {
            let name = path.file_name().expect("a file").to_string_lossy().into_owned();
            (name, fs::read_to_string(path).expect("it is text"))
        })
        .collect()
}
