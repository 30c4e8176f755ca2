//! Several workers, and one configuration after another: one set, one fetch, one bound.

use portcullis_jwt::life::{
    Answer, Claim, Counter, Effect, Event, Instant, Ledger, Life, LifeConfig, Phase, Refusal, Source,
};

use crate::{
    keys::set,
    rig::{LONG, Rig, address, config, seconds},
};

fn claim(rig: &mut Rig, id: u64, shared: Option<&[u8]>, ledger: Option<&[u8]>, owner: u64) -> Claim {
    rig.life.claim(rig.now, 0, id, (shared, ledger), owner, &mut rig.effects)
}

fn published(rig: &Rig) -> Vec<u8> {
    let publish = rig
        .effects
        .iter()
        .rev()
        .find_map(|e| if let Effect::Publish(bytes) = e { Some(bytes.clone()) } else { None });
    publish.expect("something published")
}

#[test]
fn one_worker_fetches_and_its_answer_wakes_the_requests_of_all() {
    let mut workers: Vec<Rig> = (0..3).map(|_| Rig::new(config())).collect();
    let (mut ledger, mut granted): (Option<Vec<u8>>, _) = (None, Vec::new());
    for (owner, rig) in (0..).zip(&mut workers) {
        assert_eq!(rig.need(1, "a"), Answer::Wait);
        let fetch = rig.fetch().unwrap();
        if let Claim::Go { ledger: bytes } = claim(rig, fetch.id, None, ledger.as_deref(), owner) {
            ledger = Some(bytes);
            granted.push((owner, fetch));
        }
    }
    assert_eq!(granted.len(), 1);
    let body = set(&[("a", 1)]);
    let fetch = &granted[0].1;
    workers[0].event(Event::Answered {
        id: fetch.id,
        status: 200,
        headers: crate::rig::headers(LONG),
        body: body.as_bytes(),
    });
    let snapshot = published(&workers[0]);
    for rig in &mut workers[1..] {
        rig.event(Event::Shared { snapshot: &snapshot });
        assert!(rig.fetch().is_none());
    }
    for rig in &mut workers {
        assert_eq!((rig.woken(), rig.kids()), (vec![1], vec!["a".to_string()]));
    }
}

#[test]
fn a_fetch_that_was_wanted_before_another_worker_brought_the_keys_is_not_made() {
    let (mut one, mut two) = (Rig::new(config()), Rig::new(config()));
    one.tick();
    two.tick();
    let unclaimed = two.fetch().unwrap();
    let first = one.fetch().unwrap();
    let Claim::Go { ledger } = claim(&mut one, first.id, None, None, 1) else { panic!("nobody fetches") };
    let body = set(&[("a", 1)]);
    let headers = crate::rig::headers(LONG);
    one.event(Event::Answered { id: first.id, status: 200, headers, body: body.as_bytes() });
    let snapshot = published(&one);
    let released = Ledger::release(Some(&ledger), 1).unwrap();

    two.event(Event::Shared { snapshot: &snapshot });

    assert_eq!(claim(&mut two, unclaimed.id, Some(&snapshot), Some(&released), 2), Claim::Leave);
    assert_eq!((two.fetch(), two.kids()), (None, vec!["a".to_string()]));
    // A request that the keys do not help is a reason of its own.
    assert_eq!(two.need(7, "b"), Answer::Wait);
    let asked = two.fetch().unwrap();
    assert!(matches!(claim(&mut two, asked.id, Some(&snapshot), Some(&released), 2), Claim::Go { .. }));
}

#[test]
fn a_fetch_that_was_wanted_before_another_worker_failed_waits_for_the_pause() {
    let (mut one, mut two) = (Rig::new(config()), Rig::new(config()));
    one.tick();
    two.tick();
    let unclaimed = two.fetch().unwrap();
    let first = one.fetch().unwrap();
    let Claim::Go { ledger } = claim(&mut one, first.id, None, None, 1) else { panic!("nobody fetches") };
    one.event(Event::Failed { id: first.id, reason: "reset" });
    let snapshot = published(&one);
    let released = Ledger::release(Some(&ledger), 1).unwrap();

    two.event(Event::Shared { snapshot: &snapshot });

    assert_eq!(claim(&mut two, unclaimed.id, Some(&snapshot), Some(&released), 2), Claim::Leave);
    assert_eq!(two.fetch(), None);
    two.pass(seconds(1));
    assert!(two.fetch().is_some());
}

