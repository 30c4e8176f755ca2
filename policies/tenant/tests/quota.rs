//! Quotas: nobody takes another's share, and nothing that is forgotten was an empty bucket.

use std::collections::BTreeMap;

use portcullis_core::Request;
use portcullis_tenant::{
    Evidence, Origin, Policy, Unknown,
    quota::{Charge, Charged, SLOT_TENANTS},
};

const SECOND: u64 = 1_000_000_000;
const KEY: [u8; 16] = [7; 16];

struct Token(String);

impl Evidence for Token {
    fn of(&self, _: &Origin) -> Result<Option<Vec<u8>>, Unknown> {
        Ok(Some(format!(r#"{{"main":{{"org":"{}","sub":"u"}}}}"#, self.0).into_bytes()))
    }
}

fn document(quotas: &str, directory: &str) -> String {
    format!(
        r#"{{{directory}
             "sources": [{{"header": "x-tenant-id", "by": "id"}}],
             "proofs": [{{"name": "main", "jwt_auth": "main", "tenant": "org"}}],
             "routes": [
               {{"path": {{"prefix": "/search"}}, "class": "tenant", "quota": {{"class": "search", "cost": 2}}}},
               {{"path": {{"prefix": "/export"}}, "class": "tenant", "quota": {{"cost": 5}}}},
               {{"path": {{"prefix": "/"}}, "class": "tenant"}}],
             "quotas": {quotas}}}"#
    )
}

const PLANS: &str = r#"{"default": "free", "slots": 64, "plans": {
    "free": {"rate": "10/s", "burst": 20, "classes": {"search": {"rate": "1/s", "burst": 4}}},
    "pro": {"rate": "100/s", "burst": 200}}}"#;

fn policy(quotas: &str) -> Policy {
    Policy::from_json(document(quotas, "").as_bytes()).unwrap_or_else(|error| panic!("{error}"))
}

fn charge(policy: &Policy, tenant: &str, path: &str) -> Charge {
    let headers: [(&[u8], &[u8]); 4] = [
        (b":method", b"GET"),
        (b":authority", b"app.test"),
        (b":path", path.as_bytes()),
        (b"x-tenant-id", tenant.as_bytes()),
    ];
    let outcome = policy.decide(&Request::new(&headers), &Token(tenant.into()));
    policy.charge(&outcome, &KEY).unwrap_or_else(|| panic!("{outcome:?}"))
}

/// The shared slots of one proxy.
#[derive(Default)]
struct Slots(BTreeMap<u32, Vec<u8>>);

impl Slots {
    fn take(&mut self, charge: &Charge, now: u64) -> bool {
        let slot = self.0.entry(charge.slot).or_default();
        match charge.take(slot, now) {
            Charged::Admit { slot: new, .. } => {
                *slot = new;
                true
            }
            Charged::Refuse { corrected, .. } => {
                if let Some(corrected) = corrected {
                    *slot = corrected;
                }
                false
            }
        }
    }
}

#[test]
fn over_any_time_no_more_is_admitted_than_the_burst_and_what_flows_in() {
    let policy = policy(PLANS);
    let charge = charge(&policy, "acme", "/");
    let (mut slots, mut now, mut random) = (Slots::default(), 100 * SECOND, 1_u64);
    let mut admitted: Vec<u64> = Vec::new();
    for _ in 0..20_000 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        now += (random >> 40) % (SECOND / 10);
        if slots.take(&charge, now) {
            admitted.push(now);
        }
    }
    for (from, start) in admitted.iter().enumerate() {
        for (to, end) in admitted.iter().enumerate().skip(from).take(300) {
            let count = u64::try_from(to - from).unwrap() + 1;
            let flowed = (end - start) * 10 / SECOND;
            assert!(count <= 20 + flowed + 1, "{count} in {} ns", end - start);
        }
    }
    // And no less: the bucket fills at its rate.
    let span = (now - 100 * SECOND) / SECOND * 10;
    assert!(u64::try_from(admitted.len()).unwrap() + 40 >= span, "{} of {span}", admitted.len());
}

#[test]
fn an_exhausted_tenant_stays_so_whoever_else_comes() {
    let policy = policy(PLANS);
    let (mut slots, now) = (Slots::default(), 100 * SECOND);
    let acme = charge(&policy, "acme", "/");
    assert_eq!((0..30).filter(|_| slots.take(&acme, now)).count(), 20);
    for n in 0..10_000 {
        slots.take(&charge(&policy, &format!("t{n}"), "/"), now + n);
        assert!(n % 1000 != 0 || !slots.take(&acme, now + n), "after {n}");
    }
    assert!(!slots.take(&acme, now + 10_000));
    assert!(slots.take(&acme, now + SECOND));
    let bytes: usize = slots.0.values().map(Vec::len).sum();
    assert!(slots.0.len() <= 64 && bytes <= 64 * SLOT_TENANTS * 16, "{bytes}");
}

