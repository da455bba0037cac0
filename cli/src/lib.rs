//! The commands other than agent: an HTTP client and its tables.
