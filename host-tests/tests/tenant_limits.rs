//! Quotas and places of tenants: in the embedded host, where time and workers are ours, and in the
//! real Envoy with two workers.

#[path = "tenant_limits/concurrency.rs"]
mod concurrency;
#[path = "tenant_limits/crowd.rs"]
mod crowd;
#[path = "tenant_limits/fleet.rs"]
mod fleet;
#[path = "tenant_limits/hosted.rs"]
mod hosted;
#[path = "tenant_limits/quota.rs"]
mod quota;
#[path = "tenant_limits/stage.rs"]
mod stage;
#[path = "tenant_limits/swap.rs"]
mod swap;
