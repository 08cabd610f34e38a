use super::*;
use crate::model::Timestamp;

fn numbers(from: i64, to: i64) -> Interval {
    Interval { from: Bound::Number(from), to: Bound::Number(to) }
}

fn times(from: &str, to: &str) -> Interval {
    let at = |text| Bound::Time(Timestamp::parse(text).expect("a time"));
    Interval { from: at(from), to: at(to) }
}

/// All windows, each read to its end before the next one.
fn all(window: &Window, ledger: &mut Ledger) -> Vec<Interval> {
    let slicer = window.check().expect("windows");
    let mut windows = Vec::new();
    while let Some(next) = slicer.next(&ledger.gaps, &[]) {
        windows.push(next);
        ledger.complete(next);
    }
    windows
}

fn completed(span: Interval, done: &[Interval]) -> Ledger {
    let mut ledger = Ledger::new(span);
    for interval in done {
        ledger.complete(*interval);
    }
    ledger
}

#[test]
fn gaps_between_completed_intervals_are_read_and_the_lookback_is_on_the_latest_only() {
    let whole = Window::numbers(1_000);
    let mut ledger = completed(numbers(0, 40), &[numbers(0, 10), numbers(20, 25), numbers(30, 40)]);
    assert_eq!(ledger.watermark(), Bound::Number(10));
    ledger.extend(numbers(0, 50), 0);
    assert_eq!(all(&whole, &mut ledger), [numbers(10, 20), numbers(25, 30), numbers(40, 50)]);
    assert_eq!(ledger, Ledger::complete_over(numbers(0, 50)));

    let mut ledger = completed(numbers(0, 40), &[numbers(0, 20), numbers(30, 40)]);
    ledger.extend(numbers(0, 50), 10);
    assert_eq!(all(&whole, &mut ledger), [numbers(20, 30), numbers(30, 50)]);
}

#[test]
fn the_monthly_clamp_follows_the_lengths_of_months() {
    let span = times("2024-01-15T00:00:00Z", "2024-04-02T12:00:00Z");
    let months = all(&Window::months(), &mut Ledger::new(span));
    let expected = [
        times("2024-01-15T00:00:00Z", "2024-02-01T00:00:00Z"),
        times("2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z"),
        times("2024-03-01T00:00:00Z", "2024-04-01T00:00:00Z"),
        times("2024-04-01T00:00:00Z", "2024-04-02T12:00:00Z"),
    ];
    assert_eq!(months, expected);
    let mut backwards = all(&Window::months().order(WindowOrder::NewestFirst), &mut Ledger::new(span));
    backwards.reverse();
    assert_eq!(backwards, expected);
    let weeks = all(&Window::weeks(), &mut Ledger::new(times("2024-05-01T00:00:00Z", "2024-05-13T00:00:00Z")));
    assert_eq!(
        weeks.iter().map(|w| w.to.to_string()).collect::<Vec<_>>(),
        ["2024-05-06T00:00:00Z", "2024-05-13T00:00:00Z"]
    );
}

#[test]
fn days_follow_the_clock_of_their_zone() {
    let span = times("2024-03-29T23:00:00Z", "2024-03-31T22:00:00Z");
    let days = all(&Window::days().zone("Europe/Berlin"), &mut Ledger::new(span));
    // The second day has 23 hours.
    assert_eq!(
        days,
        [times("2024-03-29T23:00:00Z", "2024-03-30T23:00:00Z"), times("2024-03-30T23:00:00Z", "2024-03-31T22:00:00Z")]
    );
    assert!(Window::days().zone("Europe/Atlantis").check().is_err());
}

#[test]
fn windows_of_a_length_meet_without_overlap_from_either_side() {
    assert_eq!(
        all(&Window::numbers(10), &mut Ledger::new(numbers(0, 25))),
        [numbers(0, 10), numbers(10, 20), numbers(20, 25)]
    );
    let backwards = Window::numbers(10).order(WindowOrder::NewestFirst);
    assert_eq!(all(&backwards, &mut Ledger::new(numbers(0, 25))), [numbers(15, 25), numbers(5, 15), numbers(0, 5)]);
    assert!(Window::numbers(0).check().is_err() && Window::of(Duration::ZERO).check().is_err());
}

#[test]
fn a_window_that_is_taken_is_not_given_again() {
    let slicer = Window::numbers(10).check().expect("windows");
    let ledger = Ledger::new(numbers(0, 30));
    let first = slicer.next(&ledger.gaps, &[]).expect("one");
    let second = slicer.next(&ledger.gaps, &[first]).expect("another");
    let third = slicer.next(&ledger.gaps, &[second, first]).expect("another");
    assert_eq!([first, second, third], [numbers(0, 10), numbers(10, 20), numbers(20, 30)]);
    assert_eq!(slicer.next(&ledger.gaps, &[third, first, second]), None);
}

#[test]
fn what_was_cut_short_stays_a_gap_and_an_earlier_beginning_is_read_too() {
    let mut ledger = completed(numbers(10, 50), &[numbers(10, 20), numbers(30, 50)]);
    ledger.extend(numbers(0, 60), 5);
    assert_eq!(ledger.gaps, [numbers(0, 10), numbers(20, 30), numbers(45, 60)]);
    // The overlap of what was never read is nothing more to read.
    let mut ledger = completed(numbers(0, 50), &[numbers(0, 40)]);
    ledger.extend(numbers(0, 60), 5);
    assert_eq!(ledger.gaps, [numbers(40, 60)]);
    let mut ledger = Ledger::complete_over(numbers(0, 50));
    ledger.extend(numbers(0, 50), 5);
    assert_eq!(ledger.gaps, [], "it has not grown");
    ledger.extend(numbers(20, 40), 5);
    assert_eq!(ledger, Ledger::complete_over(numbers(0, 50)));
}
