//! In the embedded host: workers that die, clocks that step back, and what VMs find when they start.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context as _, Result};
use portcullis_host::{Clock, Outcome, Plugin, Process, StreamId, StreamInfo, Worker};
use portcullis_host_tests::subject::compiled;
use serde_json::{Value, json};

use crate::stage::guard;

/// A clock that goes where it is told, also back.
#[derive(Clone)]
struct Hands(Arc<Mutex<Duration>>);

impl Hands {
    fn at(seconds: u64) -> Self {
        Self(Arc::new(Mutex::new(Duration::from_secs(seconds))))
    }

    fn set(&self, seconds: f64) {
        *self.0.lock().unwrap() = Duration::from_secs_f64(seconds);
    }

    fn advance(&self, seconds: f64) {
        *self.0.lock().unwrap() += Duration::from_secs_f64(seconds);
    }
}

impl Clock for Hands {
    fn wall(&self) -> Duration {
        Duration::from_secs(1_767_225_600)
    }

    fn monotonic(&self) -> Duration {
        *self.0.lock().unwrap()
    }
}

fn process(hands: &Hands) -> Process {
    Process::builder().clock(hands.clone()).build()
}

fn plugin(configuration: &Value) -> Plugin {
    Plugin::new("tenant-guard").configuration(configuration.to_string())
}

fn worker(process: &Process, configuration: &Value) -> Result<Worker> {
    let mut worker = Worker::new(process);
    worker.add(&compiled(portcullis_modules::TENANT_GUARD.wasm)?, plugin(configuration))?;
    Ok(worker)
}

