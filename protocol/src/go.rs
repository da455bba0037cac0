//! Text as Go writes it, since Consul's clients, configurations and sentences do: durations (`10s`, `1h30m`, `1µs`,
//! `1.8893275260925293s`) and text in quotes.
//!
//! The rules of durations are those of Go's `time.ParseDuration` and `Duration.String`,
//! <https://pkg.go.dev/time#ParseDuration>, to the last rounding, because people write whatever Go accepts and nothing
//! else.

use std::time::Duration;

/// How much of a text [`quote`] shows.
const QUOTED_CHARS: usize = 64;

/// The text is not a duration; the sentence is Go's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotADuration(String);

/// The nanoseconds that a text says, negative ones included.
///
/// # Errors
/// [`NotADuration`] for anything that Go refuses, a bare number and more than 292 years among it.
pub fn parse_duration(text: &str) -> Result<i64, NotADuration> {
    let invalid = || NotADuration(format!("time: invalid duration {}", quote(text)));
    let (negative, mut rest) = match text.as_bytes() {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    if rest == b"0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (whole, after_whole) = leading_integer(rest).ok_or_else(invalid)?;
        let digits_before = after_whole.len() != rest.len();
        let (fraction, after_number) = match after_whole {
            [b'.', tail @ ..] => {
                let (fraction, after) = leading_fraction(tail);
                (Some(fraction).filter(|_| after.len() != tail.len()), after)
            }
            other => (None, other),
        };
        if !digits_before && fraction.is_none() {
            return Err(invalid());
        }
        let length = after_number.iter().position(|b| *b == b'.' || b.is_ascii_digit()).unwrap_or(after_number.len());
        let (unit, tail) = after_number.split_at(length);
        if unit.is_empty() {
            return Err(NotADuration(format!("time: missing unit in duration {}", quote(text))));
        }
        let nanos = unit_nanos(unit).ok_or_else(|| {
            let unit = String::from_utf8_lossy(unit);
            NotADuration(format!("time: unknown unit {} in duration {}", quote(&unit), quote(text)))
        })?;
        let fraction = fraction.map_or(0, |fraction| fraction.of(nanos));
        total = whole
            .checked_mul(nanos)
            .and_then(|value| value.checked_add(fraction))
            .and_then(|value| value.checked_add(total))
            .filter(|total| *total <= 1 << 63)
            .ok_or_else(invalid)?;
        rest = tail;
    }
    if negative {
        return 0_i64.checked_sub_unsigned(total).ok_or_else(invalid);
    }
    i64::try_from(total).map_err(|_| invalid())
}

/// The shortest text that Go prints for a duration: `1h0m0s`, `1.5s`, `100ms`, `0s`.
pub fn format_duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    match nanos {
        0 => "0s".to_owned(),
        1..1_000 => format!("{nanos}ns"),
        1_000..1_000_000 => decimal(nanos, 1_000) + "µs",
        1_000_000..1_000_000_000 => decimal(nanos, 1_000_000) + "ms",
        _ => {
            let minute = 60 * 1_000_000_000;
            let (hours, minutes) = (nanos / (60 * minute), nanos / minute % 60);
            let seconds = decimal(nanos % minute, 1_000_000_000);
            match (hours, minutes) {
                (0, 0) => format!("{seconds}s"),
                (0, _) => format!("{minutes}m{seconds}s"),
                _ => format!("{hours}h{minutes}m{seconds}s"),
            }
        }
    }
}

/// Text in quotes, as Go's `%q` shows it, cut to a length fit for an error.
pub fn quote(text: &str) -> String {
    format!("{:?}", text.chars().take(QUOTED_CHARS).collect::<String>())
}

