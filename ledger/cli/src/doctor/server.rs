//! Judges what was found of the server.

use super::facts::{Facts, Trouble};
use super::{Finding, Findings, Group};
use crate::terminal::seconds;
use api_client::http::Probe;
use ledger_core::Timestamp;

const SECOND: i64 = 1_000_000;
const DAY: i64 = 24 * 3600 * SECOND;

/// A clock that is off by more makes times in the log hard to read.
const CLOCK_WARN: i64 = 5 * SECOND;
/// One that is off by more makes certificates and tokens end at other times.
const CLOCK_FAIL: i64 = 300 * SECOND;
/// Certificates are renewed a month before their end; then it went wrong for long.
const CERTIFICATE_WARN: i64 = 14 * DAY;

pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let mut found = Findings::of(Group::Server);
    let chosen = match &facts.chosen {
        Err(trouble) => {
            fail(
                &mut found,
                "configuration",
                trouble,
                "`ledger login URL` keeps a server and a token",
            );
            return found.into_vec();
        }
        Ok(None) => {
            found.warn(
                "configuration",
                "no server is configured, so none is asked",
                "`ledger login URL`, or set LEDGER_URL and LEDGER_TOKEN",
            );
            return found.into_vec();
        }
        Ok(Some(chosen)) => chosen,
    };
    let token = match &chosen.token_from {
        Some(from) => format!("the token from {from}"),
        None => "no token".to_owned(),
    };
    found.ok("configuration", format!("{} from {}, {token}", chosen.url, chosen.url_from));
    match &facts.probe {
        None => {}
        Some(Err(trouble)) => {
            let check = if trouble.is_certificate { "encryption" } else { "reachable" };
            fail(
                &mut found,
                check,
                trouble,
                "check the address, and that `ledger serve` runs there",
            );
        }
        Some(Ok(probe)) => {
            answers(&mut found, facts, probe);
            encryption(&mut found, probe, chosen.is_this_machine, facts.now);
        }
    }
    if let Some(ahead) = facts.ahead {
        clock(&mut found, "clock", ahead, "the server's");
    }
    found.into_vec()
}

pub(super) fn fail(found: &mut Findings, check: &'static str, trouble: &Trouble, otherwise: &str) {
    let fix = trouble.fix.clone().unwrap_or_else(|| otherwise.to_owned());
    found.fail(check, trouble.text.clone(), fix);
}

fn answers(found: &mut Findings, facts: &Facts, probe: &Probe) {
    match &probe.not_ready {
        None => found.ok("reachable", "it answers and is ready"),
        Some(why) => found.fail(
            "reachable",
            format!("it answers, and is not ready: {why}"),
            "the server's own log says more; if its clock jumped, an operator restarts it with `ledger serve --confirm-clock`",
        ),
    }
    let Some(Ok(told)) = &facts.told else { return };
    let (theirs, ours) = (told.version.as_str(), facts.version);
    if theirs == ours {
        found.ok("version", format!("the server's is {theirs}, as this program's"));
    } else if release(theirs) == release(ours) {
        found.ok("version", format!("the server's is {theirs}, this program's {ours}"));
    } else {
        found.warn(
            "version",
            format!("the server's is {theirs}, this program's {ours}"),
            "use the same version on both sides; the server goes first",
        );
    }
}

/// Returns the part of a version within which nothing breaks.
fn release(version: &str) -> Vec<&str> {
    version.split('.').take(2).collect()
}

fn encryption(found: &mut Findings, probe: &Probe, is_this_machine: bool, now: Timestamp) {
    let Some(ends) = probe.certificate_ends else {
        if is_this_machine {
            found.ok("encryption", "none is needed to this machine itself");
        } else {
            found.ok("encryption", "its certificate is accepted");
        }
        return;
    };
    let left = ends.micros().saturating_sub(now.micros());
    let text =
        format!("its certificate is accepted, and ends {} ({})", seconds(ends), in_days(left));
    if left < CERTIFICATE_WARN {
        let fix = "renew it; the server reads --tls-cert and --tls-key again when they change";
        found.warn("encryption", text, fix);
    } else {
        found.ok("encryption", text);
    }
}

/// Returns a time to come in whole days.
pub(super) fn in_days(left: i64) -> String {
    match left.max(0) / DAY {
        0 => "in less than a day".to_owned(),
        1 => "in 1 day".to_owned(),
        days => format!("in {days} days"),
    }
}

/// Judges by how many microseconds another clock is ahead of this machine's.
pub(super) fn clock(found: &mut Findings, check: &'static str, ahead: i64, whose: &str) {
    let off = ahead.saturating_abs();
    let by = format!("{}.{} s", off / SECOND, off % SECOND / (SECOND / 10));
    let direction = if ahead > 0 { "behind" } else { "ahead of" };
    let text = format!("this machine's is {by} {direction} {whose}");
    let fix = "let a time service set both clocks: `timedatectl set-ntp true`";
    if off > CLOCK_FAIL {
        found.fail(check, text, fix);
    } else if off > CLOCK_WARN {
        found.warn(check, text, fix);
    } else {
        found.ok(check, format!("within {by} of {whose}"));
    }
}
