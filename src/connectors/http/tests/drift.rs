//! Records come and go while the listing is read.

use super::*;
use crate::model::Proof;
use std::collections::{BTreeMap, BTreeSet};

/// A table of rows sorted by id, which changes between requests.
struct Table {
    rows: BTreeSet<u64>,
    /// Rows that were there all the time.
    lasting: BTreeSet<u64>,
}

impl Table {
    fn of(ids: impl IntoIterator<Item = u64>) -> Arc<Mutex<Self>> {
        let rows: BTreeSet<u64> = ids.into_iter().collect();
        Arc::new(Mutex::new(Self { lasting: rows.clone(), rows }))
    }

    fn insert(&mut self, id: u64) {
        self.rows.insert(id);
    }

    fn remove(&mut self, id: u64) {
        self.rows.remove(&id);
        self.lasting.remove(&id);
    }

    /// Rows from `from` on, `size` at most, and the total.
    fn page(&self, from: u64, size: u64) -> Reply {
        let rows =
            self.rows.iter().skip(usize::try_from(from).expect("small")).take(usize::try_from(size).expect("small"));
        let rows: Vec<_> = rows.map(|id| format!("{{\"id\":{id}}}")).collect();
        Reply::json(format!("{{\"data\":[{}],\"total\":{}}}", rows.join(","), self.rows.len()))
    }
}

/// A server over `table` with pages by `offset` or `page`, on which `history` acts before each request but the first.
async fn serve(table: &Arc<Mutex<Table>>, history: impl Fn(&mut Table, usize) + Send + Sync + 'static) -> Server {
    let table = Arc::clone(table);
    Server::start(move |got| {
        let mut table = table.lock().expect("not poisoned");
        if got.number > 0 {
            history(&mut table, got.number);
        }
        let number = |name: &str| got.parameter(name).and_then(|n| n.parse::<u64>().ok());
        let size = number("limit").unwrap_or(4);
        table.page(number("offset").unwrap_or_else(|| (number("page").expect("a page") - 1) * size), size)
    })
    .await
}

fn by_offset(server: &Server) -> RestBuilder {
    let offset = Offset::query("offset").limit("limit", 4).total("$.total");
    Rest::get(server.url("/r")).paginate(offset).records("$.data[*]").limits(patient())
}

fn by_page(server: &Server) -> RestBuilder {
    let pages = PageNumber::query("page").size("limit", 4).until_empty();
    Rest::get(server.url("/r")).paginate(pages).records("$.data[*]").limits(patient())
}

fn with_total(server: &Server) -> RestBuilder {
    by_page(server).paginate(PageNumber::query("page").size("limit", 4).total("$.total"))
}

async fn read_all(builder: RestBuilder) -> Brought {
    read(&builder.build().expect("a source"), None).await
}

fn rows(ids: impl IntoIterator<Item = u64>) -> Vec<String> {
    ids.into_iter().map(|id| format!("{{\"id\":{id}}}")).collect()
}

fn missing(table: &Arc<Mutex<Table>>, brought: &Brought) -> Vec<String> {
    let came: BTreeSet<String> = brought.records().into_iter().collect();
    rows(table.lock().expect("not poisoned").lasting.clone()).into_iter().filter(|row| !came.contains(row)).collect()
}

#[tokio::test]
async fn offsets_overlap_by_a_record_that_is_cut_off_exactly() {
    let table = Table::of(1..=10);
    let server = serve(&table, |_, _| ()).await;
    let brought = read_all(by_offset(&server)).await;
    assert_eq!(brought.records(), rows(1..=10));
    assert_eq!(brought.stopped(), &StopReason::Exhausted(Proof::TotalMatched(10)));
    let offsets: Vec<_> = server.seen().iter().filter_map(|got| got.parameter("offset")).collect();
    assert_eq!(offsets, ["0", "3", "6"]);
    for (n, page) in brought.pages().into_iter().enumerate() {
        // A replay finds the same records by the path that is landed.
        let path = page.records_path.as_deref().expect("said");
        assert_eq!(path, if n == 0 { "$.data[*]" } else { "$.data[1:]" });
        let found = crate::records::RecordsPath::parse(path).expect("a path").spans(&page.body, None).expect("found");
        assert_eq!(found.as_slice(), page.spans.as_deref().expect("known"));
    }
    // Ended by an empty page, which the last record alone is not.
    let server = serve(&table, |_, _| ()).await;
    let brought = read_all(by_offset(&server).paginate(Offset::query("offset").limit("limit", 4).until_empty())).await;
    assert_eq!(brought.records(), rows(1..=10));
    assert_eq!(brought.stopped(), &StopReason::Exhausted(Proof::EmptyPage));
    let offsets: Vec<_> = server.seen().iter().filter_map(|got| got.parameter("offset")).collect();
    assert_eq!(offsets, ["0", "3", "6", "9", "10"]);
}

