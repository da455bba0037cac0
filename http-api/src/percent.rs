//! Percent-decoding, once and strictly (RFC 3986, 2.1): `%2F` becomes part of the text, never a separator.

use crate::error::Error;
use quorate_protocol::go::quote;

/// A part of a path, decoded.
///
/// # Errors
/// [`Error::BadRequest`] for an escape that is none and for bytes that are not UTF-8.
pub(crate) fn decode_path(raw: &str) -> Result<String, Error> {
    decode(raw)
}

/// A name or value of a query string, decoded: there a plus sign is a space (HTML form encoding).
///
/// # Errors
/// As [`decode_path`].
pub(crate) fn decode_query(raw: &str) -> Result<String, Error> {
    if raw.contains('+') { decode(&raw.replace('+', " ")) } else { decode(raw) }
}

/// `text` as a value of a query string.
pub(crate) fn encode_query(text: &str) -> String {
    const KEPT: percent_encoding::AsciiSet =
        percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b' ');
    percent_encoding::utf8_percent_encode(text, &KEPT).to_string().replace(' ', "+")
}

fn decode(raw: &str) -> Result<String, Error> {
    let bytes = raw.as_bytes();
    for (at, _) in bytes.iter().enumerate().filter(|(_, byte)| **byte == b'%') {
        let escape = bytes.get(at..bytes.len().min(at + 3)).unwrap_or_default();
        if !matches!(escape, [_, high, low] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit()) {
            return Err(Error::BadRequest(format!("invalid URL escape {}", quote(&String::from_utf8_lossy(escape)))));
        }
    }
    match percent_encoding::percent_decode(bytes).decode_utf8() {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => {
            Err(Error::BadRequest("the percent-decoded URL is not UTF-8; keys and names are UTF-8 text".to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn once_and_strictly() {
        for (raw, decoded) in
            [("a/b", "a/b"), ("n%2Fa", "n/a"), ("a%252Fb", "a%2Fb"), ("%C3%A7+", "ç+"), ("", ""), ("%3a", ":")]
        {
            assert_eq!(decode_path(raw).unwrap(), decoded);
        }
        for bad in ["%", "%2", "%zz", "a%", "%%41", "%é1", "%ff", "%C3"] {
            assert!(decode_path(bad).is_err(), "{bad}");
        }
        assert_eq!(decode_query("a+b%2B").unwrap(), "a b+");
        assert_eq!(encode_query("a b+/ç"), "a+b%2B%2F%C3%A7");
    }
}
