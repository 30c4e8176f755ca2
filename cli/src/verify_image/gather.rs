//! From plan to evidence: the reads of each round in parallel, and what became of them.

use std::{io::IsTerminal as _, sync::Arc};

use portcullis_signature::{Answer, Evidence, Policy, Read, ReasonCode, Request, plan};
use tokio::{sync::Semaphore, task::JoinSet};

use crate::registry::Registry;

/// Reads at once: what registries allow a client without asking it to slow down.
const PARALLEL: usize = 8;
/// Reads of one command. An image with a signature in each layout needs about ten.
const MAX_READS: usize = 512;

/// Makes the reads that `policy` plans for `requests` until none is left.
///
/// # Errors
///
/// The runtime cannot be started. What a registry does is in the evidence.
pub(crate) fn gather(
    requests: &[Request],
    policy: &Policy,
    evidence: &mut Evidence,
    registry: Registry,
) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(rounds(requests, policy, evidence, Arc::new(registry)));
    // A name that is still being looked up would hold the end of the process.
    runtime.shutdown_background();
    Ok(())
}

async fn rounds(requests: &[Request], policy: &Policy, evidence: &mut Evidence, registry: Arc<Registry>) {
    let progress = Progress::new();
    let permits = Arc::new(Semaphore::new(PARALLEL));
    let mut made = 0;
    loop {
        let planned = requests.iter().flat_map(|request| plan(request, policy, evidence));
        let reads: std::collections::BTreeSet<_> = planned.collect();
        if reads.is_empty() {
            break;
        }
        let mut tasks = JoinSet::new();
        let (mut done, all) = (0, reads.len());
        for read in reads {
            made += 1;
            if made > MAX_READS {
                let detail = format!("more than {MAX_READS} reads");
                evidence.record(read, Answer::Failed { code: ReasonCode::LimitExceeded, detail });
                continue;
            }
            let (registry, permits) = (Arc::clone(&registry), Arc::clone(&permits));
            tasks.spawn(async move {
                // The semaphore is never closed; without a permit the read would still be made.
                let _permit = permits.acquire_owned().await;
                let answer = registry.read(&read).await;
                (read, answer)
            });
        }
        while let Some(finished) = tasks.join_next().await {
            // A task neither panics nor is aborted; if one did, its read is planned again.
            let Ok((read, answer)) = finished else { continue };
            done += 1;
            progress.show(done, all, &read);
            evidence.record(read, answer);
        }
    }
    progress.clear();
}

/// One line on a terminal, rewritten; nothing in a pipe.
struct Progress {
    terminal: bool,
}

impl Progress {
    fn new() -> Self {
        Self { terminal: std::io::stderr().is_terminal() }
    }

    fn show(&self, done: usize, all: usize, read: &Read) {
        if self.terminal {
            eprint!("\r\u{1b}[K{done} of {all}: {read}");
        }
    }

    fn clear(&self) {
        if self.terminal {
            eprint!("\r\u{1b}[K");
        }
    }
}
