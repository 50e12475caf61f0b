//! What the documents of the workspace say of its files and tests is true.

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What stands between backticks and names a file or folder of the workspace, with what follows `::`.
fn paths(text: &str) -> Vec<(&str, Option<&str>)> {
    let quoted = text.split('`').skip(1).step_by(2);
    let ours = ["mqtt-codec/", "mqtt-client/", "mqtt-tokio/", "fuzz/", "ci/"];
    quoted
        .filter(|text| ours.iter().any(|prefix| text.starts_with(prefix)) && !text.contains(' '))
        .map(|text| text.split_once("::").map_or((text, None), |(path, name)| (path, Some(name))))
        .collect()
}

/// The cells of each row of each table.
fn rows(text: &str) -> Vec<Vec<&str>> {
    text.lines()
        .filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"))
        .map(|line| line.split(" | ").collect())
        .collect()
}

#[test]
fn conformance_names_tests_that_exist() {
    let conformance = read("CONFORMANCE.md");
    let mut statements = Vec::new();
    let mut tests = 0;
    for row in rows(&conformance).into_iter().filter(|row| row[0] != "statement" && row[0] != "about") {
        let [about @ .., code, test] = row.as_slice() else { panic!("{row:?}") };
        statements.extend(about.iter().copied().filter(|cell| cell.starts_with("MQTT-")));
        assert!(*code == "-" || !paths(code).is_empty(), "no code: {row:?}");
        assert!(*test == "-" || !paths(test).is_empty(), "neither a test nor a dash: {row:?}");
        for (path, name) in paths(test) {
            let name = name.unwrap_or_else(|| panic!("{path}: which test?"));
            let source = read(path);
            let function = format!("fn {name}(");
            let at = source.find(&function).unwrap_or_else(|| panic!("{path} has no test {name}"));
            // Its attribute stands a few lines above it, or it is in a `proptest!`.
            let is_test = source[..at].lines().rev().take(4).any(|line| line.contains("test]"));
            assert!(is_test, "{path}: {name} is no test");
            tests += 1;
        }
    }
    let count = statements.len();
    statements.dedup();
    assert_eq!((statements.len(), count), (74, 74), "each statement has one row");
    assert!(tests > count);
}

#[test]
fn documents_name_files_that_exist() {
    for document in ["README.md", "ARCHITECTURE.md", "CONFORMANCE.md", "CONTRIBUTING.md", "SECURITY.md"] {
        let text = read(document);
        let named = paths(&text);
        assert!(!named.is_empty(), "{document}");
        for (path, _) in named {
            assert!(root().join(path).exists(), "{document} names {path}");
        }
    }
    assert!(read("ARCHITECTURE.md").lines().count() <= 120);
}

/// The README of the workspace is compiled by nobody; that of the crate is.
#[test]
fn the_first_program_is_the_one_that_is_compiled() {
    let program = |document: &str| {
        let text = read(document);
        let from = text.find("use mqtt_tokio::").expect("a program");
        let len = text[from..].find("```").expect("its end");
        text[from..from + len].to_owned()
    };
    assert_eq!(program("README.md"), program("mqtt-tokio/README.md"));
}
