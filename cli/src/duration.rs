//! Durations as Go writes them, which is how Consul's users do: `10s`, `1m30s`, `1.5h`, `100ms`.

use std::time::Duration;

/// What a text says; the error completes a sentence about it.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    const EXPECTED: &str = "write it as 10s, 1m30s or 500ms";
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let (mut total, mut rest) = (0.0, text);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or(EXPECTED)?;
        let (number, unit_and_rest) = rest.split_at(digits);
        let end = unit_and_rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(unit_and_rest.len());
        let (unit, after) = unit_and_rest.split_at(end);
        let seconds = match unit {
            "ns" => 1e-9,
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return Err(EXPECTED.to_owned()),
        };
        total += number.parse::<f64>().map_err(|_| EXPECTED)? * seconds;
        rest = after;
    }
    if text.is_empty() {
        return Err(EXPECTED.to_owned());
    }
    Duration::try_from_secs_f64(total).map_err(|_| "it is too long".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_go_writes_them() {
        for (text, millis) in
            [("0", 0), ("10s", 10_000), ("1m30s", 90_000), ("1.5h", 5_400_000), ("100ms", 100), ("2h0m0.5s", 7_200_500)]
        {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for bad in ["", "10", "-1s", "s", "1d", "1s2", "..s", "1e9s", "99999999999999999999999h"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