#[test]
fn a_worker_that_can_share_nothing_keeps_to_the_bound() {
    let mut rig = Rig::with_keys(config(), &set(&[("a", 1)]), LONG);
    let mut fetched = 1;
    for second in 0..55_u32 {
        rig.ask(second, Some(&format!("random-{second}")), false);
        if let Some(fetch) = rig.fetch()
            && let Claim::Go { .. } = claim(&mut rig, fetch.id, None, None, 1)
        {
            fetched += 1;
            let body = set(&[("a", 1)]);
            let headers = crate::rig::headers(LONG);
            rig.event(Event::Answered { id: fetch.id, status: 200, headers, body: body.as_bytes() });
        }
        rig.pass(seconds(1));
        rig.effects.retain(|effect| matches!(effect, Effect::Fetch(_)));
    }
    assert!((3..=4).contains(&fetched), "{fetched}");
}

#[test]
fn a_worker_whose_leader_died_fetches_itself_when_the_lease_is_over() {
    let (mut one, mut two) = (Rig::new(config()), Rig::new(config()));
    one.tick();
    two.tick();
    let (first, second) = (one.fetch().unwrap(), two.fetch().unwrap());
    let Claim::Go { ledger } = claim(&mut one, first.id, None, None, 1) else { panic!() };
    assert_eq!(claim(&mut two, second.id, None, Some(&ledger), 2), Claim::Leave);
    two.pass(seconds(6));
    assert!(two.fetch().is_none());
    two.pass(seconds(1));
    let again = two.fetch().unwrap();
    assert!(matches!(claim(&mut two, again.id, None, Some(&ledger), 2), Claim::Go { .. }));
}

#[test]
fn a_worker_that_missed_the_message_finds_the_set_when_it_claims() {
    let (mut one, mut two) = (Rig::new(config()), Rig::new(config()));
    two.need(5, "a");
    let wanted = two.fetch().unwrap();
    one.tick();
    one.answer(200, &[], &set(&[("a", 1)]));
    let snapshot = published(&one);
    assert_eq!(claim(&mut two, wanted.id, Some(&snapshot), None, 2), Claim::Leave);
    assert_eq!((two.woken(), two.kids()), (vec![5], vec!["a".to_string()]));
}

#[test]
fn the_bound_of_the_process_is_kept_by_workers_together() {
    let mut ledger: Option<Vec<u8>> = None;
    let mut granted = 0;
    for owner in 0..20_u64 {
        let mut rig = Rig::with_keys(config(), &set(&[("a", 1)]), LONG);
        rig.need(1, "b");
        let fetch = rig.fetch().unwrap();
        match claim(&mut rig, fetch.id, None, ledger.as_deref(), owner) {
            Claim::Go { ledger: bytes } => {
                granted += 1;
                ledger = Ledger::release(Some(&bytes), owner);
            }
            // It knows at once, so the request does not wait for nothing.
            Claim::Leave => assert!(matches!(rig.refused()[..], [(1, Refusal::Unavailable { .. })])),
        }
    }
    assert_eq!(granted, 2);
}

#[test]
fn a_failure_is_shared_so_that_the_others_pause_too() {
    let (mut one, mut two) = (Rig::new(config()), Rig::new(config()));
    one.tick();
    one.fail();
    let snapshot = published(&one);
    two.event(Event::Shared { snapshot: &snapshot });
    assert!(two.fetch().is_none());
    assert_eq!(two.life.status(two.now).failures, 1);
    two.pass(seconds(1));
    assert!(two.fetch().is_some());
}

#[test]
fn a_new_configuration_takes_the_set_over_and_does_not_fetch() {
    let rig = Rig::with_keys(config(), &set(&[("a", 1)]), LONG);
    let later = rig.now.saturating_add(seconds(100));
    let (life, effects) =
        Life::restore(LifeConfig { wait: seconds(1), ..config() }, &rig.life.snapshot(), later, 0);
    assert!(effects.iter().all(|effect| !matches!(effect, Effect::Fetch(_))), "{effects:?}");
    let status = life.status(later);
    assert_eq!((status.phase, status.keys, status.age), (Phase::Fresh, 1, Some(seconds(100))));
}

