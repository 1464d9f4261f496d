//! Durations as people read them in tables: `12s`, `5m30s`, `3h`, `2d4h`, `1y20d`. Rules: `k8s.io/apimachinery/pkg/util/duration`.

use jiff::Timestamp;

/// The time since the RFC 3339 moment `moment`; `<unknown>` if there is none.
pub(crate) fn since(moment: &str, now: Timestamp) -> String {
    match moment.parse::<Timestamp>() {
        Ok(then) => human(now.as_second() - then.as_second()),
        Err(_) => "<unknown>".into(),
    }
}

/// A duration in seconds; a clock that is up to a second off does not matter, one further off shows.
fn human(seconds: i64) -> String {
    if seconds < -1 {
        return "<invalid>".into();
    }
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    let (days, years) = (hours / 24, hours / 24 / 365);
    let two = |big: i64, a: &str, small: i64, b: &str| {
        if small == 0 { format!("{big}{a}") } else { format!("{big}{a}{small}{b}") }
    };
    match () {
        () if seconds < 0 => "0s".into(),
        () if seconds < 120 => format!("{seconds}s"),
        () if minutes < 10 => two(minutes, "m", seconds % 60, "s"),
        () if minutes < 180 => format!("{minutes}m"),
        () if hours < 8 => two(hours, "h", minutes % 60, "m"),
        () if hours < 48 => format!("{hours}h"),
        () if hours < 192 => two(days, "d", hours % 24, "h"),
        () if days < 730 => format!("{days}d"),
        () if years < 8 => two(years, "y", days % 365, "d"),
        () => format!("{years}y"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_kubectl_prints_them() {
        let (minute, hour, day) = (60, 3600, 86_400);
        for (seconds, text) in [
            (-5, "<invalid>"),
            (-1, "0s"),
            (0, "0s"),
            (119, "119s"),
            (2 * minute, "2m"),
            (5 * minute + 30, "5m30s"),
            (10 * minute, "10m"),
            (179 * minute, "179m"),
            (3 * hour, "3h"),
            (3 * hour + minute, "3h1m"),
            (8 * hour, "8h"),
            (47 * hour, "47h"),
            (2 * day, "2d"),
            (3 * day + hour, "3d1h"),
            (8 * day, "8d"),
            (729 * day, "729d"),
            (730 * day, "2y"),
            (740 * day, "2y10d"),
            (3000 * day, "8y"),
        ] {
            assert_eq!(human(seconds), text, "{seconds}");
        }
    }

    #[test]
    fn no_moment_has_no_age() {
        assert_eq!(since("", Timestamp::UNIX_EPOCH), "<unknown>");
    }
}
