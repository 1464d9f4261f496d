//! Timestamps and the parts of them and of durations.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::eval::{EvalError, no_overload};
use super::value::Value;

/// RFC 3339.
pub(super) fn parse(text: &str) -> Option<Timestamp> {
    text.parse().ok()
}

/// The form of `string()`.
pub(super) fn shown(moment: Timestamp) -> String {
    moment.to_string()
}

/// `getFullYear` and its kind, of a timestamp, in UTC or in a named zone.
pub(super) fn part(name: &str, moment: Timestamp, zone: Option<&str>) -> Result<Value, EvalError> {
    let zone = match zone {
        None | Some("UTC") => TimeZone::UTC,
        Some(name) => fixed(name).ok_or_else(|| EvalError::new(format!("unknown time zone {name}")))?,
    };
    let local = moment.to_zoned(zone);
    Ok(Value::Int(match name {
        "getFullYear" => local.year().into(),
        "getMonth" => i64::from(local.month()) - 1,
        "getDate" => local.day().into(),
        "getDayOfMonth" => i64::from(local.day()) - 1,
        "getDayOfWeek" => local.weekday().to_sunday_zero_offset().into(),
        "getDayOfYear" => i64::from(local.day_of_year()) - 1,
        "getHours" => local.hour().into(),
        "getMinutes" => local.minute().into(),
        "getSeconds" => local.second().into(),
        "getMilliseconds" => local.millisecond().into(),
        _ => return Err(no_overload()),
    }))
}

/// `+02:00`; names of places need a database that is not here.
fn fixed(zone: &str) -> Option<TimeZone> {
    let (sign, rest) = match zone.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, zone.strip_prefix('+').unwrap_or(zone)),
    };
    let (hours, minutes) = rest.split_once(':')?;
    let seconds = hours.parse::<i32>().ok()? * 3600 + minutes.parse::<i32>().ok()? * 60;
    Some(TimeZone::fixed(jiff::tz::Offset::from_seconds(sign * seconds).ok()?))
}

/// The same of a duration of `nanos`.
pub(super) fn duration_part(name: &str, nanos: i64) -> Result<Value, EvalError> {
    const SECOND: i64 = 1_000_000_000;
    Ok(Value::Int(match name {
        "getHours" => nanos / (3600 * SECOND),
        "getMinutes" => nanos / (60 * SECOND),
        "getSeconds" => nanos / SECOND,
        "getMilliseconds" => nanos / 1_000_000,
        _ => return Err(no_overload()),
    }))
}
