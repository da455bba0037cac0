//! Consul's single dash and everybody's double dash.

use std::ffi::OsString;

/// Writes `-http-addr=x` as `--http-addr=x`, which is what clap understands, and leaves the rest as it is: single letters
/// (`-h`), numbers (`-1`), a lone dash (standard input), whatever already has two dashes or follows `--`, and what is not
/// UTF-8.
pub fn normalise_dashes(args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut options = true;
    let one = |arg: OsString| {
        options &= arg != "--";
        match arg.to_str() {
            Some(text) if options && is_long_with_one_dash(text) => OsString::from(format!("-{text}")),
            _ => arg,
        }
    };
    args.into_iter().map(one).collect()
}

/// The same for a command whose last words are another command: only up to the first word that is no option, since what follows
/// belongs to the other. `has_value` knows the options of two words.
pub(crate) fn normalise_leading_dashes(args: Vec<String>, has_value: impl Fn(&str) -> bool) -> Vec<String> {
    let mut leading = true;
    let mut value = false;
    let one = |arg: String| {
        if value || !leading {
            value = false;
            return arg;
        }
        leading = arg != "--" && arg.len() > 1 && arg.starts_with('-');
        value = leading && !arg.contains('=') && has_value(arg.trim_start_matches('-'));
        if leading && is_long_with_one_dash(&arg) { format!("-{arg}") } else { arg }
    };
    args.into_iter().map(one).collect()
}

fn is_long_with_one_dash(text: &str) -> bool {
    let name = text.strip_prefix('-').unwrap_or_default().split('=').next().unwrap_or_default();
    name.len() > 1 && name.starts_with(|first: char| first.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_long_options_with_one_dash_change() {
        for (given, expected) in [
            ("-http-addr=x", "--http-addr=x"),
            ("-dev", "--dev"),
            ("-check_output_max_size", "--check_output_max_size"),
            ("--dev", "--dev"),
            ("-h", "-h"),
            ("-n=2", "-n=2"),
            ("-1", "-1"),
            ("-", "-"),
            ("word", "word"),
            ("a-b", "a-b"),
            ("", ""),
            ("-é", "-é"),
        ] {
            assert_eq!(normalise_dashes([given.into()]), [OsString::from(expected)], "{given}");
        }
    }

    #[test]
    fn the_words_of_another_command_stay() {
        for (given, expected) in [
            ("-n 3 -verbose p ls -la", "-n 3 --verbose p ls -la"),
            ("-timeout -1s -try=5s p -x", "--timeout -1s --try=5s p -x"),
            ("p -verbose ls", "p -verbose ls"),
            ("-verbose -- -odd ls -la", "--verbose -- -odd ls -la"),
        ] {
            let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
            assert_eq!(
                normalise_leading_dashes(words(given), |name| ["n", "timeout"].contains(&name)),
                words(expected)
            );
        }
    }

    #[test]
    fn nothing_changes_after_two_dashes() {
        let args = ["-cas", "--", "-data"].map(OsString::from);
        assert_eq!(normalise_dashes(args), ["--cas", "--", "-data"].map(OsString::from));
    }
}
