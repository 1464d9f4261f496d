//! When everybody is looked at: cron expressions of five fields, in UTC. Pure.

use std::str::FromStr;
use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

/// The pause without a schedule: a node that was lost must not hold addresses until half past four in the morning.
const MINUTE: Duration = Duration::from_secs(60);

/// Longest time that is searched for the next moment: the 29th of February comes within eight years.
const HORIZON_DAYS: u32 = 8 * 366;

/// Every minute, or by an expression.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Schedule(Option<Expression>);

/// Values that each field allows, as bits.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Expression {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Both days are restricted: either will do, as in every cron.
    either_day: bool,
}

const FIELDS: [(&str, u32, u32); 5] = [
    ("minute", 0, 59),
    ("hour", 0, 23),
    ("day of the month", 1, 31),
    ("month", 1, 12),
    ("day of the week", 0, 7),
];
const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

impl FromStr for Schedule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = match text.trim() {
            "@hourly" => "0 * * * *",
            "@daily" | "@midnight" => "0 0 * * *",
            "@weekly" => "0 0 * * 0",
            "@monthly" => "0 0 1 * *",
            "@yearly" | "@annually" => "0 0 1 1 *",
            other => other,
        };
        let words: Vec<&str> = text.split_whitespace().collect();
        let [minutes, hours, days, months, weekdays] = words[..] else {
            return Err(format!("{text:?} has not the five fields of a cron expression"));
        };
        let read = |at: usize, word| field(FIELDS[at], word);
        let sundays = read(4, weekdays)?;
        let expression = Expression {
            minutes: read(0, minutes)?,
            hours: read(1, hours)?,
            days: read(2, days)?,
            months: read(3, months)?,
            // Sunday is 0 and 7.
            weekdays: (sundays | (sundays >> 7)) & 0x7f,
            either_day: !days.starts_with('*') && !weekdays.starts_with('*'),
        };
        let schedule = Self(Some(expression));
        match schedule.after(Timestamp::UNIX_EPOCH) {
            Some(_) => Ok(schedule),
            None => Err(format!("{text:?} names a day that never comes")),
        }
    }
}

/// The values of a comma list of `*`, `a`, `a-b`, each with `/step`.
fn field((name, low, high): (&str, u32, u32), text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no {name}: want {low} to {high}, lists, ranges and steps");
    let mut bits = 0;
    for part in text.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, step.parse().ok().filter(|step| *step > 0).ok_or_else(wrong)?),
            None => (part, 1),
        };
        let (first, last) = match range.split_once('-') {
            _ if range == "*" => (low, high.min(if low == 0 && high == 7 { 6 } else { high })),
            Some((first, last)) => (value(first).ok_or_else(wrong)?, value(last).ok_or_else(wrong)?),
            None => {
                let first = value(range).ok_or_else(wrong)?;
                (first, if part.contains('/') { high } else { first })
            }
        };
        if first < low || last > high || first > last {
            return Err(wrong());
        }
        bits |= (first..=last).step_by(step).fold(0, |bits, value| bits | (1_u64 << value));
    }
    Ok(bits)
}

/// A number, or the name of a month or weekday.
fn value(text: &str) -> Option<u32> {
    let named = text.to_ascii_lowercase();
    let month = MONTHS.iter().position(|name| *name == named).map(|at| at + 1);
    let at = month.or_else(|| WEEKDAYS.iter().position(|name| *name == named));
    at.map_or_else(|| text.parse().ok(), |at| u32::try_from(at).ok())
}

impl Schedule {
    /// How long it is from now to the next look at everybody.
    pub(super) fn pause(&self, now: Timestamp) -> Duration {
        let next = self.after(now).map(|next| now.duration_until(next));
        next.and_then(|pause| Duration::try_from(pause).ok()).unwrap_or(MINUTE)
    }

    /// The first minute after `now`.
    fn after(&self, now: Timestamp) -> Option<Timestamp> {
        let expression = self.0.as_ref()?;
        let start = Timestamp::from_second(now.as_second() - now.as_second().rem_euclid(60) + 60).ok()?;
        let mut day = start.to_zoned(TimeZone::UTC);
        for _ in 0..HORIZON_DAYS {
            if expression.has_day(&day)
                && let Some(moment) = expression.in_day(&day)
            {
                return Some(moment.timestamp());
            }
            day = day.tomorrow().ok()?.start_of_day().ok()?;
        }
        None
    }
}

impl Expression {
    fn has_day(&self, day: &Zoned) -> bool {
        let has = |bits: u64, value: i8| (bits >> value) & 1 == 1;
        let (date, weekday) =
            (has(self.days, day.day()), has(self.weekdays, day.weekday().to_sunday_zero_offset()));
        has(self.months, day.month()) && if self.either_day { date || weekday } else { date && weekday }
    }

    /// The first moment of the day that is not before `from`.
    fn in_day(&self, from: &Zoned) -> Option<Zoned> {
        let minute_of_day = |zoned: &Zoned| {
            u32::from(zoned.hour().unsigned_abs()) * 60 + u32::from(zoned.minute().unsigned_abs())
        };
        let fits =
            |minute: &u32| (self.hours >> (minute / 60)) & 1 == 1 && (self.minutes >> (minute % 60)) & 1 == 1;
        let minute = (minute_of_day(from)..24 * 60).find(fits)?;
        let (hour, minute) = (i8::try_from(minute / 60).ok()?, i8::try_from(minute % 60).ok()?);
        from.with().hour(hour).minute(minute).second(0).subsec_nanosecond(0).build().ok()
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