#[test]
fn a_stricter_configuration_shortens_the_life_of_what_it_takes_over() {
    let rig = Rig::with_keys(config(), &set(&[("a", 1)]), LONG);
    let strict = LifeConfig { max_fresh: seconds(300), stale_if_error: seconds(10), ..config() };
    let (mut life, _) = Life::restore(strict, &rig.life.snapshot(), rig.now, 0);
    let at = |time| rig.now.saturating_add(seconds(time));
    life.on(at(309), 0, Event::Tick);
    assert_eq!(life.status(at(309)).phase, Phase::Stale);
    assert_eq!(life.status(at(310)).phase, Phase::Expired);
}

#[test]
fn a_snapshot_of_other_sources_is_not_taken_over() {
    let rig = Rig::with_keys(config(), &set(&[("a", 1)]), LONG);
    let snapshot = rig.life.snapshot();
    let elsewhere = LifeConfig { sources: vec![Source::Keys(address("https://other/jwks"))], ..config() };
    let other_issuer = LifeConfig { issuer: "https://other".into(), ..config() };
    for config in [elsewhere, other_issuer] {
        let (life, effects) = Life::restore(config, &snapshot, rig.now, 0);
        assert_eq!(life.status(rig.now).keys, 0);
        assert!(effects.contains(&Effect::Count(Counter::SharedRefused)));
        assert!(effects.iter().any(|effect| matches!(effect, Effect::Fetch(_))));
    }
}

#[test]
fn a_snapshot_from_the_future_is_not_taken_over() {
    let rig = Rig::with_keys(config(), &set(&[("a", 1)]), LONG);
    let (life, effects) = Life::restore(config(), &rig.life.snapshot(), Instant(5), 0);
    assert_eq!(life.status(Instant(5)).keys, 0);
    assert!(effects.contains(&Effect::Count(Counter::SharedRefused)));
}

#[test]
fn an_older_snapshot_does_not_replace_a_newer_set() {
    let mut rig = Rig::with_keys(config(), &set(&[("a", 1)]), LONG);
    let old = rig.life.snapshot();
    rig.pass(seconds(30));
    rig.need(1, "b");
    rig.answer(200, LONG, &set(&[("b", 2)]));
    rig.event(Event::Shared { snapshot: &old });
    assert_eq!(rig.kids(), ["b"]);
}

#[test]
fn a_damaged_snapshot_is_refused_or_judged_and_never_trusted() {
    let rig = Rig::with_keys(config(), &set(&[("a", 1)]), &[("etag", "\"x\"")]);
    let whole = rig.life.snapshot();
    for length in 0..whole.len() {
        let (life, _) = Life::restore(config(), &whole[..length], rig.now, 0);
        assert_eq!(life.status(rig.now).keys, 0, "{length}");
    }
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 0x41;
        let (life, _) = Life::restore(config(), &changed, rig.now, 0);
        let limit = rig.now.saturating_add(life.config().max_fresh + life.config().stale_if_error);
        assert_eq!(life.status(limit).keys, 0, "byte {at} gave the set a longer life");
    }
    let mut long = whole;
    long.push(0);
    let (life, _) = Life::restore(config(), &long, rig.now, 0);
    assert_eq!(life.status(rig.now).keys, 0);
}

#[test]
fn a_failure_elsewhere_does_not_bring_an_older_set_back() {
    let mut one = Rig::with_keys(config(), &set(&[("a", 1)]), LONG);
    let mut two = Rig::with_keys(config(), &set(&[("a", 1)]), LONG);
    one.pass(seconds(30));
    one.need(1, "b");
    one.answer(200, LONG, &set(&[("b", 2)]));
    // The other worker never heard of it, and fails later.
    two.pass(seconds(40));
    two.need(1, "c");
    two.fail();
    let snapshot = published(&two);
    one.now = two.now;
    one.event(Event::Shared { snapshot: &snapshot });
    assert_eq!(one.kids(), ["b"]);
    assert_eq!(one.life.status(one.now).failures, 1);
}

#[test]
fn an_older_failure_does_not_pause_a_source_that_answers_again() {
    let mut rig = Rig::new(config());
    rig.tick();
    rig.fail();
    let old = published(&rig);
    rig.pass_to_fetch();
    rig.answer(200, LONG, &set(&[("a", 1)]));
    rig.event(Event::Shared { snapshot: &old });
    assert_eq!(rig.life.status(rig.now).failures, 0);
}
