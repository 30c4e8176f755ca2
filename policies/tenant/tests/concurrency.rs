//! Places: nobody takes another's, none is free while somebody waits, and none is lost.

use std::collections::BTreeMap;

use portcullis_core::{Code, Request};
use portcullis_tenant::{
    Evidence, Origin, Policy, Unknown,
    concurrency::{Claim, Full, Part, SILENCE, Table},
};

const KEY: [u8; 16] = [7; 16];
const SILENT: u64 = SILENCE.as_nanos() as u64;

struct Token(String);

impl Evidence for Token {
    fn of(&self, _: &Origin) -> Result<Option<Vec<u8>>, Unknown> {
        Ok(Some(format!(r#"{{"main":{{"org":"{}","sub":"u"}}}}"#, self.0).into_bytes()))
    }
}

/// Tenants `t0` to `t11`; each is on the plan of its number modulo 4, plus 1.
fn document(concurrency: &str, search: bool) -> String {
    let route = r#"{"path": {"prefix": "/search"}, "class": "tenant", "quota": {"class": "search"}},"#;
    let search = if search { route } else { "" };
    let tenants: Vec<_> = (0..12).map(|n| format!(r#"{{"id": "t{n}", "plan": "p{}"}}"#, n % 4 + 1)).collect();
    format!(
        r#"{{"directory": {{"inline": {{"tenants": [{}]}}}},
             "sources": [{{"header": "x-tenant-id", "by": "id"}}],
             "proofs": [{{"name": "main", "jwt_auth": "main", "tenant": "org"}}],
             "routes": [
               {search}
               {{"path": {{"prefix": "/"}}, "class": "tenant"}}],
             "concurrency": {concurrency}}}"#,
        tenants.join(",")
    )
}

fn policy(concurrency: &str) -> Policy {
    Policy::from_json(document(concurrency, concurrency.contains("search")).as_bytes())
        .unwrap_or_else(|error| panic!("{error}"))
}

fn claim(policy: &Policy, tenant: &str, path: &str) -> Option<Claim> {
    let headers: [(&[u8], &[u8]); 4] = [
        (b":method", b"GET"),
        (b":authority", b"app.test"),
        (b":path", path.as_bytes()),
        (b"x-tenant-id", tenant.as_bytes()),
    ];
    let outcome = policy.decide(&Request::new(&headers), &Token(tenant.into()));
    policy.claim(&outcome, &KEY)
}

fn default(policy: &Policy, tenant: usize) -> Claim {
    claim(policy, &format!("t{tenant}"), "/").unwrap()
}

/// The workers of one proxy over one shared value.
struct Proxy {
    shared: Vec<u8>,
    workers: Vec<Part>,
    now: u64,
}

impl Proxy {
    fn new(workers: usize) -> Self {
        Self { shared: Vec::new(), workers: vec![Part::default(); workers], now: 1_000 * SILENT }
    }

    fn say(&mut self, worker: usize) -> Table {
        let mut table = Table::read(&self.shared).unwrap();
        table.put(worker as u64, &self.workers[worker], self.now);
        self.shared = table.write();
        table
    }

    fn enter(&mut self, worker: usize, claim: &Claim) -> Result<u32, Full> {
        let decided = claim.decide(&self.say(worker));
        if decided.is_ok() {
            self.workers[worker].enter(claim.whose(), claim.weight());
            self.say(worker);
        }
        decided
    }

    fn leave(&mut self, worker: usize, claim: &Claim) {
        self.workers[worker].leave(claim.whose());
        self.say(worker);
    }

    fn in_use(&self) -> u32 {
        u32::try_from(Table::read(&self.shared).unwrap().in_use()).unwrap()
    }

    fn has(&self, claim: &Claim) -> u32 {
        let tenants = Table::read(&self.shared).unwrap().tenants();
        tenants.get(&claim.whose()).map_or(0, |held| held.count)
    }

    fn fill(&mut self, worker: usize, claim: &Claim) -> u32 {
        (0..).take_while(|_| self.enter(worker, claim).is_ok()).count() as u32
    }
}

#[test]
fn a_noisy_tenant_leaves_room_and_a_quiet_one_comes_to_its_share_as_requests_end() {
    let policy = policy(r#"{"classes": {"default": {"total": 20, "reserve": 4}}}"#);
    let (noisy, quiet) = (default(&policy, 0), default(&policy, 4));
    let mut proxy = Proxy::new(1);
    assert_eq!(proxy.fill(0, &noisy), 16, "all but the reserve");
    assert_eq!(proxy.enter(0, &noisy), Err(Full::Tenant));
    // The first half of the reserve is anybody's below its share, the other one of those with little.
    assert_eq!(proxy.fill(0, &quiet), 2);
    assert_eq!(proxy.enter(0, &quiet), Err(Full::All));
    assert_eq!(proxy.enter(0, &default(&policy, 8)), Ok(15), "a third one gets in still");
    proxy.leave(0, &default(&policy, 8));
    for ended in 1..=10 {
        proxy.leave(0, &noisy);
        let refused = proxy.enter(0, &noisy);
        let got = proxy.fill(0, &quiet);
        if ended <= 6 {
            assert_eq!((refused, got), (Err(Full::Share), 1), "after {ended}");
        }
    }
    assert_eq!((proxy.has(&noisy), proxy.has(&quiet)), (8, 8));
}

#[test]
fn weights_share_by_weight_and_each_limits_one_tenant() {
    let concurrency = r#"{"classes": {"default": {"total": 24, "reserve": 4, "each": 6},
        "search": {"total": 10, "reserve": 2}}, "weights": {"p4": 3}}"#;
    let policy = policy(concurrency);
    let mut proxy = Proxy::new(1);
    assert_eq!(proxy.fill(0, &default(&policy, 0)), 6);
    assert_eq!(proxy.enter(0, &default(&policy, 0)), Err(Full::Tenant));
    assert_eq!(proxy.fill(0, &default(&policy, 3)), 15, "its three quarters of what there is");
    let told = |left| default(&policy, 3).told(left);
    assert_eq!(
        told(4).headers(),
        [
            ("ratelimit-policy", r#""default.concurrent";q=18;qu="concurrent-requests""#),
            ("ratelimit", r#""default.concurrent";r=4"#)
        ]
    );
    // A class has places of its own, and one that is not limited needs none.
    let search = claim(&policy, "t0", "/search").unwrap();
    assert_eq!((search.class(), default(&policy, 0).class()), ("search", "default"));
    let only_search = self::policy(r#"{"classes": {"search": {"total": 10}}}"#);
    assert_eq!(claim(&only_search, "t0", "/"), None);
    let told = claim(&only_search, "t0", "/search").unwrap().told(0);
    assert_eq!(told.headers()[0].1, r#""search.concurrent";q=8;qu="concurrent-requests""#);
}

/// What every tenant gets of `room` by weight, if none gets more than it wants: by filling up, which
/// is another way than the policy's.
fn max_min(room: u32, wants: &[(u32, u32)]) -> Vec<f64> {
    let mut got = vec![0.0; wants.len()];
    let mut left = f64::from(room);
    let mut open: Vec<usize> = (0..wants.len()).collect();
    loop {
        let weight: f64 = open.iter().map(|at| f64::from(wants[*at].1)).sum();
        let Some(at) = open
            .iter()
            .position(|at| f64::from(wants[*at].0) <= left * f64::from(wants[*at].1) / weight + 1e-9)
        else {
            open.iter().for_each(|at| got[*at] = left * f64::from(wants[*at].1) / weight);
            return got;
        };
        let tenant = open.remove(at);
        got[tenant] = f64::from(wants[tenant].0);
        left -= got[tenant];
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u32) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % u64::from(bound.max(1))) as u32
    }
}

/// One run: `(total, reserve)`, the tenants' claims and wants, and who has what in which worker.
struct Run {
    total: u32,
    reserve: u32,
    claims: Vec<Claim>,
    wants: Vec<u32>,
    proxy: Proxy,
    under_way: Vec<(usize, usize)>,
    random: Random,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let total = 8 + random.below(60);
        let least = (total / 8).max(2);
        let reserve = least + random.below(total / 2 - least + 1);
        let weights = r#"{"p1": 1, "p2": 2, "p3": 3, "p4": 5}"#;
        let places = format!(r#"{{"total": {total}, "reserve": {reserve}}}"#);
        let policy = policy(&format!(r#"{{"classes": {{"default": {places}}}, "weights": {weights}}}"#));
        let tenants = 1 + random.below(10);
        let claims: Vec<_> = (0..tenants).map(|n| default(&policy, n as usize)).collect();
        let wants = claims.iter().map(|_| random.below(total + 5)).collect();
        let proxy = Proxy::new(1 + random.below(3) as usize);
        Self { total, reserve, claims, wants, proxy, under_way: Vec::new(), random }
    }

    fn room(&self) -> u32 {
        self.total - self.reserve
    }

    /// A tenant asks; what it is told must be so.
    fn ask(&mut self, tenant: usize) -> bool {
        let claim = self.claims[tenant].clone();
        let (own, used) = (self.proxy.has(&claim), self.proxy.in_use());
        let others = (0..self.claims.len()).filter(|other| *other != tenant);
        let mut held: Vec<_> =
            others.map(|at| (self.proxy.has(&self.claims[at]), self.claims[at].weight())).collect();
        held.push((u32::MAX, claim.weight()));
        let share = max_min(self.room(), &held)[held.len() - 1];
        let worker = self.random.below(self.proxy.workers.len() as u32) as usize;
        let decided = self.proxy.enter(worker, &claim);
        let free = self.total.saturating_sub(used);
        match decided {
            Ok(_) => {
                let fair = own == 0 || f64::from(own + 1) <= share + 1e-6;
                assert!(used < self.room() || fair, "beyond its share of {share}: {own}");
                self.under_way.push((worker, tenant));
            }
            // Nobody is refused while there is room outside of the reserve.
            Err(Full::Tenant) => assert!(own >= self.room()),
            Err(Full::Share) => {
                assert!(used >= self.room() && own > 0);
                assert!(f64::from(own + 1) > share - 1e-6, "{own} of {share}");
            }
            Err(Full::All) => {
                assert!(used >= self.room() && free <= self.reserve.div_ceil(2) && own >= free);
            }
        }
        assert!(self.proxy.in_use() <= self.total, "{} of {}", self.proxy.in_use(), self.total);
        assert!(own > 0 || free == 0 || decided.is_ok(), "a quiet tenant was kept out of a free place");
        decided.is_ok()
    }

    fn end_one(&mut self) {
        if self.under_way.is_empty() {
            return;
        }
        let at = self.random.below(self.under_way.len() as u32) as usize;
        let (worker, tenant) = self.under_way.swap_remove(at);
        self.proxy.leave(worker, &self.claims[tenant].clone());
    }

    /// Whoever wants more asks until it is refused, in any order.
    fn all_ask(&mut self) {
        let mut order: Vec<usize> = (0..self.claims.len()).collect();
        while !order.is_empty() {
            let tenant = order.swap_remove(self.random.below(order.len() as u32) as usize);
            while self.proxy.has(&self.claims[tenant]) < self.wants[tenant] && self.ask(tenant) {}
        }
    }
}

#[test]
fn every_decision_is_within_the_total_fair_and_keeps_nothing_free() {
    for seed in 0..150 {
        let mut run = Run::new(seed);
        for _ in 0..400 {
            if run.random.below(3) == 0 {
                run.end_one();
            } else {
                let tenant = run.random.below(run.claims.len() as u32) as usize;
                run.ask(tenant);
            }
        }
    }
}

#[test]
fn whoever_keeps_asking_comes_to_its_max_min_share() {
    for seed in 0..200 {
        let mut run = Run::new(seed);
        // From the worst beginning: the first one has all that it can get.
        while run.ask(0) {}
        for _ in 0..run.total * 6 {
            run.end_one();
            run.all_ask();
        }
        let wants: Vec<_> =
            run.wants.iter().zip(&run.claims).map(|(want, own)| (*want, own.weight())).collect();
        let shares = max_min(run.room(), &wants);
        for (at, share) in shares.iter().enumerate() {
            let has = run.proxy.has(&run.claims[at]);
            // One of its requests has just ended, and the places of the reserve may all be taken.
            assert!(f64::from(has + 1) + 1e-6 >= share.floor(), "seed {seed}: {at} has {has} of {share}");
        }
        let wanted: u32 = run.wants.iter().sum();
        assert!(run.proxy.in_use() >= wanted.min(run.room()), "seed {seed}: places stay free");
    }
}

#[test]
fn the_places_of_a_worker_that_has_died_come_back() {
    let policy = policy(r#"{"classes": {"default": {"total": 10, "reserve": 2}}}"#);
    let (first, second) = (default(&policy, 0), default(&policy, 1));
    let mut proxy = Proxy::new(2);
    assert_eq!(proxy.fill(0, &first), 8);
    proxy.now += SILENT - 1;
    assert_eq!(proxy.enter(1, &first), Err(Full::Tenant), "it may only be slow");
    proxy.now += 1;
    assert_eq!(proxy.enter(1, &first), Ok(7));
    assert_eq!(proxy.in_use(), 1);
    // It was only slow: what it has counts again, so that for once there is more than the total, by
    // no more than it had; and until that has ended nobody gets in.
    assert_eq!(proxy.fill(1, &first), 7);
    proxy.say(0);
    assert_eq!(proxy.in_use(), 8 + 8);
    assert_eq!(proxy.enter(1, &second), Err(Full::All));
    (0..8).for_each(|_| proxy.leave(0, &first));
    assert_eq!((proxy.in_use(), proxy.enter(1, &second)), (8, Ok(7)));
}

#[test]
fn a_clock_that_steps_back_drops_what_it_cannot_tell_and_keeps_what_is_said_again() {
    let policy = policy(r#"{"classes": {"default": {"total": 10, "reserve": 2}}}"#);
    let first = default(&policy, 0);
    let mut proxy = Proxy::new(2);
    assert_eq!(proxy.fill(0, &first), 8);
    proxy.now -= 100 * SILENT;
    assert_eq!(proxy.enter(1, &first), Ok(7), "a dead worker's time never comes");
    proxy.say(0);
    assert_eq!(proxy.in_use(), 9);
}

#[test]
fn what_was_lost_comes_right_with_the_next_change() {
    let policy = policy(r#"{"classes": {"default": {"total": 10, "reserve": 2}}}"#);
    let first = default(&policy, 0);
    let mut proxy = Proxy::new(1);
    proxy.fill(0, &first);
    // The end of six could not be written.
    (0..6).for_each(|_| proxy.workers[0].leave(first.whose()));
    assert_eq!(proxy.in_use(), 8);
    assert_eq!(proxy.enter(0, &first), Ok(5));
    assert_eq!(proxy.in_use(), 3);
    // One end too many is none.
    (0..9).for_each(|_| proxy.leave(0, &first));
    assert_eq!((proxy.in_use(), proxy.shared.len()), (0, 0));
}

#[test]
fn what_is_shared_reads_back_and_nothing_else_is_read() {
    let policy = policy(r#"{"classes": {"default": {"total": 40}}}"#);
    let mut proxy = Proxy::new(2);
    for (worker, tenant) in [(0, 0), (0, 1), (1, 1), (1, 2), (1, 2)] {
        proxy.enter(worker, &default(&policy, tenant)).unwrap();
    }
    let table = Table::read(&proxy.shared).unwrap();
    assert_eq!(table.tenants().values().map(|held| held.count).sum::<u32>(), 5);
    assert_eq!(table.write(), proxy.shared);
    let whole: BTreeMap<usize, ()> = [(0, ()), (20 + 32, ()), (40 + 64, ())].into();
    for end in 0..=proxy.shared.len() {
        assert_eq!(Table::read(&proxy.shared[..end]).is_some(), whole.contains_key(&end), "{end}");
    }
    assert_eq!(Table::read(&[0xff; 64]), None);
}

#[test]
fn denials_say_when_to_come_again() {
    for (full, code, status) in [
        (Full::Tenant, Code::TenantConcurrencyExceeded, 429),
        (Full::Share, Code::TenantConcurrencyExceeded, 429),
        (Full::All, Code::TenantCapacityExhausted, 503),
    ] {
        let denial = full.denial();
        assert_eq!((denial.code(), denial.status(), denial.retry_after_secs()), (code, status, Some(1)));
    }
}

#[test]
fn limits_that_could_not_work_are_refused_with_their_path() {
    for (concurrency, path) in [
        (r#"{"classes": {}}"#, "concurrency.classes"),
        (r#"{"classes": {"default": {"total": 3}}}"#, "concurrency.classes.default.total"),
        (r#"{"classes": {"default": {"total": 5000}}}"#, "concurrency.classes.default.total"),
        (r#"{"classes": {"default": {"total": 10, "reserve": 1}}}"#, "concurrency.classes.default.reserve"),
        (r#"{"classes": {"default": {"total": 80, "reserve": 9}}}"#, "concurrency.classes.default.reserve"),
        (r#"{"classes": {"default": {"total": 80, "reserve": 10}}}"#, "routes[0].quota.class"),
        (r#"{"classes": {"default": {"total": 10, "reserve": 6}}}"#, "concurrency.classes.default.reserve"),
        (r#"{"classes": {"default": {"total": 10, "each": 9}}}"#, "concurrency.classes.default.each"),
        (r#"{"classes": {"default": {"total": 10, "each": 0}}}"#, "concurrency.classes.default.each"),
        (r#"{"classes": {"default": {"total": 10}}}"#, "routes[0].quota.class"),
        (r#"{"classes": {"search": {"total": 10}, "other": {"total": 10}}}"#, "concurrency.classes.other"),
        (r#"{"classes": {"sea rch": {"total": 10}}}"#, "concurrency.classes.sea rch"),
        (r#"{"classes": {"search": {"total": 10}}, "weights": {"p1": 0}}"#, "concurrency.weights.p1"),
        (r#"{"classes": {"search": {"total": 10, "burst": 1}}}"#, "concurrency.classes.search.burst"),
        ("null", "routes[0].quota"),
    ] {
        let error = Policy::from_json(document(concurrency, true).as_bytes()).unwrap_err();
        assert_eq!(error.path(), path, "{concurrency}: {error}");
    }
}
