//! Small runnable programs and configurations.
