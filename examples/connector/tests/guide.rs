//! Each excerpt in the guide is code of this crate, literally but for its indentation. A line `// …` leaves something out.

use std::fs;
use std::path::Path;

const GUIDE: &str = "../../docs/connector-guide.md";

/// The lines of a text, without indentation.
fn lines(text: &str) -> Vec<&str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect()
}

#[test]
fn excerpts_are_what_is_compiled() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let guide = fs::read_to_string(root.join(GUIDE)).expect("the guide");
    let mut excerpts = 0;
    for block in guide.split("```rust\n").skip(1) {
        let code = block.split("```").next().expect("it ends");
        let (file, code) = code.split_once('\n').expect("the name of a file first");
        let file =
            file.strip_prefix("// examples/connector/").unwrap_or_else(|| panic!("an excerpt of no file: {file}"));
        let text = fs::read_to_string(root.join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
        let text = lines(&text);
        let mut from = 0;
        for part in code.split("// …") {
            let part = lines(part);
            let at = text[from..].windows(part.len()).position(|window| window == part);
            from += at.unwrap_or_else(|| panic!("not in {file}, in this order:\n{}", part.join("\n"))) + part.len();
        }
        excerpts += 1;
    }
    assert!(excerpts >= 8, "only {excerpts} excerpts");
}
