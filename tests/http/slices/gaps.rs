//! What is still missing of a partition that is read in windows, and that it is so no more once it is filled.

use super::world::{Api, Asked, World, rows};
use landfall::connectors::http::{Cursor, Rest, RestBuilder, Since, Window};
use landfall::model::{Account, Window as Bounds};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// A row for each number in `from..to`, as it is asked for.
fn numbers(asked: &Asked) -> (u16, String) {
    let (from, to) = (asked.number("from").unwrap_or(0), asked.number("to").unwrap_or(60));
    rows(&(from..to).map(|n| (n, n)).collect::<Vec<_>>(), None)
}

/// Windows of `length` numbers from 0 to 60.
fn windows(api: &Api, length: u64) -> RestBuilder {
    let since = Since::field("t").initial("0").until("60").query("from").until_query("to");
    listing(api).since(since.window(Window::numbers(length)))
}

fn listing(api: &Api) -> RestBuilder {
    Rest::get(api.url("/r")).records("$.data[*]").paginate(Cursor::at("$.next").query("cursor").optional())
}

/// An API whose answers for windows with `bad` in them, or 10 more, are wrong; none if it is far below.
async fn broken_at(bad: &Arc<AtomicI64>) -> Api {
    let bad = Arc::clone(bad);
    Api::start(move |asked| {
        let (from, to) = (asked.number("from").unwrap_or(0), asked.number("to").unwrap_or(60));
        let bad = bad.load(Ordering::SeqCst);
        if (from..to).contains(&bad) || (from..to).contains(&(bad + 10)) {
            return (200, "{\"oops\":true}".to_owned());
        }
        numbers(asked)
    })
    .await
}

fn bounds(from: u64, to: u64) -> Option<Bounds> {
    Some(Bounds::new(from.to_string(), to.to_string()))
}

fn of(accounts: &[Account], window: Option<Bounds>) -> Option<&Account> {
    accounts.iter().find(|account| account.window == window)
}

fn missing(accounts: &[Account]) -> Vec<String> {
    accounts.iter().filter_map(Account::missing).collect()
}

#[tokio::test]
async fn windows_that_never_began_are_missing_until_a_run_has_read_them() {
    let api = Api::start(numbers).await;
    let world = World::new();
    let report = world.run("w", windows(&api, 10).max_pages(2)).await.expect("no error");
    assert!(!report.is_complete());
    assert!(report.to_string().contains("not begun: 20 to 60; limit reached: 2 pages"), "{report}");
    let accounts = world.accounts("w", windows(&api, 10)).await;
    assert_eq!(missing(&accounts), ["not begun: 20 to 60; limit reached: 2 pages"]);
    assert_eq!(of(&accounts, bounds(10, 20)).map(|account| account.load.loaded), Some(10));
    assert_eq!(accounts.len(), 3);

    let report = world.run("w", windows(&api, 10)).await.expect("no error");
    assert!(report.is_complete() && report.missing.total == 0, "{report}");
    let accounts = world.accounts("w", windows(&api, 10)).await;
    assert_eq!((missing(&accounts), accounts.len()), (Vec::new(), 7));
    assert_eq!(world.column("id"), (0..60).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_window_that_failed_is_missing_no_more_when_windows_cut_in_another_way_have_filled_it() {
    for length in [7, 30, 60] {
        let bad = Arc::new(AtomicI64::new(15));
        let api = broken_at(&bad).await;
        let world = World::new();
        world.run("w", windows(&api, 10)).await.expect_err("a window fails");
        let accounts = world.accounts("w", windows(&api, 10)).await;
        assert!(of(&accounts, bounds(10, 20)).is_some_and(|account| account.missing().is_some()), "{accounts:?}");
        assert_eq!(missing(&accounts).len(), 2, "{accounts:?}");

        // As long as its place is not filled, it stays, or a wider window that failed says it too.
        world.run("w", windows(&api, length)).await.expect_err("it fails again");
        let accounts = world.accounts("w", windows(&api, length)).await;
        let says = [20, 30].into_iter().filter_map(|to| of(&accounts, bounds(10, to)));
        assert!(says.filter_map(Account::missing).next().is_some(), "{accounts:?}");

        bad.store(-100, Ordering::SeqCst);
        let report = world.run("w", windows(&api, length)).await.expect("no error");
        assert!(report.is_complete(), "{report}");
        let accounts = world.accounts("w", windows(&api, length)).await;
        assert_eq!(missing(&accounts), Vec::<String>::new());
        assert!(of(&accounts, bounds(10, 20)).is_none_or(|account| account.coverage.is_none()), "{accounts:?}");
        assert_eq!(world.column("id"), (0..60).collect::<Vec<_>>());
        let read: u64 = accounts.iter().map(|account| account.load.loaded).sum();
        assert_eq!(read, 60, "every row counts for one window");
    }
}

#[tokio::test]
async fn a_window_that_failed_is_missing_no_more_when_the_partition_was_read_without_windows() {
    let bad = Arc::new(AtomicI64::new(15));
    let api = broken_at(&bad).await;
    let world = World::new();
    world.run("w", windows(&api, 10)).await.expect_err("a window fails");
    bad.store(-100, Ordering::SeqCst);
    let whole = || listing(&api).since(Since::field("t").initial("0").query("from"));
    world.run("w", whole()).await.expect("no error");
    let accounts = world.accounts("w", whole()).await;
    assert_eq!(missing(&accounts), Vec::<String>::new());
    assert_eq!(world.column("id"), (0..60).collect::<Vec<_>>());
}
