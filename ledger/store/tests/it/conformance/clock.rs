use crate::support::*;
use ledger_core::{Command, Timestamp};
use ledger_store::{Log, OutputError, Readiness, WriteError};

fn confirm() -> ledger_store::Write {
    command(Command::ConfirmClock { node: node() })
}

/// Checks that nothing can be appended, and that the reason says what to do.
async fn check_stopped(log: &Log) {
    let Readiness::NotReady(why) = log.readiness() else { panic!("the log is ready") };
    assert!(why.contains("ledger serve --confirm-clock"), "{why}");
    let head = *log.head().borrow();
    let result = log.write(one_event()).await;
    assert!(matches!(result, Err(WriteError::Unavailable { why: w }) if w == why));
    let result = log.write_output(output(1, 0, b"x")).await;
    assert!(matches!(result, Err(OutputError::Unavailable { .. })));
    assert_eq!(*log.head().borrow(), head);
}

pub(super) async fn recorded_at_never_falls(place: &Place) {
    let clock = ManualClock::new();
    let log = place.open_at(clock.clone()).await;
    for step in [0, 5 * SECOND, -30 * SECOND, 10 * SECOND, 40 * SECOND] {
        clock.jump(step);
        write(&log, one_event()).await;
    }
    let times =
        read_all(&log).await.iter().map(|r| r.recorded_at.micros() - NOON).collect::<Vec<_>>();
    assert_eq!(times, [0, 5 * SECOND, 5 * SECOND, 5 * SECOND, 25 * SECOND]);
}

pub(super) async fn a_clock_that_lies_behind_stops_appends(place: &Place) {
    let log = place.open().await;
    write(&log, one_event()).await;
    log.close().await;
    // Up to a minute is what time synchronisation corrects.
    let log = place.open_at(ManualClock::at(NOON - 60 * SECOND)).await;
    assert_eq!(log.readiness(), Readiness::Ready);
    write(&log, one_event()).await;
    log.close().await;

    let clock = ManualClock::at(NOON - 61 * SECOND);
    let log = place.open_at(clock.clone()).await;
    check_stopped(&log).await;
    // It does not go on by itself.
    clock.pass(2 * 60 * SECOND);
    check_stopped(&log).await;
    write_confirmation(&log).await;
    assert_eq!(log.readiness(), Readiness::Ready);
    write(&log, one_event()).await;
}

async fn write_confirmation(log: &Log) {
    let written = log.confirm_clock(confirm()).await.unwrap();
    let (position, _) = written.positions.unwrap();
    let record = log.read(position, 1).await.unwrap().remove(0);
    assert_eq!(record.type_name, "ClockConfirmed");
}

pub(super) async fn a_clock_that_jumps_stops_appends(place: &Place) {
    for jump in [HOUR + SECOND, -HOUR - SECOND] {
        let clock = ManualClock::new();
        // Far ahead of what the first round wrote.
        clock.jump(if jump > 0 { 0 } else { 10 * HOUR });
        let log = place.open_at(clock.clone()).await;
        clock.jump(jump / 2);
        if jump > 0 {
            write(&log, one_event()).await;
        }
        clock.jump(jump - jump / 2);
        // Nothing was written since, and it shows at the next write.
        let result = log.write(one_event()).await;
        assert!(matches!(result, Err(WriteError::Unavailable { .. })), "{jump}");
        check_stopped(&log).await;
        write_confirmation(&log).await;
        write(&log, one_event()).await;
        log.close().await;
    }
}

pub(super) async fn a_clock_that_was_set_far_back_and_confirmed_stays_confirmed(place: &Place) {
    // A clock two days ahead has written.
    let ahead = ManualClock::at(NOON + 48 * HOUR);
    let log = place.open_at(ahead).await;
    write(&log, one_event()).await;
    log.close().await;

    let clock = ManualClock::new();
    let log = place.open_at(clock.clone()).await;
    check_stopped(&log).await;
    write_confirmation(&log).await;
    clock.pass(HOUR);
    write(&log, one_event()).await;
    log.close().await;
    // The confirmation is in the log, so that a restart does not ask again.
    let log = place.open_at(clock.clone()).await;
    assert_eq!(log.readiness(), Readiness::Ready);
    write(&log, one_event()).await;
    let newest = read_all(&log).await.pop().unwrap();
    assert_eq!(newest.recorded_at, Timestamp::from_micros(NOON + 48 * HOUR));
    log.close().await;
    // But a clock behind the confirmed one is asked about again.
    let log = place.open_at(ManualClock::at(NOON - 2 * HOUR)).await;
    check_stopped(&log).await;
}

pub(super) async fn time_that_passes_is_no_jump(place: &Place) {
    let clock = ManualClock::new();
    let log = place.open_at(clock.clone()).await;
    for _ in 0..3 {
        clock.pass(100 * HOUR);
        write(&log, one_event()).await;
    }
    log.close().await;
    // Between two runs any time may pass.
    let log = place.open_at(ManualClock::at(NOON + 100_000 * HOUR)).await;
    assert_eq!(log.readiness(), Readiness::Ready);
    write(&log, one_event()).await;
}
