//! When everybody is looked at: cron expressions of five fields, in UTC. Pure.

use std::str::FromStr;
use std::time::Duration;

use cronexpr::{Crontab, FallbackTimezoneOption, ParseOptions};
use jiff::Timestamp;

/// The pause without a schedule: a node that was lost must not hold addresses until half past four in the morning.
const MINUTE: Duration = Duration::from_secs(60);

/// Every minute, or by an expression.
#[derive(Clone, Debug, Default)]
pub(super) struct Schedule(Option<Crontab>);

impl FromStr for Schedule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expression = match text.trim() {
            "@hourly" => "0 * * * *",
            "@daily" | "@midnight" => "0 0 * * *",
            "@weekly" => "0 0 * * 0",
            "@monthly" => "0 0 1 * *",
            "@yearly" | "@annually" => "0 0 1 1 *",
            other => other,
        };
        let mut options = ParseOptions::default();
        options.fallback_timezone_option = FallbackTimezoneOption::UTC;
        let wrong = |why| format!("{text:?} is no cron expression: {why}");
        let crontab = cronexpr::parse_crontab_with(expression, options).map_err(wrong)?;
        // A day that never comes is found out by looking for it.
        crontab.find_next(Timestamp::UNIX_EPOCH).map_err(wrong)?;
        Ok(Self(Some(crontab)))
    }
}

impl Schedule {
    /// How long it is from now to the next look at everybody.
    pub(super) fn pause(&self, now: Timestamp) -> Duration {
        let next = self.after(now).map(|next| now.duration_until(next));
        next.and_then(|pause| Duration::try_from(pause).ok()).unwrap_or(MINUTE)
    }

    /// The first minute after `now`.
    fn after(&self, now: Timestamp) -> Option<Timestamp> {
        self.0.as_ref()?.find_next(now).ok().map(|next| next.timestamp())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(expression: &str, now: &str) -> String {
        let schedule: Schedule = expression.parse().unwrap();
        schedule.after(now.parse().unwrap()).unwrap().to_string()
    }

    #[test]
    fn expressions_are_those_of_cron() {
        for (expression, now, expected) in [
            ("30 4 * * *", "2026-03-01T04:29:59Z", "2026-03-01T04:30:00Z"),
            ("30 4 * * *", "2026-03-01T04:30:00Z", "2026-03-02T04:30:00Z"),
            ("*/15 * * * *", "2026-03-01T23:46:00Z", "2026-03-02T00:00:00Z"),
            ("5-10/2,50 8-9 * * *", "2026-03-01T08:07:10Z", "2026-03-01T08:09:00Z"),
            ("0 0 29 2 *", "2026-03-01T00:00:00Z", "2028-02-29T00:00:00Z"),
            ("0 12 * * mon-fri", "2026-03-06T12:00:00Z", "2026-03-09T12:00:00Z"),
            ("0 0 * * 7", "2026-03-01T00:00:00Z", "2026-03-08T00:00:00Z"),
            ("0 0 13 * 5", "2026-03-01T00:00:00Z", "2026-03-06T00:00:00Z"),
            ("@hourly", "2026-12-31T23:59:00Z", "2027-01-01T00:00:00Z"),
        ] {
            assert_eq!(next(expression, now), expected, "{expression}");
        }
    }

    #[test]
    fn what_is_no_expression_is_named() {
        for wrong in
            ["", "* * * *", "60 * * * *", "*/0 * * * *", "5-1 * * * *", "x * * * *", "0 0 31 2 *", "@often"]
        {
            assert!(wrong.parse::<Schedule>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn without_one_it_is_every_minute() {
        let now: Timestamp = "2026-03-01T04:29:00Z".parse().unwrap();
        assert_eq!(Schedule::default().pause(now), MINUTE);
        let half_past_four: Schedule = "30 4 * * *".parse().unwrap();
        assert_eq!(half_past_four.pause(now), MINUTE);
        assert_eq!(half_past_four.pause("2026-03-01T04:30:00Z".parse().unwrap()), MINUTE * 60 * 24);
    }
}
