//! An HTTP request in, a response out, as Consul's clients speak it.
