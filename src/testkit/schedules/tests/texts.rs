//! What a schedule is called, and how it is written in a test.

use super::*;

/// A mode, and how it is written.
macro_rules! modes {
    ($($mode:expr),* $(,)?) => { [$(($mode, stringify!($mode))),*] };
}

/// A schedule, and how it is written.
macro_rules! schedule {
    ($schedule:expr) => {
        ($schedule, stringify!($schedule))
    };
}

#[test]
fn every_mode_of_an_object_store_is_written_as_code() {
    let modes = modes![
        Mode::Before,
        Mode::AfterLostResponse,
        Mode::Torn,
        Mode::Pause,
        Mode::LostResponse,
        Mode::Fail,
        Mode::Exists,
        Mode::Conflict,
        Mode::Late(2),
        Mode::Late(4294967295),
        Mode::Refuse(ErrorKind::Auth),
        Mode::Refuse(ErrorKind::Config),
        Mode::Refuse(ErrorKind::Ambiguous),
    ];
    assert_eq!(modes.map(|(mode, _)| mode), Mode::OBJECT_STORE, "all of them");
    let others = modes![Mode::Slow(3), Mode::Late(0), Mode::Refuse(ErrorKind::Unavailable)];
    for (mode, written) in modes.into_iter().chain(others) {
        let code = Schedule::single(Plan { at: 7, mode }).as_code();
        assert_eq!(code, format!("Schedule::single(Plan {{ at: 7, mode: {written} }})"));
    }
}

#[test]
fn a_schedule_is_written_as_code() {
    let schedules = [
        schedule!(Schedule::single(Plan { at: 0, mode: Mode::Pause })),
        schedule!(Schedule::pair(Plan { at: 41, mode: Mode::Pause }, Plan { at: 7, mode: Mode::Late(2) })),
        schedule!(Schedule::both(
            Plan { at: 3, mode: Mode::Refuse(ErrorKind::Auth) },
            Plan { at: 4, mode: Mode::Fail }
        )),
    ];
    for (schedule, written) in schedules {
        let written: Vec<_> = written.split_whitespace().collect();
        assert_eq!(schedule.as_code(), written.join(" "));
    }
}

#[test]
fn a_schedule_says_which_process_has_its_second_fault() {
    let (lost, fails) = (Plan { at: 3, mode: Mode::LostResponse }, Plan { at: 4, mode: Mode::Fail });
    assert_eq!(Schedule::single(lost).to_string(), "LostResponse at 3");
    assert_eq!(Schedule::pair(lost, fails).to_string(), "LostResponse at 3, then Fail at 4");
    assert_eq!(Schedule::both(lost, fails).to_string(), "LostResponse at 3, then in the same process Fail at 4");
}
