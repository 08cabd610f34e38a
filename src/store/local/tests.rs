use super::*;
use crate::store::Store;
use tempfile::TempDir;

mod on_threads {
    crate::store_conformance!(super::open(&crate::env::Env::system()));
}

mod inline {
    crate::store_conformance!(super::open(&crate::testkit::test_env(1)));
}

fn open(env: &Env) -> (Store, TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    (Store::new(LocalStore::open_with(folder.path(), env).expect("open")), folder)
}