/// A request of `tenant` that goes on until it is closed: its stream, and the status and code where it
/// was answered instead.
fn begin(worker: &mut Worker, tenant: &str) -> Result<(StreamId, Option<(u16, String)>)> {
    let claims = format!(r#"{{"main":{{"sub":"u","orgs":["{tenant}"]}}}}"#);
    let stream = worker.open(StreamInfo::new().property(["portcullis_jwt"], claims.into_bytes()));
    let request = [
        (":method", "GET"),
        (":path", "/x"),
        (":authority", "app.test"),
        (":scheme", "http"),
        ("x-tenant-id", tenant),
    ];
    match worker.request_headers(stream, request, true) {
        Outcome::Reply(reply) => {
            let body: Value = serde_json::from_slice(&reply.body)?;
            let code = body["code"].as_str().context("no code")?.to_owned();
            worker.close(stream);
            Ok((stream, Some((reply.status(), code))))
        }
        outcome => {
            assert!(outcome.is_forward(), "{outcome:?}");
            Ok((stream, None))
        }
    }
}

/// How many requests of `tenant` begin until one is refused, and what that one gets.
fn fill(worker: &mut Worker, tenant: &str) -> Result<(Vec<StreamId>, (u16, String))> {
    let mut streams = Vec::new();
    loop {
        match begin(worker, tenant)? {
            (stream, None) => streams.push(stream),
            (_, Some(refused)) => return Ok((streams, refused)),
        }
    }
}

const EXCEEDED: &str = "TENANT_CONCURRENCY_EXCEEDED";

fn places() -> Value {
    guard(&json!({"concurrency": {"classes": {"default": {"total": 10, "reserve": 2}}}}))
}

fn beat(hands: &Hands, workers: &mut [&mut Worker], seconds: u32) {
    for _ in 0..seconds * 2 {
        hands.advance(0.5);
        for worker in workers.iter_mut() {
            worker.poll();
        }
    }
}

#[test]
fn workers_count_together_and_whatever_ends_gives_its_place_back() -> Result<()> {
    let hands = Hands::at(1000);
    let process = process(&hands);
    let (mut one, mut two) = (worker(&process, &places())?, worker(&process, &places())?);
    let (streams, refused) = fill(&mut one, "acme")?;
    assert_eq!((streams.len(), refused), (8, (429, EXCEEDED.into())));
    assert_eq!(begin(&mut two, "acme")?.1, Some((429, EXCEEDED.into())));
    let quiet = begin(&mut two, "globex")?;
    assert_eq!(quiet.1, None, "a quiet tenant gets in");
    beat(&hands, &mut [&mut one, &mut two], 1);
    assert_eq!(process.gauge("portcullis.tenant.concurrency.in_use.default"), Some(9));

    two.close(quiet.0);
    // Nothing was answered, a head was, all was: it ends where the stream does.
    for (at, stream) in streams.into_iter().enumerate() {
        if at > 2 {
            let _ = one.response_headers(stream, [(":status", "200")], at > 4);
        }
        assert_eq!(begin(&mut one, "acme")?.1.map(|(status, _)| status), Some(429));
        one.close(stream);
        let next = begin(&mut two, "acme")?;
        assert_eq!(next.1, None, "after {at}");
        two.close(next.0);
        let kept = begin(&mut one, "acme")?;
        assert_eq!(kept.1, None);
    }
    beat(&hands, &mut [&mut one, &mut two], 1);
    assert_eq!(process.gauge("portcullis.tenant.concurrency.in_use.default"), Some(8));
    Ok(())
}

#[test]
fn a_long_request_keeps_its_place_and_a_dead_worker_loses_all_of_its() -> Result<()> {
    let hands = Hands::at(1000);
    let process = process(&hands);
    let (mut one, mut two) = (worker(&process, &places())?, worker(&process, &places())?);
    assert_eq!(fill(&mut one, "acme")?.0.len(), 8);
    beat(&hands, &mut [&mut one, &mut two], 60);
    assert_eq!(begin(&mut two, "acme")?.1, Some((429, EXCEEDED.into())), "they are under way still");

    // Its VM is gone, and said nothing of it.
    drop(one);
    beat(&hands, &mut [&mut two], 4);
    assert_eq!(begin(&mut two, "acme")?.1, Some((429, EXCEEDED.into())), "it may only be slow");
    beat(&hands, &mut [&mut two], 2);
    assert_eq!(fill(&mut two, "acme")?.0.len(), 8);
    Ok(())
}

#[test]
fn requests_of_an_old_configuration_are_counted_until_they_end() -> Result<()> {
    let hands = Hands::at(1000);
    let process = process(&hands);
    let mut one = worker(&process, &places())?;
    let (mut streams, _) = fill(&mut one, "acme")?;
    let more = guard(&json!({"concurrency": {"classes": {"default": {"total": 12, "reserve": 2}}}}));
    one.reconfigure(0, more.to_string())?;
    beat(&hands, &mut [&mut one], 20);
    let (of_new, _) = fill(&mut one, "acme")?;
    assert_eq!(of_new.len(), 2, "the new total, of which eight are under way");
    // One that limits nothing, and back: what is under way is still known.
    one.reconfigure(0, guard(&json!({})).to_string())?;
    assert_eq!(begin(&mut one, "acme")?.1, None);
    beat(&hands, &mut [&mut one], 20);
    one.reconfigure(0, more.to_string())?;
    assert_eq!(begin(&mut one, "acme")?.1, Some((429, EXCEEDED.into())));
    for stream in streams.drain(..) {
        one.close(stream);
    }
    assert_eq!(fill(&mut one, "acme")?.0.len(), 8);
    Ok(())
}

#[test]
fn a_host_that_cannot_count_lets_nothing_through() -> Result<()> {
    let hands = Hands::at(1000);
    for call in ["proxy_get_shared_data", "proxy_set_shared_data"] {
        let process = process(&hands);
        let mut one = worker(&process, &places())?;
        process.refuse(call, portcullis_host::Status::InternalFailure, portcullis_host::When::Always);
        assert_eq!(begin(&mut one, "acme")?.1.map(|(status, _)| status), Some(503), "{call}");
        assert!(worker(&process, &places()).is_err(), "a configuration that cannot be enforced is refused");
        process.refuse_nothing();
        assert_eq!(fill(&mut one, "acme")?.0.len(), 8, "{call}: nothing was counted that did not go on");
    }
    Ok(())
}

#[test]
fn an_end_that_could_not_be_written_is_made_good() -> Result<()> {
    let hands = Hands::at(1000);
    let process = process(&hands);
    let (mut one, mut two) = (worker(&process, &places())?, worker(&process, &places())?);
    let (streams, _) = fill(&mut one, "acme")?;
    process.refuse(
        "proxy_set_shared_data",
        portcullis_host::Status::InternalFailure,
        portcullis_host::When::Always,
    );
    streams.into_iter().for_each(|stream| one.close(stream));
    process.refuse_nothing();
    assert_eq!(begin(&mut two, "acme")?.1, Some((429, EXCEEDED.into())));
    beat(&hands, &mut [&mut one, &mut two], 2);
    assert_eq!(fill(&mut two, "acme")?.0.len(), 8);
    Ok(())
}

fn quotas() -> Value {
    guard(&json!({"quotas": {"default": "all", "slots": 64, "plans": {"all": {"rate": "1/s", "burst": 4}}}}))
}

fn spend(worker: &mut Worker, tenant: &str) -> Result<u32> {
    let mut spent = 0;
    while let (stream, None) = begin(worker, tenant)? {
        worker.close(stream);
        spent += 1;
    }
    Ok(spent)
}

#[test]
fn a_clock_that_steps_back_refills_nothing_and_locks_nobody_out() -> Result<()> {
    let hands = Hands::at(1000);
    let process = process(&hands);
    let mut one = worker(&process, &quotas())?;
    assert_eq!(spend(&mut one, "acme")?, 4);
    hands.set(100.0);
    assert_eq!(spend(&mut one, "acme")?, 0, "nothing is given back");
    hands.set(100.9);
    assert_eq!(spend(&mut one, "acme")?, 0);
    hands.set(101.0);
    assert_eq!(spend(&mut one, "acme")?, 1, "and one unit takes as long as ever");
    // Places: those of workers that spoke in what is now the future are not believed for ever.
    let hands = Hands::at(1000);
    let process = self::process(&hands);
    let (mut one, mut two) = (worker(&process, &places())?, worker(&process, &places())?);
    let held = fill(&mut one, "acme")?.0;
    hands.set(100.0);
    drop((one, held));
    assert_eq!(fill(&mut two, "acme")?.0.len(), 8);
    Ok(())
}

#[test]
fn a_vm_that_starts_later_takes_over_what_is_there() -> Result<()> {
    let hands = Hands::at(1000);
    let process = process(&hands);
    let mut one = worker(&process, &quotas())?;
    assert_eq!(spend(&mut one, "acme")?, 4);
    let key = process.shared_data("tenant-guard", "portcullis/quota/1/64/key").context("no key")?;
    // As Envoy does it with each worker, and with each new module.
    let mut two = worker(&process, &quotas())?;
    assert_eq!(process.shared_data("tenant-guard", "portcullis/quota/1/64/key"), Some(key.clone()));
    assert_eq!((spend(&mut one, "acme")?, spend(&mut two, "acme")?), (0, 0));
    assert_eq!(spend(&mut two, "globex")?, 4);
    assert_eq!(spend(&mut one, "globex")?, 0, "both put tenants into the same slots");
    // Another one was faster between this VM's look and its word: it takes what is there.
    let other = self::process(&Hands::at(1000));
    other.set_shared_data("tenant-guard", "portcullis/quota/1/64/key", &key.0).ok().context("not set")?;
    let _three = worker(&other, &quotas())?;
    assert_eq!(
        other.shared_data("tenant-guard", "portcullis/quota/1/64/key").map(|(key, _)| key),
        Some(key.0)
    );
    Ok(())
}

#[test]
fn the_gauge_tells_how_many_buckets_are_not_full() -> Result<()> {
    let hands = Hands::at(1000);
    let process = process(&hands);
    let mut one = worker(&process, &quotas())?;
    for tenant in ["acme", "globex", "initech"] {
        spend(&mut one, tenant)?;
    }
    let gauge = || process.gauge("portcullis.tenant.quota.in_use");
    // 64 slots are looked at within 16 seconds; a bucket is full after four.
    beat(&hands, &mut [&mut one], 40);
    assert_eq!(gauge(), Some(0));
    let slow = guard(
        &json!({"quotas": {"default": "all", "slots": 64, "plans": {"all": {"rate": "1/h", "burst": 4}}}}),
    );
    one.reconfigure(0, slow.to_string())?;
    for tenant in ["acme", "globex", "initech"] {
        spend(&mut one, tenant)?;
    }
    beat(&hands, &mut [&mut one], 40);
    assert_eq!(gauge(), Some(3));
    Ok(())
}