#[tokio::test]
async fn offsets_go_on_behind_the_last_record_when_rows_were_added_or_taken_before_it() {
    for changes in [
        // Added before: the place stands further back.
        vec![(2, vec![1, 3], vec![])],
        // Taken before: it stands further ahead.
        vec![(2, vec![], vec![2, 4, 6])],
        // The last record that came has gone, and some before it.
        vec![(2, vec![], vec![14])],
        vec![(2, vec![], vec![14, 12, 10])],
        // Both, again and again.
        vec![(1, vec![1], vec![8]), (2, vec![3, 5], vec![]), (3, vec![], vec![2, 4, 6]), (4, vec![7], vec![20])],
        // Nothing that came before is there any more.
        vec![(2, vec![], (1..=7).map(|n| n * 2).collect())],
    ] {
        let table = Table::of((1..=20).map(|n| n * 2));
        let server = serve(&table, move |table, n| {
            for (_, added, taken) in changes.iter().filter(|(at, ..)| *at == n) {
                added.iter().for_each(|id| table.insert(*id));
                taken.iter().for_each(|id| table.remove(*id));
            }
        })
        .await;
        let brought = read_all(by_offset(&server)).await;
        assert!(brought.stopped().is_complete());
        assert_eq!(missing(&table, &brought), Vec::<String>::new());
    }
}

#[tokio::test]
async fn what_was_added_before_the_place_does_not_let_the_bound_pass_it() {
    // Row 100 comes in before the place where the read stands, after 98 was read; 102 behind it.
    let table = Table::of([2, 4, 6, 90, 92, 94, 96, 98]);
    let server = Server::start({
        let table = Arc::clone(&table);
        move |got| {
            let mut table = table.lock().expect("not poisoned");
            if got.number == 1 {
                table.insert(1);
                table.insert(200);
            }
            table.page(got.parameter("offset").and_then(|n| n.parse().ok()).expect("an offset"), 4)
        }
    })
    .await;
    let since = Since::field("id").query("since");
    let brought = read_all(by_offset(&server).since(since)).await;
    assert!(brought.stopped().is_complete());
    let position = serde_json::to_value(brought.last_position()).expect("JSON");
    assert_eq!(position["since"], serde_json::json!({"number": "90"}), "{position}");
}

#[tokio::test]
async fn a_read_that_goes_on_finds_its_place_again() {
    let table = Table::of((1..=20).map(|n| n * 2));
    let server = serve(&table, |_, _| ()).await;
    let begun = read_all(by_offset(&server).max_pages(2)).await;
    {
        let mut table = table.lock().expect("not poisoned");
        [2, 4, 12].iter().for_each(|id| table.remove(*id));
        table.insert(7);
    }
    let source = by_offset(&server).build().expect("a source");
    let rest = read(&source, Some(begun.last_position())).await;
    assert!(rest.stopped().is_complete());
    assert_eq!(rest.records(), rows((8..=20).map(|n| n * 2)));
}

#[tokio::test]
async fn records_are_told_by_their_key_if_there_is_one() {
    let views = |got: &Got| {
        let offset: u64 = got.parameter("offset").and_then(|n| n.parse().ok()).expect("an offset");
        let row = |id| format!("{{\"id\":{id},\"views\":{}}}", got.number);
        let rows: Vec<_> = (offset..(offset + 4).min(10)).map(row).collect();
        Reply::json(format!("{{\"data\":[{}],\"total\":10}}", rows.join(",")))
    };
    let server = Server::start(views).await;
    let brought = read_all(by_offset(&server).key(["id"])).await;
    assert!(brought.stopped().is_complete());
    assert_eq!((brought.records().len(), server.seen().len()), (10, 3));
    // By their bytes all of them are new at each request.
    let server = Server::start(views).await;
    assert_eq!(read_all(by_offset(&server)).await.error().kind(), ErrorKind::Incomplete);
}

