//! Regular expressions that come from other agents.

use regex_lite::{Regex, RegexBuilder};

/// What an expression makes of itself is bounded, in bytes: whoever wrote it may be far away.
const REGEX_SIZE: usize = 64 * 1024;

/// An expression that can be asked; none for an empty one, which matches everything. The error is a sentence for whoever wrote it; `what`
/// says what it is about.
pub fn compile(what: &str, expression: &str) -> Result<Option<Regex>, String> {
    let build = || RegexBuilder::new(expression).size_limit(REGEX_SIZE).build();
    (!expression.is_empty()).then(build).transpose().map_err(|why| format!("invalid {what} filter: {why}"))
}
