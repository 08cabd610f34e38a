//! What [`SharedRates`] promises. The macro `rates_conformance!` makes a test
//! of each check. Time passes on the clock of [`test_env`](crate::testkit::test_env).

use super::told::given;
use super::walk::{dropped_at, until_the_end_of};
use crate::env::Env;
use crate::retry::rate::{Grant, Rate, SharedRates};
use futures::future::join_all;
use std::time::Duration;

/// Makes a `#[tokio::test]` of every check of a shared accounting. The expression is a function that takes an
/// [`Env`] and gives two instances over one empty accounting. The crate needs `tokio` with `macros` and `rt`, and a second call a module of its own.
///
/// ```
/// # use landfall::env::Env;
/// # use landfall::retry::rate::StoreRates;
/// # use landfall::store::{MemoryStore, Store};
/// landfall::rates_conformance!(|env: &Env| {
///     let store = Store::new(MemoryStore::new(env));
///     let instance = || StoreRates::in_store(&store, "rates").expect("a name");
///     (instance(), instance())
/// });
/// ```
#[macro_export]
macro_rules! rates_conformance {
    ($open:expr) => {
        $crate::rates_conformance! { $open;
            g1_instances_stay_within_the_rates_together
            g1_instances_that_ask_at_the_same_time_stay_within_the_rates
            g1_the_strictest_rate_decides
            g1_names_are_accounted_for_apart
            g2_an_answer_that_nobody_hears_costs_room_at_most
            g3_a_wait_is_as_long_as_it_takes
        }
    };
    ($open:expr; $($check:ident)+) => {
        $(
            #[tokio::test]
            async fn $check() {
                let env = $crate::testkit::test_env(1);
                let (one, other) = ($open)(&env);
                let _told = $crate::testkit::conformance::told("SharedRates", stringify!($check));
                $crate::testkit::conformance::rates::$check(&env, &one, &other).await;
            }
        )+
    };
}

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

async fn take(env: &Env, rates: &dyn SharedRates, name: &str, of: &[Rate], weight: u32) -> Grant {
    rates.take(env, name, of, weight).await.expect("it can be reached")
}

/// Looks whether nothing is taken of `name`: a mistake there looks like a broken guarantee. All that there is of the strictest rate is taken,
/// and given back by time.
async fn is_empty(env: &Env, rates: &dyn SharedRates, name: &str, of: &[Rate]) {
    let all = of.iter().map(Rate::limit).min().unwrap_or_default();
    let grant = take(env, rates, name, of, all).await;
    given(
        grant == Grant::Taken,
        format_args!("of `{name}` something is taken already: give each test an empty accounting of its own"),
    );
    env.sleep(2 * of.iter().map(Rate::per).max().unwrap_or_default()).await;
}

/// Guarantee 1.
pub async fn g1_instances_stay_within_the_rates_together(env: &Env, one: &dyn SharedRates, other: &dyn SharedRates) {
    let hour = [Rate::new(5, HOUR)];
    is_empty(env, one, "a", &hour).await;
    assert_eq!(take(env, one, "a", &hour, 2).await, Grant::Taken);
    assert_eq!(take(env, other, "a", &hour, 2).await, Grant::Taken);
    assert!(matches!(take(env, one, "a", &hour, 2).await, Grant::Wait(_)), "4 of 5 are taken");
    assert_eq!(take(env, one, "a", &hour, 1).await, Grant::Taken);
    assert!(matches!(take(env, other, "a", &hour, 1).await, Grant::Wait(_)));
}

/// Guarantees 1 and 3.
pub async fn g1_instances_that_ask_at_the_same_time_stay_within_the_rates(
    env: &Env,
    one: &dyn SharedRates,
    other: &dyn SharedRates,
) {
    let hour = [Rate::new(7, HOUR)];
    is_empty(env, one, "a", &hour).await;
    let asking = (0..20).map(|n| take(env, if n % 2 == 0 { one } else { other }, "a", &hour, 1));
    let taken = join_all(asking).await.into_iter().filter(|grant| *grant == Grant::Taken).count();
    assert_eq!(taken, 7, "of 20 who ask for 7");
}

/// Guarantee 1.
pub async fn g1_the_strictest_rate_decides(env: &Env, one: &dyn SharedRates, other: &dyn SharedRates) {
    let rates = [Rate::new(10, 10 * MINUTE), Rate::new(3, MINUTE), Rate::new(4, HOUR)];
    is_empty(env, one, "a", &rates).await;
    for _ in 0..3 {
        assert_eq!(take(env, one, "a", &rates, 1).await, Grant::Taken);
    }
    assert!(matches!(take(env, other, "a", &rates, 1).await, Grant::Wait(wait) if wait <= MINUTE));
    env.sleep(MINUTE).await;
    assert_eq!(take(env, other, "a", &rates, 1).await, Grant::Taken);
    assert!(matches!(take(env, one, "a", &rates, 1).await, Grant::Wait(wait) if wait > 50 * MINUTE));
}

/// Guarantee 2, and cancellation: a call that is dropped at an await of it may have taken its room, and never gives any.
pub async fn g2_an_answer_that_nobody_hears_costs_room_at_most(
    env: &Env,
    one: &dyn SharedRates,
    other: &dyn SharedRates,
) {
    let hour = [Rate::new(3, HOUR)];
    for wait in until_the_end_of("`take`", 1) {
        let name = format!("dropped at {wait}");
        is_empty(env, one, &name, &hour).await;
        let heard = dropped_at(wait, one.take(env, &name, &hour, 1)).await;
        let mut taken = 0;
        while taken < 4 && take(env, if taken % 2 == 0 { other } else { one }, &name, &hour, 1).await == Grant::Taken {
            taken += 1;
        }
        let left = if heard.is_some() { 2..=2 } else { 2..=3 };
        assert!(left.contains(&taken), "{name}: room for {taken} is left of 3");
        if heard.is_some() {
            break;
        }
    }
}

/// Guarantee 3: the wait ends, and is not too short.
pub async fn g3_a_wait_is_as_long_as_it_takes(env: &Env, one: &dyn SharedRates, other: &dyn SharedRates) {
    let minute = [Rate::new(1, MINUTE)];
    is_empty(env, one, "a", &minute).await;
    assert_eq!(take(env, one, "a", &minute, 1).await, Grant::Taken);
    let Grant::Wait(wait) = take(env, other, "a", &minute, 1).await else { panic!("it is taken") };
    assert!(wait <= MINUTE + MINUTE / 20, "{wait:?}");
    env.sleep(wait / 2).await;
    assert!(matches!(take(env, other, "a", &minute, 1).await, Grant::Wait(_)));
    env.sleep(wait).await;
    assert_eq!(take(env, other, "a", &minute, 1).await, Grant::Taken);
}

/// Guarantee 1: for one name.
pub async fn g1_names_are_accounted_for_apart(env: &Env, one: &dyn SharedRates, other: &dyn SharedRates) {
    let hour = [Rate::new(1, HOUR)];
    let names = ["a", "a/0", "a b", "ä", ""];
    for name in names {
        is_empty(env, one, name, &hour).await;
    }
    for name in names {
        assert_eq!(take(env, one, name, &hour, 1).await, Grant::Taken, "{name}");
        assert!(matches!(take(env, other, name, &hour, 1).await, Grant::Wait(_)), "{name}");
    }
}
