//! Durations as Go writes them, which is how Consul's configuration does: `30s`, `1h15m`, `1.5s`, `300ms`.

use std::time::Duration;

/// What to write where a duration is expected.
pub const EXPECTED: &str = "a duration such as \"30s\", \"1m30s\" or \"500ms\"";

/// The longest duration Go has: 2^63 - 1 nanoseconds, about 292 years.
const MAX_NANOS: u128 = i64::MAX as u128;

/// The duration that `text` says; none if it is not one, is negative or too long.
pub fn parse(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total = 0u128;
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at(number_end);
        let unit_end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, next) = after.split_at(unit_end);
        total = total.checked_add(nanos(number, unit_nanos(unit)?)?)?;
        rest = next;
    }
    (total <= MAX_NANOS).then(|| u64::try_from(total).ok().map(Duration::from_nanos))?
}

/// The duration of a whole number of nanoseconds; none if it is negative.
pub fn from_nanos(nanos: i64) -> Option<Duration> {
    u64::try_from(nanos).ok().map(Duration::from_nanos)
}

fn unit_nanos(unit: &str) -> Option<u128> {
    Some(match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60 * 1_000_000_000,
        "h" => 3_600 * 1_000_000_000,
        _ => return None,
    })
}

/// `number`, which may have a fraction, times `unit`.
fn nanos(number: &str, unit: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    let whole = if whole.is_empty() { 0 } else { whole.parse::<u128>().ok()? };
    let mut total = whole.checked_mul(unit)?;
    let mut share = unit;
    for digit in fraction.chars() {
        share /= 10;
        total = total.checked_add(share * u128::from(digit.to_digit(10)?))?;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations() {
        let check = |text: &str, expected: Option<u64>| {
            assert_eq!(parse(text), expected.map(Duration::from_millis), "{text:?}");
        };
        check("0", Some(0));
        check("0s", Some(0));
        check("30s", Some(30_000));
        check("+30s", Some(30_000));
        check("1m30s", Some(90_000));
        check("1h", Some(3_600_000));
        check("1.5s", Some(1_500));
        check(".5s", Some(500));
        check("1.s", Some(1_000));
        check("300ms", Some(300));
        check("5000us", Some(5));
        check("5000µs", Some(5));
        check("72h0m0s", Some(72 * 3_600_000));
        for bad in ["", "+", "s", ".s", "30", "30 s", "-1s", "1x", "1.2.3s", "s30", "30S", "999999999h", "٣s", "1e3s"]
        {
            check(bad, None);
        }
        check("99999999999999999999999999999999999999999999999h", None);
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "\\PC{0,24}") {
            let _ = parse(&text);
        }

        #[test]
        fn what_is_written_in_milliseconds_is_read_back(ms in 0u64..1_000_000_000_000) {
            prop_assert_eq!(parse(&format!("{ms}ms")), Some(Duration::from_millis(ms)));
        }
    }
}