#[tokio::test]
async fn a_server_that_clamps_offsets_is_no_success_and_one_that_rounds_them_misses_nothing() {
    for clamps in [false, true] {
        let server = Server::start(move |got| {
            let offset: u64 = got.parameter("offset").and_then(|n| n.parse().ok()).expect("an offset");
            let from = if clamps { offset.min(8) } else { offset / 4 * 4 };
            let rows: Vec<_> = (from..(from + 4).min(12)).map(|id| format!("{{\"id\":{id}}}")).collect();
            Reply::json(format!("{{\"data\":[{}]}}", rows.join(",")))
        })
        .await;
        let by = Offset::query("offset").limit("limit", 4).until_empty();
        let brought = read_all(by_offset(&server).paginate(by.clone())).await;
        if clamps {
            assert_eq!(brought.error().kind(), ErrorKind::Incomplete);
        } else {
            assert_eq!((brought.stopped().is_complete(), brought.records()), (true, rows(0..12)));
            let aligned = read_all(by_offset(&server).paginate(by.overlap(0))).await;
            assert_eq!(aligned.records(), rows(0..12));
        }
    }
}

#[tokio::test]
async fn a_page_behind_the_last_that_is_the_last_again_is_no_success() {
    // As json-server 1.x answers.
    let server = Server::start(|got| {
        let page: u64 = got.parameter("page").and_then(|n| n.parse().ok()).expect("a page");
        let from = (page.min(3) - 1) * 4;
        let rows: Vec<_> = (from..(from + 4).min(10)).map(|id| format!("{{\"id\":{id}}}")).collect();
        Reply::json(format!("{{\"data\":[{}],\"pages\":3,\"asked\":{page}}}", rows.join(",")))
    })
    .await;
    let clamped = read_all(by_page(&server)).await;
    assert_eq!((clamped.error().kind(), clamped.records()), (ErrorKind::Incomplete, rows(0..10)));
    let counted = by_page(&server).paginate(PageNumber::query("page").size("limit", 4).total_pages("$.pages"));
    assert_eq!(read_all(counted).await.records(), rows(0..10));
}

#[tokio::test]
async fn pages_are_read_again_until_two_passes_agree() {
    // A row goes after the first page: the fifth one moves to a page that was read, and the total shows it.
    let table = Table::of((1..=10).map(|n| n * 2));
    let server = serve(&table, |table, n| if n == 1 { table.remove(2) } else { Default::default() }).await;
    let brought = read_all(with_total(&server)).await;
    assert_eq!(brought.stopped(), &StopReason::Exhausted(Proof::TotalMatched(9)));
    assert_eq!(missing(&table, &brought), Vec::<String>::new());
    // Three pages each: the first pass, one that is whole, and one that agrees with it. Only the first page changed after it was read.
    assert_eq!((server.seen().len(), brought.pages().len()), (9, 4));

    // A row that is added shows as one that comes again.
    let table = Table::of((1..=10).map(|n| n * 2));
    let server = serve(&table, |table, n| if n == 1 { table.insert(1) } else { Default::default() }).await;
    let brought = read_all(by_page(&server)).await;
    assert_eq!(missing(&table, &brought), Vec::<String>::new());
    assert!(brought.records().contains(&"{\"id\":1}".to_owned()));
    assert!(brought.stopped().is_complete());

    // What is added at the end moves nothing.
    let table = Table::of((1..=10).map(|n| n * 2));
    let server = serve(&table, |table, n| if n == 1 { table.insert(30) } else { Default::default() }).await;
    let brought = read_all(with_total(&server)).await;
    assert_eq!((brought.records().len(), server.seen().len()), (11, 3));
}

#[tokio::test]
async fn confirm_finds_what_nothing_else_shows() {
    // One goes before, one comes behind: the total stays, no record comes twice, row 10 is passed over.
    let history = |table: &mut Table, n: usize| {
        if n == 1 {
            table.remove(2);
            table.insert(31);
        }
    };
    let table = Table::of((1..=12).map(|n| n * 2));
    let server = serve(&table, history).await;
    let unconfirmed = read_all(with_total(&server)).await;
    assert_eq!(missing(&table, &unconfirmed), rows([10]));
    let table = Table::of((1..=12).map(|n| n * 2));
    let server = serve(&table, history).await;
    let confirmed = read_all(with_total(&server).confirm()).await;
    assert!(confirmed.stopped().is_complete());
    assert_eq!(missing(&table, &confirmed), Vec::<String>::new());
    // A listing that holds still is read twice and brings everything once.
    let server = serve(&table, |_, _| ()).await;
    let twice = read_all(by_page(&server).confirm()).await;
    assert_eq!((twice.records().len(), server.seen().len()), (12, 8));
}

