//! Programs that are run with planted secrets, and refused: what they print, and what they leave.

use crate::api::Api;
use crate::keys::Keys;
use crate::search::{SECRET, found, found_below};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The example `name`, if it was built with this test.
fn example(name: &str) -> Option<PathBuf> {
    let test = std::env::current_exe().expect("a path");
    let program = test.ancestors().nth(2).expect("the folder of the profile").join("examples").join(name);
    if !program.exists() {
        println!(
            "skipped: `{name}` is not there; `cargo test` without `--test` builds it, and so does `cargo build --examples`"
        );
        return None;
    }
    Some(program)
}

/// Runs it in `folder`, as loudly as it can be; gives how it ended and all that it said.
async fn run(program: &Path, arguments: &[&str], folder: &Path) -> (Option<i32>, String) {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder).env("RUST_LOG", "trace").env("RUST_BACKTRACE", "1");
    let encoded: String = url::form_urlencoded::byte_serialize(SECRET.as_bytes()).collect();
    command.env("PLANTED", SECRET).env("WAREHOUSE_URL", format!("postgresql://etl:{encoded}@127.0.0.1:1/warehouse"));
    let run = tokio::task::spawn_blocking(move || command.output().expect("it starts"));
    let Output { status, stdout, stderr } = run.await.expect("no panic");
    (status.code(), format!("{}\n{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr)))
}

#[tokio::test]
async fn ingest_shows_and_keeps_no_secret_however_it_ends() {
    let Some(ingest) = example("ingest") else { return };
    let api = Api::start(Keys::all().server()).await;
    let bearer = "{ by = \"bearer\", env = \"PLANTED\" }";
    let refused = format!(
        "{{ by = \"client_credentials\", token_url = \"{}/no-token\", client_id = \"client\", client_secret = {{ env = \"PLANTED\" }} }}",
        api.url()
    );
    let lake = "parquet = \"lake\"";
    let cases = [
        ("/pages", bearer, lake, Some(0)),
        ("/denied", bearer, lake, Some(3)),
        ("/down", bearer, lake, Some(4)),
        ("/elsewhere", bearer, lake, Some(2)),
        ("/pages", &refused, lake, None),
        ("/pages", bearer, "postgres = { env = \"WAREHOUSE_URL\", table = \"rows\" }", None),
    ];
    for (path, auth, sink, code) in cases {
        let folder = tempfile::tempdir().expect("a folder");
        let spec = format!(
            "name = \"rows\"\nstate = \"state\"\nschema = \"id: int64\"\nappend = true\n[source]\nurl = \"{}{path}\"\nauth = {auth}\nrecords = \"$[*]\"\n\
             paginate = {{ by = \"link\" }}\n[sink]\n{sink}\n",
            api.url()
        );
        std::fs::write(folder.path().join("rows.toml"), &spec).expect("written");
        for arguments in [&["rows.toml", "--json"][..], &["check", "rows.toml"], &["detect", "rows.toml"]] {
            let (ended, said) = run(&ingest, arguments, folder.path()).await;
            assert_eq!(found(said.as_bytes()), None, "{arguments:?} of\n{spec}\n{said}");
            if arguments.len() == 2 && arguments[1] == "--json" {
                assert!(
                    code.is_none_or(|code| ended == Some(code)),
                    "{ended:?}, not {code:?} of\n{spec}\n{said:.4000}"
                );
                assert!(said.len() > 500, "it says nothing: {said}");
            }
        }
        let (wrong, _) = found_below(folder.path());
        assert!(wrong.is_empty(), "{wrong:?}");
    }
}

#[tokio::test]
async fn a_warehouse_that_refuses_is_shown_without_its_password() {
    let Some(warehouses) = example("warehouses") else { return };
    let (api, folder) = (Api::start(Keys::all().server()).await, tempfile::tempdir().expect("a folder"));
    let (ended, said) =
        run(&warehouses, &["load", "postgres:orders", "--api", &api.url(), "--state", "state"], folder.path()).await;
    assert!(ended.is_some_and(|code| code != 0), "{said}");
    assert_eq!(found(said.as_bytes()), None, "{said}");
}
