//! What must not compile does not, and the compiler says why in the words of this crate.

#[test]
fn unsafe_or_unfit_pipelines_do_not_compile() {
    trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
}