#[test]
fn a_million_names_leave_the_memory_as_it_is() {
    let policy = policy(PLANS);
    let mut slots = Slots::default();
    // The names of one slot are as good as a million of all.
    let names: Vec<Charge> = (0..2000).map(|n| charge(&policy, &format!("n{n}"), "/")).collect();
    for round in 0..500 {
        for name in &names {
            slots.take(name, 100 * SECOND + round);
        }
    }
    assert!(slots.0.values().all(|slot| slot.len() <= SLOT_TENANTS * 16));
    assert!(slots.0.len() <= 64);
}

#[test]
fn a_refusal_changes_nothing_and_says_when_it_would_fit() {
    let policy = policy(PLANS);
    let export = charge(&policy, "acme", "/export");
    let now = 50 * SECOND;
    let mut slot = Vec::new();
    for left in ["r=15;t=1", "r=10;t=1", "r=5;t=2", "r=0;t=2"] {
        let Charged::Admit { slot: next, left: told } = export.take(&slot, now) else { panic!("{left}") };
        let (told, left) = (told.told(), format!("\"default\";{left}"));
        assert_eq!(told.headers(), [("ratelimit-policy", "\"default\";q=20;w=2"), ("ratelimit", &left)]);
        slot = next;
    }
    let Charged::Refuse { after, crowded, .. } = export.take(&slot, now) else { panic!("a fifth") };
    assert_eq!((after, crowded), (SECOND / 2, false));
    assert!(matches!(export.take(&slot, now + after - 1), Charged::Refuse { .. }));
    assert!(matches!(export.take(&slot, now + after), Charged::Admit { .. }));
}

#[test]
fn a_clock_that_steps_back_refills_nothing_and_locks_nobody_out() {
    let policy = policy(PLANS);
    let acme = charge(&policy, "acme", "/");
    let mut slots = Slots::default();
    while slots.take(&acme, 100 * SECOND) {}
    for back in [1, 5, 99] {
        assert!(!slots.take(&acme, (100 - back) * SECOND), "{back} s back");
    }
    // As long as an empty bucket takes, and no longer.
    assert!(!slots.take(&acme, SECOND + SECOND / 10 - 1));
    assert!(slots.take(&acme, SECOND + SECOND / 10));
}

#[test]
fn classes_and_plans_have_buckets_of_their_own() {
    let quotas = PLANS.replacen('{', r#"{"record": {"rate": "rate", "burst": "burst"}, "#, 1);
    let directory = r#""directory": {"inline": {"tenants": [
        {"id": "acme"}, {"id": "globex", "plan": "pro"}, {"id": "odd", "plan": "gone"},
        {"id": "own", "fields": {"rate": "1/m", "burst": "3"}}]}},"#;
    let policy = Policy::from_json(document(&quotas, directory).as_bytes()).unwrap_or_else(|e| panic!("{e}"));
    let mut slots = Slots::default();
    let mut count = |tenant: &str, path: &str| {
        let charge = charge(&policy, tenant, path);
        (0..1000).filter(|_| slots.take(&charge, 100 * SECOND)).count()
    };
    assert_eq!(count("acme", "/search"), 2, "4 units, 2 each");
    assert_eq!(count("acme", "/"), 20, "the other bucket is untouched");
    assert_eq!(count("acme", "/export"), 0, "which is the same as that of exports");
    assert_eq!(count("globex", "/"), 200);
    assert_eq!(count("odd", "/"), 20, "a plan that is gone is the default");
    assert_eq!(count("own", "/"), 3);
}

#[test]
fn a_slot_full_of_tenants_refuses_others_until_one_is_done() {
    let quotas = PLANS.replace("64", "1");
    let policy = policy(&quotas);
    let mut slots = Slots::default();
    for n in 0..SLOT_TENANTS {
        assert!(slots.take(&charge(&policy, &format!("t{n}"), "/"), 100 * SECOND));
    }
    let other = charge(&policy, "other", "/");
    let Charged::Refuse { after, crowded, .. } = other.take(&slots.0[&0], 100 * SECOND) else { panic!() };
    assert_eq!((after, crowded), (SECOND / 10, true));
    assert!(slots.take(&other, 100 * SECOND + after));
}

#[test]
fn quotas_that_could_not_work_are_refused_with_their_path() {
    for (quotas, path) in [
        (PLANS.replace("\"free\", \"slots\"", "\"gone\", \"slots\""), "quotas.default"),
        (PLANS.replace("10/s", "10"), "quotas.plans.free.rate"),
        (PLANS.replace("10/s", "0/s"), "quotas.plans.free.rate"),
        (PLANS.replace("\"burst\": 20,", "\"burst\": 0,"), "quotas.plans.free.burst"),
        (PLANS.replace("\"burst\": 4}", "\"burst\": 1}"), "routes[0].quota.cost"),
        (PLANS.replace("\"search\"", "\"other\""), "routes[0].quota.class"),
        (PLANS.replace("64", "0"), "quotas.slots"),
        ("null".into(), "routes[0].quota"),
    ] {
        let error = Policy::from_json(document(&quotas, "").as_bytes()).unwrap_err();
        assert_eq!(error.path(), path, "{quotas}: {error}");
    }
}