/// `nanos / unit` with as many decimals as it takes.
fn decimal(nanos: u128, unit: u128) -> String {
    let width = unit.ilog10() as usize;
    let text = format!("{}.{:0width$}", nanos / unit, nanos % unit);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// What follows a decimal point.
#[derive(Clone, Copy)]
struct Fraction {
    digits: u64,
    scale: f64,
}

impl Fraction {
    /// Its share of a unit. Floating point on purpose: Go rounds this way.
    #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, clippy::cast_sign_loss)]
    fn of(self, unit: u64) -> u64 {
        (self.digits as f64 * (unit as f64 / self.scale)) as u64
    }
}

fn leading_integer(text: &[u8]) -> Option<(u64, &[u8])> {
    let mut value: u64 = 0;
    let mut rest = text;
    while let [digit @ b'0'..=b'9', tail @ ..] = rest {
        value = value.checked_mul(10)?.checked_add(u64::from(digit - b'0')).filter(|value| *value <= 1 << 63)?;
        rest = tail;
    }
    Some((value, rest))
}

/// Digits beyond what an `i64` holds are read and dropped.
fn leading_fraction(text: &[u8]) -> (Fraction, &[u8]) {
    let mut fraction = Fraction { digits: 0, scale: 1.0 };
    let mut full = false;
    let mut rest = text;
    while let [digit @ b'0'..=b'9', tail @ ..] = rest {
        rest = tail;
        let next = fraction.digits.checked_mul(10).and_then(|value| value.checked_add(u64::from(digit - b'0')));
        match next.filter(|value| !full && *value <= i64::MAX.unsigned_abs()) {
            Some(digits) => fraction = Fraction { digits, scale: fraction.scale * 10.0 },
            None => full = true,
        }
    }
    (fraction, rest)
}

fn unit_nanos(unit: &[u8]) -> Option<u64> {
    match std::str::from_utf8(unit).ok()? {
        "ns" => Some(1),
        // U+00B5 is the micro sign, U+03BC the Greek letter.
        "us" | "\u{b5}s" | "\u{3bc}s" => Some(1_000),
        "ms" => Some(1_000_000),
        "s" => Some(1_000_000_000),
        "m" => Some(60_000_000_000),
        "h" => Some(3_600_000_000_000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_go_accepts() {
        let second = 1_000_000_000;
        for (text, nanos) in [
            ("0", 0),
            ("-0", 0),
            ("+0", 0),
            ("0s", 0),
            ("5s", 5 * second),
            ("30s", 30 * second),
            ("1478s", 1478 * second),
            ("-5s", -5 * second),
            ("+5s", 5 * second),
            ("5.0s", 5 * second),
            ("15.000000s", 15 * second),
            ("5.6s", 5_600_000_000),
            ("5.s", 5 * second),
            (".5s", 500_000_000),
            ("-.5s", -500_000_000),
            ("1.0s", second),
            ("1.004s", 1_004_000_000),
            ("1.0040s", 1_004_000_000),
            ("100.00100s", 100_001_000_000),
            ("10ns", 10),
            ("11us", 11_000),
            ("1µs", 1_000),
            ("12\u{b5}s", 12_000),
            ("12\u{3bc}s", 12_000),
            ("13ms", 13_000_000),
            ("14s", 14 * second),
            ("15m", 900 * second),
            ("16h", 57_600 * second),
            ("3h30m", 12_600 * second),
            ("10.5s4m", 250_500_000_000),
            ("-2m3.4s", -123_400_000_000),
            ("1h2m3s4ms5us6ns", 3_723_004_005_006),
            ("39h9m14.425s", 140_954_425_000_000),
            ("52763797000ns", 52_763_797_000),
            ("0.3333333333333333333h", 1_200 * second),
            ("9007199254740993ns", 9_007_199_254_740_993),
            ("9223372036854775807ns", i64::MAX),
            ("9223372036854775.807us", i64::MAX),
            ("9223372036s854ms775us807ns", i64::MAX),
            ("-9223372036854775808ns", i64::MIN),
            ("-9223372036854775.808us", i64::MIN),
            ("0.100000000000000000000h", 360 * second),
            ("0.830103483285477580700h", 2_988_372_539_827),
            ("1.8893275260925293s", 1_889_327_526),
            ("60000ms", 60 * second),
            ("2540400h", 9_145_440_000 * second),
        ] {
            assert_eq!(parse_duration(text), Ok(nanos), "{text}");
        }
    }

    #[test]
    fn what_go_refuses() {
        for text in [
            "",
            "3",
            "-",
            "+",
            "s",
            ".",
            "-.",
            ".s",
            "+.s",
            "1d",
            "1 s",
            " 1s",
            "1s ",
            "1w",
            "bad",
            "1e3s",
            "0x1s",
            "1µ",
            "µ",
            "1\u{fffd}s",
            "--1s",
            "+-1s",
            "1..5s",
            "1.2.3s",
            "9223372036854775808ns",
            "9223372036854775.808us",
            "9223372036854ms775us808ns",
            "-9223372036854775809ns",
            "99999999999999999999999s",
            "2562048h",
            "1sé",
            "1.5.s",
            "\0",
            "10",
            "1S",
            "1H",
        ] {
            assert!(parse_duration(text).is_err(), "{text:?}");
        }
        for (text, sentence) in [
            ("10", r#"time: missing unit in duration "10""#),
            ("1d", r#"time: unknown unit "d" in duration "1d""#),
            ("bad", r#"time: invalid duration "bad""#),
        ] {
            assert_eq!(parse_duration(text), Err(NotADuration(sentence.to_owned())));
        }
    }

    #[test]
    fn every_short_text_over_its_alphabet_is_survived() {
        let alphabet = ["0", "9", ".", "-", "s", "µ", "m", "h"];
        let mut texts = vec![String::new()];
        for _ in 0..5 {
            texts = texts.iter().flat_map(|text| alphabet.iter().map(move |part| format!("{text}{part}"))).collect();
            for text in &texts {
                let _ = parse_duration(text);
            }
        }
    }

    #[test]
    fn printed_as_go_prints() {
        for (nanos, text) in [
            (0, "0s"),
            (1, "1ns"),
            (1_100, "1.1µs"),
            (2_200_000, "2.2ms"),
            (3_300_000_000, "3.3s"),
            (10_000_000_000, "10s"),
            (245_000_000_000, "4m5s"),
            (245_001_000_000, "4m5.001s"),
            (3_600_000_000_000, "1h0m0s"),
            (18_367_001_000_000, "5h6m7.001s"),
            (100_000_000, "100ms"),
        ] {
            assert_eq!(format_duration(Duration::from_nanos(nanos)), text);
            assert_eq!(parse_duration(text), Ok(i64::try_from(nanos).unwrap()));
        }
    }

    #[test]
    fn quotes_are_short() {
        for (text, quoted) in [("", r#""""#), ("a \"b\"", r#""a \"b\"""#), ("\n", r#""\n""#), ("µ", r#""µ""#)] {
            assert_eq!(quote(text), quoted);
        }
        assert_eq!(quote(&"µ".repeat(1000)), format!("\"{}\"", "µ".repeat(QUOTED_CHARS)));
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "\\PC{0,24}") {
            let _ = parse_duration(&text);
            let _ = quote(&text);
        }

        #[test]
        fn what_is_printed_is_read_back(whole in 0u64..1 << 53) {
            let printed = format_duration(Duration::from_nanos(whole));
            prop_assert_eq!(parse_duration(&printed), Ok(i64::try_from(whole).unwrap()), "{}", printed);
        }
    }
}
