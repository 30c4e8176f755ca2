//! What is used of a key set, and why the rest is not.
