//! The life of a key set in the real Envoy, with two workers and an issuer on loopback: rotations,
//! floods, cold starts, outages, swaps. The machine itself is tested beside its source, and under
//! a virtual clock in `simulation.rs`; here is proved that Envoy plays along.

#[path = "rotation/crowd.rs"]
mod crowd;
#[path = "rotation/scene.rs"]
mod scene;
#[path = "rotation/stage.rs"]
mod stage;
#[path = "rotation/timeline.rs"]
mod timeline;

use std::{
    thread,
    time::{Duration, Instant},
};

use portcullis_host_tests::{
    envoy::{self, Discovered, Envoy, config},
    loopback::{Answer, Connection, Endpoint, Reply, Request},
};
use scene::{ISSUER, OURS, configuration, issuer, key, only, published, token};
use serde_json::json;
use stage::{Scene, metric_of, short_life};

/// What a busy machine may add to a stated time.
const SLACK: Duration = Duration::from_secs(3);

fn call(scene: &Scene, path: &str, token: &str) -> Reply {
    scene.envoy.connect(OURS).unwrap().call(&Request::get(path).bearer(token)).unwrap()
}

fn status(scene: &Scene, token: &str) -> u16 {
    call(scene, "/", token).status
}

/// The statuses of `count` requests, each on a connection of its own so that both workers see some.
fn statuses(scene: &Scene, token: &str, count: usize) -> Vec<u16> {
    let mut found: Vec<u16> = (0..count).map(|_| status(scene, token)).collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// Asks again until `token` gets `wanted`; how long that took, and what came before it.
fn until(scene: &Scene, token: &str, wanted: u16, limit: Duration) -> (Duration, Vec<u16>) {
    let start = Instant::now();
    let mut before = Vec::new();
    loop {
        let got = status(scene, token);
        if got == wanted {
            return (start.elapsed(), before);
        }
        before.push(got);
        assert!(start.elapsed() < limit, "still {got}, not {wanted}, after {limit:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// That the issuer was asked so many times; if not, with what the module counted.
fn assert_fetches(issuer: &Endpoint, envoy: &Envoy, most: u64) {
    let fetches = issuer.fetches();
    if fetches > most {
        let counted: Vec<_> = envoy
            .stats()
            .unwrap()
            .into_iter()
            .filter(|(name, _)| name.contains("portcullis.jwt.issuer"))
            .collect();
        let seen: Vec<_> =
            issuer.seen().into_iter().map(|seen| seen.to_json()["headers"].to_string()).collect();
        panic!("{fetches} fetches and not {most}: {counted:#?} {seen:#?}");
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

#[test]
fn a_disjoint_rotation_under_load_refuses_no_token() {
    let Some(binary) = envoy::binary_unless_skipped() else { return };
    let plan = timeline::Plan {
        native_cache: 5,
        rotate_after: Duration::from_millis(1500),
        end: Duration::from_secs(8),
        clients: 4,
        every: Duration::from_millis(25),
    };

    let run = timeline::run(&binary, &plan).unwrap();

    let (ours, refused) = run.refused(&run.ours);
    let (native, native_refused) = run.refused(&run.native);
    let new = run.ours.iter().filter(|sample| sample.with_new_key);
    let longest = new.clone().map(|sample| sample.took).max().unwrap();
    println!("jwt-auth: {refused} of {ours} refused, {} fetches, longest wait {longest:?}", run.fetches.0);
    println!("jwt_authn: {native_refused} of {native} refused, {} fetches", run.fetches.1);
    println!("the issuer's key was another one after {:?}", run.rotated_at);
    assert!(new.count() > 100 && native > 100, "no load");
    assert_eq!(refused, 0);
    assert!(native_refused > 0, "the comparison has no rotation in it");
    assert!((2..=4).contains(&run.fetches.0), "{}", run.fetches.0);
}

#[test]
fn a_flood_of_unknown_keys_causes_four_fetches_a_minute_and_hurts_no_good_request() {
    let Some(binary) = envoy::binary_unless_skipped() else { return };
    let good = key("good", 1);
    let scene = Scene::start(&binary, &only(&json!({})), published(&[&good]), 2).unwrap();
    let started = Instant::now();
    let token = token(&good);
    assert_eq!(statuses(&scene, &token, 20), [200]);
    let timed = |count: usize| -> Vec<Duration> {
        let mut connection = scene.envoy.connect(OURS).unwrap();
        let request = Request::get("/").bearer(&token);
        let one = |_| {
            let start = Instant::now();
            assert_eq!(connection.call(&request).unwrap().status, 200);
            start.elapsed()
        };
        (0..count).map(one).collect()
    };
    let quiet = median(timed(200));
    // Names that nobody has, and signatures that are none under the name that somebody has.
    let attack: Vec<String> = (0..10_000)
        .map(|number| {
            let kid = if number % 4 == 0 { "good".into() } else { format!("random-{number}") };
            let token = scene::claims(ISSUER).header("alg", "ES256").header("kid", kid);
            token.raw().signature([7; 64]).compact()
        })
        .collect();

    let (outcomes, during) = thread::scope(|scope| {
        let flood = scope.spawn(|| crowd::crowd(scene.envoy.address(OURS), &attack, 60).unwrap());
        let mut during = Vec::new();
        while !flood.is_finished() {
            during.extend(timed(5));
        }
        (flood.join().unwrap(), during)
    });

    let took = outcomes.iter().map(|outcome| outcome.sent).max().unwrap() - started;
    let count = |status: u16| outcomes.iter().filter(|outcome| outcome.status == status).count();
    let good = during.len();
    println!("{} requests in {took:?}: {} times 401, {} times 503", outcomes.len(), count(401), count(503));
    println!(
        "{good} good requests between them; median {:?}, without the flood {quiet:?}",
        median(during.clone())
    );
    println!("{} fetches", scene.issuer.fetches());
    assert!(took < Duration::from_secs(60), "the bound is for a minute");
    assert_eq!(count(401) + count(503), attack.len());
    assert!(outcomes.iter().all(|outcome| (outcome.status == 503) == outcome.retry_after.is_some()));
    assert_fetches(&scene.issuer, &scene.envoy, 4);
    assert!(good > 50 && median(during) < Duration::from_millis(500));
    assert_eq!(statuses(&scene, &token, 20), [200]);
}

#[test]
fn a_thousand_requests_at_a_cold_start_cause_one_fetch() {
    let Some(binary) = envoy::binary_unless_skipped() else { return };
    let good = key("good", 1);
    let delay = Duration::from_secs(2);
    let issuers = [issuer("main", ISSUER, "idp", &json!({}))];
    // More time than the issuer needs: what is tested is who fetches, not who gives up.
    let slow = configuration(&issuers, "/", "30s");
    let scene = Scene::start(&binary, &slow, published(&[&good]).after(delay), 2).unwrap();
    // The answer is due after the delay at the latest, for the fetch is under way.
    let answer = Instant::now() + delay;
    let tokens = vec![token(&good); 1000];

    let outcomes = crowd::crowd(scene.envoy.address(OURS), &tokens, 1000).unwrap();

    let before = outcomes.iter().filter(|outcome| outcome.sent < answer).count();
    println!("{before} of {} were sent before the issuer answered", outcomes.len());
    let refused: Vec<u16> = outcomes.iter().map(|o| o.status).filter(|status| *status != 200).collect();
    assert_eq!(refused, &[] as &[u16]);
    assert_eq!(outcomes.len(), 1000);
    assert_fetches(&scene.issuer, &scene.envoy, 1);
}

#[test]
fn an_issuer_that_is_down_costs_known_keys_nothing_for_the_stated_time() {
    let Some(binary) = envoy::binary_unless_skipped() else { return };
    let (known, unknown) = (key("known", 1), key("unknown", 2));
    let dead = "https://dead.example";
    let issuers = [issuer("main", ISSUER, "idp", &short_life()), issuer("dead", dead, "dead", &short_life())];
    let configuration = configuration(&issuers, "/", "1s");
    let scene = Scene::start(&binary, &configuration, published(&[&known]), 2).unwrap();
    let (token, other) = (token(&known), token(&unknown));
    let dead = scene::claims(dead).compact(&known).unwrap();
    let unavailable = |reply: &Reply| {
        assert_eq!(reply.status, 503);
        assert_eq!(reply.json().unwrap()["code"], "KEYS_UNAVAILABLE");
        let after: u64 = reply.one("retry-after").unwrap().parse().unwrap();
        assert!((1..=60).contains(&after), "{after}");
    };
    assert_eq!(statuses(&scene, &token, 20), [200]);

    scene.issuer.set(Answer::status(500));
    let down = Instant::now();
    unavailable(&call(&scene, "/", &other));
    unavailable(&call(&scene, "/", &dead));
    // Fresh for 3 s from the last fetch, which was at most 3 s ago, then stale for 3 s.
    let (_, before) = until(&scene, &token, 503, Duration::from_secs(6) + SLACK);
    let usable = down.elapsed();
    println!("known keys went on for {usable:?}");
    assert!(before.iter().all(|status| *status == 200), "{before:?}");
    assert!(usable > Duration::from_secs(2), "not used while stale");
    unavailable(&call(&scene, "/", &token));

    scene.issuer.set(published(&[&known, &unknown]));
    let (back, before) = until(&scene, &token, 200, Duration::from_secs(1) + SLACK);
    println!("recovered after {back:?}");
    assert!(before.iter().all(|status| *status == 503), "{before:?}");
    assert_eq!(until(&scene, &other, 200, SLACK).1.iter().find(|status| **status == 401), None);
    unavailable(&call(&scene, "/", &dead));
}

#[test]
fn a_key_that_is_replaced_under_its_name_is_followed_by_one_fetch() {
    let Some(binary) = envoy::binary_unless_skipped() else { return };
    let (old, new) = (key("same", 1), key("same", 2));
    assert_ne!(old.jwk(), new.jwk());
    let scene = Scene::start(&binary, &only(&json!({})), published(&[&old]), 2).unwrap();
    assert_eq!(statuses(&scene, &token(&old), 20), [200]);
    assert_fetches(&scene.issuer, &scene.envoy, 1);

    scene.issuer.set(published(&[&new]));

    assert_eq!(statuses(&scene, &token(&new), 20), [200]);
    assert_fetches(&scene.issuer, &scene.envoy, 2);
    let late = call(&scene, "/", &token(&old));
    assert_eq!((late.status, late.json().unwrap()["code"].as_str()), (401, Some("SIGNATURE_INVALID")));
    // The other worker has to ask as well, and may find the bound used up.
    let statuses_of_old = statuses(&scene, &token(&old), 20);
    assert!(statuses_of_old.iter().all(|status| matches!(status, 401 | 503)), "{statuses_of_old:?}");
    assert_eq!(statuses(&scene, &token(&new), 20), [200]);
    assert_fetches(&scene.issuer, &scene.envoy, 4);
}

#[test]
fn a_removed_key_is_refused_when_the_set_is_refreshed() {
    let Some(binary) = envoy::binary_unless_skipped() else { return };
    let (kept, stolen) = (key("kept", 1), key("stolen", 2));
    let scene = Scene::start(&binary, &only(&short_life()), published(&[&kept, &stolen]), 2).unwrap();
    let (good, bad) = (token(&kept), token(&stolen));
    assert_eq!(statuses(&scene, &bad, 20), [200]);

    scene.issuer.set(published(&[&kept]));

    let (took, before) = until(&scene, &bad, 401, Duration::from_secs(3) + SLACK);
    println!("refused after {took:?}");
    assert!(before.iter().all(|status| *status == 200), "{before:?}");
    thread::sleep(Duration::from_millis(1200));
    assert_eq!(statuses(&scene, &bad, 20), [401]);
    assert_eq!(statuses(&scene, &good, 20), [200]);
    let log = scene.envoy.log().unwrap();
    assert!(log.contains("key `stolen`") && log.contains("is accepted no more"), "no line about the key");
}

#[test]
fn a_new_configuration_takes_the_shared_set_over() {
    let Some(binary) = envoy::binary_unless_skipped() else { return };
    let good = key("good", 1);
    let token = token(&good);
    let issuer = Endpoint::start(published(&[&good])).unwrap();
    let (folder, module) = scene::module().unwrap();
    let issuers = [scene::issuer("main", ISSUER, "idp", &json!({}))];
    let typed = |path| config::wasm_config(OURS, &module, &configuration(&issuers, path, "5s"));
    let mut discovered = Discovered::create(folder.path(), OURS, &typed("/")).unwrap();
    let listener = config::Listener::new(OURS).filter(config::discovered(OURS, &discovered));
    let bootstrap = scene::clusters(&issuer).unwrap().listener(listener);
    let envoy = scene::start(&binary, bootstrap, 2).unwrap();
    let call = |path: &str| {
        let request = Request::get(path).bearer(&token);
        envoy.connect(OURS).unwrap().call(&request).unwrap().status
    };
    let reloads = |count| {
        let name = format!("extension_config_discovery.http_filter.{OURS}.config_reload");
        envoy.wait_for_stat(&name, Duration::from_secs(20), |value| value >= count).unwrap();
    };
    reloads(1);
    assert!((0..20).all(|_| call("/") == 200));
    assert_fetches(&issuer, &envoy, 1);

    discovered.swap(&typed("/api")).unwrap();
    reloads(2);
    let deadline = Instant::now() + Duration::from_secs(20);
    // Ten in a row: both workers have it.
    let mut in_a_row = 0;
    while in_a_row < 10 {
        let status = call("/");
        assert!(status == 200 || status == 403, "{status} while the configuration is swapped");
        in_a_row = if status == 403 { in_a_row + 1 } else { 0 };
        assert!(Instant::now() < deadline, "the new configuration is not used");
    }

    assert!((0..20).all(|_| call("/api") == 200));
    thread::sleep(Duration::from_millis(1500));
    assert_fetches(&issuer, &envoy, 1);
    assert!(metric_of(&envoy, "main", "taken_over").unwrap() >= 1);
    assert_eq!(metric_of(&envoy, "main", "keys").unwrap(), 1);
}

#[test]
fn a_client_that_goes_away_while_it_waits_leaves_nothing() {
    let Some(binary) = envoy::binary_unless_skipped() else { return };
    let good = key("good", 1);
    let delay = Duration::from_secs(8);
    let slow: Vec<_> = vec![issuer("main", ISSUER, "idp", &json!({}))];
    let mut configuration = configuration(&slow, "/", "30s");
    configuration["issuers"][0]["jwks"]["remote"]["timeout"] = json!("20s");
    // One worker, for each writes the gauges as it sees things.
    let scene = Scene::start(&binary, &configuration, published(&[&good]).after(delay), 1).unwrap();
    let request = Request::get("/").bearer(&token(&good)).to_bytes();
    let mut clients: Vec<Connection> = (0..10).map(|_| scene.envoy.connect(OURS).unwrap()).collect();
    for client in &mut clients {
        client.send(&request).unwrap();
    }
    let waiting = |wanted: u64| {
        let deadline = Instant::now() + Duration::from_secs(5);
        while scene.metric("main", "waiting").unwrap() != wanted {
            assert!(Instant::now() < deadline, "never {wanted} wait");
            thread::sleep(Duration::from_millis(20));
        }
    };
    waiting(10);

    let kept = clients.split_off(8);
    drop(clients);

    waiting(2);
    for mut client in kept {
        assert_eq!(client.reply(false).unwrap().status, 200);
    }
    waiting(0);
    assert_eq!(scene.envoy.stat(&format!("http.{OURS}.downstream_rq_active")).unwrap(), 0);
    assert_eq!(status(&scene, &token(&good)), 200);
    assert_fetches(&scene.issuer, &scene.envoy, 1);
}
