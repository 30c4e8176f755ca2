//! Criterion benches in the host and the comparison with Envoy's own filters