#[tokio::test]
async fn a_listing_that_never_holds_still_is_incomplete_unless_that_is_accepted() {
    let history = |table: &mut Table, n: usize| table.insert(1_000 - 2 * n as u64 - 1);
    let table = Table::of((500..=510).map(|n| n * 2));
    let server = serve(&table, history).await;
    let brought = read_all(by_page(&server)).await;
    assert_eq!(brought.error().kind(), ErrorKind::Incomplete);
    assert!(brought.error().to_string().contains("passes=`6`"), "{}", brought.error());
    assert_eq!(brought.last_position(), RestPosition::default());
    let table = Table::of((500..=510).map(|n| n * 2));
    let server = serve(&table, history).await;
    assert!(read_all(by_page(&server).accept_drift()).await.stopped().is_complete());
}

#[tokio::test]
async fn a_pass_goes_on_in_the_next_run() {
    let table = Table::of((1..=10).map(|n| n * 2));
    let server = serve(&table, |table, n| if n == 1 { table.remove(2) } else { Default::default() }).await;
    let source = with_total(&server).max_pages(2).build().expect("a source");
    let (mut position, mut came) = (None, BTreeSet::new());
    for _ in 0..10 {
        let brought = read(&source, position.take()).await;
        came.extend(brought.records());
        if brought.stopped().is_complete() {
            break;
        }
        position = Some(brought.last_position());
    }
    assert_eq!(position, None, "it has ended");
    assert_eq!(server.seen().len(), 9);
    assert!(rows(table.lock().expect("not poisoned").lasting.clone()).iter().all(|row| came.contains(row)));
}

#[tokio::test]
async fn cursors_whose_total_moved_are_read_again_too() {
    let server = Server::start(|got| {
        let (total, rows) = match (got.number, got.parameter("cursor")) {
            (0, _) => (4, [1, 2]),
            (_, None) => (4, [1, 2]),
            (1, _) => (5, [3, 4]),
            _ => (4, [3, 4]),
        };
        let next = if got.parameter("cursor").is_none() { "\"a\"" } else { "null" };
        Reply::json(format!("{{\"data\":{rows:?},\"next\":{next},\"total\":{total}}}"))
    })
    .await;
    let brought = read_all(by_cursor(&server).total("$.total")).await;
    assert_eq!(brought.stopped(), &StopReason::Exhausted(Proof::TotalMatched(4)));
    assert_eq!(server.seen().len(), 4);
}

/// Small and seeded.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

#[tokio::test]
async fn rows_that_were_there_all_the_time_are_never_missing() {
    let mut outcomes: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    for seed in 0..60_u64 {
        for style in ["offset", "confirmed pages"] {
            let table = Table::of((1..=40).map(|n| n * 1_000));
            let random = Mutex::new(Random(seed));
            let server = serve(&table, move |table, _| {
                let mut random = random.lock().expect("not poisoned");
                for _ in 0..random.below(4) {
                    let victim = random.below(table.rows.len() as u64 + 1);
                    match (random.below(2), table.rows.iter().nth(usize::try_from(victim).expect("small")).copied()) {
                        (0, Some(id)) if random.below(8) < seed % 8 + 1 => table.remove(id),
                        (1, _) if random.below(8) < seed % 8 + 1 => table.insert(random.below(41_000)),
                        _ => {}
                    }
                }
            })
            .await;
            let source = match style {
                "offset" => by_offset(&server),
                _ => by_page(&server).confirm(),
            };
            let brought = read_all(source).await;
            let outcome = match &brought.end {
                Ok(reason) => {
                    assert!(reason.is_complete());
                    assert_eq!(missing(&table, &brought), Vec::<String>::new(), "{style} {seed}");
                    "complete"
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Incomplete, "{style} {seed}: {error}");
                    "incomplete"
                }
            };
            *outcomes.entry((style, outcome)).or_default() += 1;
        }
    }
    let of = |style, outcome| outcomes.get(&(style, outcome)).copied().unwrap_or_default();
    assert!(of("offset", "complete") >= 55, "{outcomes:?}");
    assert!(of("confirmed pages", "incomplete") >= 10, "{outcomes:?}");
}
