//! What the module does beyond the catalogue: trailers, published claims, several issuers, broken
//! requests, and configurations that come and go.

use anyhow::{Context as _, Result, ensure};
use portcullis_host::{Engine, Module, Outcome, Plugin, Process, StreamInfo, VirtualClock, Worker};
use portcullis_host_tests::subject::{Judgement, Native, judgement};
use portcullis_issuer::{Seed, Setup, catalogue};
use serde_json::{Value, json};

const NOW: i64 = 1_767_225_600;

fn setup() -> Result<Setup> {
    Ok(Setup::new(&Seed::new([5; 32]), "https://issuer", "api", NOW)?)
}

fn worker(configuration: &Value) -> Result<Worker> {
    let process = Process::builder().clock(VirtualClock::at_unix_seconds(NOW.unsigned_abs())).seed(1).build();
    let module = Module::compile(&Engine::new()?, portcullis_modules::JWT_AUTH.wasm)?;
    let mut worker = Worker::new(&process);
    worker.add(&module, Plugin::new("jwt-auth").configuration(configuration.to_string()))?;
    Ok(worker)
}

type Headers<'h> = Vec<(&'h str, &'h [u8])>;

fn get<'h>(more: &[(&'h str, &'h str)]) -> Headers<'h> {
    let fixed = [(":method", "GET"), (":path", "/orders"), (":authority", "a"), (":scheme", "https")];
    fixed.iter().chain(more).map(|(name, value)| (*name, value.as_bytes())).collect()
}

fn ask(worker: &mut Worker, headers: Headers<'_>) -> Outcome {
    let stream = worker.open(StreamInfo::new());
    let outcome = worker.request_headers(stream, headers, true);
    worker.close(stream);
    outcome
}

fn code(outcome: &Outcome) -> Result<String> {
    match judgement(outcome)? {
        Judgement::Forwarded(_) => Ok("FORWARDED".into()),
        Judgement::Refused(refusal) => refusal.code.context("refused without a code"),
    }
}

#[test]
fn broken_requests_are_answered_and_harm_nobody() -> Result<()> {
    let setup = setup()?;
    let bearer = format!("Bearer {}", setup.token().compact(&setup.keys.ec)?);
    let mut worker = worker(&setup.jwt_auth_config())?;
    let huge = "a".repeat(1 << 20);
    let long_cookie = "a=b; ".repeat(20_000);
    let not_text: &[u8] = b"Bearer \xff\xfe.\x00\x01.\x80";
    let requests: Vec<Headers<'_>> = vec![
        vec![],
        vec![("authorization", bearer.as_bytes())],
        vec![(":method", b"GET")],
        vec![(":path", b"\xff"), (":method", b"\xff"), (":authority", b"\xff")],
        get(&[(":path", "/other"), ("authorization", &bearer)]),
        [get(&[]), vec![("authorization", not_text)]].concat(),
        [get(&[]), vec![("x-sub", b"\xff"), ("\u{fc}", b"")]].concat(),
        get(&[("authorization", ""), ("authorization", "")]),
        get(&[("authorization", &huge)]),
        get(&[("cookie", &long_cookie)]),
        get(&[("", "")]),
    ];
    for request in requests {
        let shown = format!("{:.200}", format!("{request:?}"));
        let outcome = ask(&mut worker, request);
        ensure!(outcome.trap().is_none(), "trapped on {shown}");
        ensure!(outcome.reply().is_some() || shown.contains("Bearer") || outcome.is_forward(), "{shown}");
        let next = ask(&mut worker, get(&[("authorization", &bearer)]));
        ensure!(code(&next)? == "FORWARDED", "the request after {shown}");
    }
    Ok(())
}

/// The module decodes with vectors what the native policy decodes with a table.
#[test]
fn a_token_with_any_byte_replaced_is_judged_as_the_native_policy_judges_it() -> Result<()> {
    let setup = setup()?;
    let configuration = setup.jwt_auth_config();
    let (mut worker, native) = (worker(&configuration)?, Native::load(&configuration, NOW)?);
    let token = setup.token().compact(&setup.keys.ec)?.into_bytes();
    let beside = b"@[`{/:,+=.-_~ \x7f\x80\xff";
    for at in 0..token.len() {
        // All of them would take a minute; what is beside the alphabet's ranges is what matters.
        for byte in beside.iter().chain(b"AZaz09").copied().skip(at % 2).step_by(2) {
            let mut changed = token.clone();
            changed[at] = byte;
            let header = [b"Bearer ", changed.as_slice()].concat();
            let request = [get(&[]), vec![("authorization", header.as_slice())]].concat();
            let found = code(&ask(&mut worker, request))?;
            let expected = native.code(&changed, NOW).map_or("FORWARDED", |code| code.as_str());
            ensure!(found == expected, "byte {at} is {byte:#x}: {found}, natively {expected}");
        }
    }
    Ok(())
}

#[test]
fn the_catalogue_holds_with_tokens_in_cookies_and_queries() -> Result<()> {
    let setup = Setup { cookie: Some("session".into()), query: Some("access_token".into()), ..setup()? };
    let mut worker = worker(&setup.jwt_auth_config())?;
    let mut objections = Vec::new();
    for case in catalogue(&setup)? {
        let pseudo = [(":method", case.request.method.as_bytes()), (":path", case.request.path.as_bytes())];
        let others = case.request.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice()));
        let headers =
            pseudo.into_iter().chain([(":authority", &b"gateway"[..]), (":scheme", b"https")]).chain(others);
        let code = code(&ask(&mut worker, headers.collect()))?;
        let expected: Vec<String> = match &case.expect {
            portcullis_issuer::Expect::Allow => vec!["FORWARDED".into()],
            portcullis_issuer::Expect::Deny(codes) => codes.iter().map(|code| code.as_str().into()).collect(),
        };
        if !expected.contains(&code) {
            objections.push(format!("{}: {code}, not {expected:?}", case.name));
        }
    }
    assert!(objections.is_empty(), "{}", objections.join("\n"));
    Ok(())
}

#[test]
fn owned_names_are_removed_from_trailers_too() -> Result<()> {
    let setup = setup()?;
    let bearer = format!("Bearer {}", setup.token().compact(&setup.keys.ec)?);
    let mut worker = worker(&setup.jwt_auth_config())?;
    let stream = worker.open(StreamInfo::new());
    let outcome = worker.request_headers(stream, get(&[("authorization", &bearer)]), false);
    assert_eq!(code(&outcome)?, "FORWARDED");
    let outcome =
        worker.request_trailers(stream, [("x-sub", "mallory"), ("X_Sub", "mallory"), ("checksum", "1")]);
    let Outcome::Forward(pieces) = &outcome else { anyhow::bail!("{outcome:?}") };
    let trailers = format!("{pieces:?}");
    assert!(!trailers.contains("sub") && trailers.contains("checksum"), "{trailers}");
    worker.close(stream);
    Ok(())
}

#[test]
fn a_module_without_a_valid_configuration_is_refused_and_the_old_one_stays() -> Result<()> {
    let setup = setup()?;
    let bearer = format!("Bearer {}", setup.token().compact(&setup.keys.ec)?);
    let mut worker = worker(&setup.jwt_auth_config())?;
    for broken in ["", "{", "{}", "{\"issuers\": [], \"rules\": []}", "\u{0}"] {
        let refused = worker.reconfigure(0, broken).expect_err(broken);
        ensure!(!format!("{refused}").to_lowercase().contains("trap"), "{broken:?}: {refused}");
        let log: String = refused.log().iter().map(|line| format!("{line}\n")).collect();
        ensure!(log.contains("configuration refused: `"), "no reason for {broken:?}: {log}");
        assert_eq!(code(&ask(&mut worker, get(&[("authorization", &bearer)])))?, "FORWARDED");
        assert_eq!(code(&ask(&mut worker, get(&[])))?, "MISSING_TOKEN");
    }
    let mut other = setup.jwt_auth_config();
    other["issuers"][0]["audiences"] = json!(["another"]);
    worker.reconfigure(0, other.to_string())?;
    assert_eq!(code(&ask(&mut worker, get(&[("authorization", &bearer)])))?, "AUDIENCE_MISMATCH");
    Ok(())
}

/// Two issuers with keys of their own and tokens in places of their own.
fn two_issuers(require: &Value) -> Result<(Setup, Setup, Worker)> {
    let first = setup()?;
    let second = Setup {
        subject: "service".into(),
        subject_header: "x-service".into(),
        ..Setup::new(&Seed::new([6; 32]), "https://second", "api", NOW)?
    };
    let mut configuration = first.jwt_auth_config();
    let mut other = second.jwt_auth_config()["issuers"][0].take();
    other["name"] = json!("second");
    other["from"] = json!({"headers": [{"name": "x-service-token"}]});
    configuration["issuers"].as_array_mut().context("no issuers")?.push(other);
    configuration["rules"] = json!([{"path": {"prefix": "/"}, "require": require}]);
    let worker = worker(&configuration)?;
    Ok((first, second, worker))
}

#[test]
fn all_asks_for_a_token_of_each_issuer() -> Result<()> {
    let (first, second, mut worker) = two_issuers(&json!({"all": ["main", "second"]}))?;
    let user = format!("Bearer {}", first.token().compact(&first.keys.ec)?);
    let service = second.token().compact(&second.keys.ec)?;
    let foreign = first.token().compact(&first.keys.ec)?;
    let stream = worker.open(StreamInfo::new());
    let outcome =
        worker.request_headers(stream, get(&[("authorization", &user), ("x-service-token", &service)]), true);
    let judged = judgement(&outcome)?;
    worker.close(stream);
    for (header, expected) in [
        ("x-sub", vec!["alice"]),
        ("x-service", vec!["service"]),
        ("authorization", vec![]),
        ("x-service-token", vec![]),
    ] {
        assert_eq!(
            judged.upstream(header),
            Some(expected.into_iter().map(String::from).collect()),
            "{header}"
        );
    }
    for (headers, expected) in [
        (vec![("authorization", &user)], "MISSING_TOKEN"),
        (vec![("x-service-token", &service)], "MISSING_TOKEN"),
        (vec![("authorization", &user), ("x-service-token", &foreign)], "ISSUER_MISMATCH"),
        (
            vec![("authorization", &user), ("x-service-token", &service), ("x-service-token", &service)],
            "MULTIPLE_TOKENS",
        ),
    ] {
        let headers: Vec<_> = headers.into_iter().map(|(name, value)| (name, value.as_str())).collect();
        assert_eq!(code(&ask(&mut worker, get(&headers)))?, expected, "{headers:?}");
    }
    Ok(())
}

#[test]
fn any_takes_one_token_from_the_place_of_its_issuer() -> Result<()> {
    let (first, second, mut worker) = two_issuers(&json!({"any": ["main", "second"]}))?;
    let user = format!("Bearer {}", first.token().compact(&first.keys.ec)?);
    let service = second.token().compact(&second.keys.ec)?;
    let misplaced = format!("Bearer {service}");
    // The second issuer's key, under the first issuer's name.
    let crossed = format!("Bearer {}", first.token().compact(&second.keys.ec)?);
    for (headers, expected) in [
        (vec![("authorization", &user)], "FORWARDED"),
        (vec![("x-service-token", &service)], "FORWARDED"),
        (vec![("authorization", &user), ("x-service-token", &service)], "MULTIPLE_TOKENS"),
        (vec![("authorization", &misplaced)], "ISSUER_MISMATCH"),
        (vec![("authorization", &crossed)], "SIGNATURE_INVALID"),
    ] {
        let headers: Vec<_> = headers.into_iter().map(|(name, value)| (name, value.as_str())).collect();
        assert_eq!(code(&ask(&mut worker, get(&headers)))?, expected, "{headers:?}");
    }
    Ok(())
}

#[test]
fn a_request_costs_the_stated_host_calls() -> Result<()> {
    let setup = setup()?;
    let bearer = format!("Bearer {}", setup.token().compact(&setup.keys.ec)?);
    let mut worker = worker(&setup.jwt_auth_config())?;
    worker.process().start_recording();
    // The first request asks for the log level.
    let _ = ask(&mut worker, get(&[("authorization", "Bearer x")]));
    let mut made = || {
        let before = worker.process().host_calls();
        let _ = ask(&mut worker, get(&[("authorization", &bearer)]));
        let calls = worker.process().host_calls().into_iter();
        let made = calls.map(|(name, count)| (name, count - before.get(name).copied().unwrap_or_default()));
        made.filter(|(_, count)| *count > 0).collect::<Vec<_>>()
    };
    // Headers, the clock, the signature, the token out, the subject in and the claims published; a
    // token that is remembered costs no signature. benches/README.md states it.
    for expected in [6, 6, 5, 5] {
        let made = made();
        assert_eq!(made.iter().map(|(_, count)| count).sum::<u64>(), expected, "{made:?}");
    }
    Ok(())
}

#[test]
fn claims_that_are_not_to_be_published_are_not() -> Result<()> {
    let setup = setup()?;
    let bearer = format!("Bearer {}", setup.token().compact(&setup.keys.ec)?);
    for (publish, calls) in [(true, 1), (false, 0)] {
        let mut configuration = setup.jwt_auth_config();
        configuration["publish_claims"] = json!(publish);
        let mut worker = worker(&configuration)?;
        worker.process().start_recording();
        assert_eq!(code(&ask(&mut worker, get(&[("authorization", &bearer)])))?, "FORWARDED");
        assert_eq!(
            worker.process().host_calls().get("proxy_set_property").copied().unwrap_or_default(),
            calls
        );
    }
    Ok(())
}

#[test]
fn a_remembered_token_still_expires_and_a_new_configuration_remembers_nothing() -> Result<()> {
    let setup = setup()?;
    let bearer = format!("Bearer {}", setup.token().compact(&setup.keys.ec)?);
    let clock = VirtualClock::at_unix_seconds(NOW.unsigned_abs());
    let process = Process::builder().clock(clock.clone()).seed(1).build();
    let module = Module::compile(&Engine::new()?, portcullis_modules::JWT_AUTH.wasm)?;
    let mut worker = Worker::new(&process);
    let configuration = setup.jwt_auth_config();
    let filter = worker.add(&module, Plugin::new("jwt-auth").configuration(configuration.to_string()))?;
    let count = |worker: &mut Worker| {
        // A worker tells once a second.
        clock.advance(std::time::Duration::from_secs(1));
        worker.poll();
        let counter = |name: &str| process.counter(&format!("portcullis.jwt.signatures.{name}"));
        (counter("verified"), counter("remembered"))
    };
    for counts in
        [(1, 0), (2, 0), (2, 1), (2, 2)].map(|(verified, remembered)| (Some(verified), Some(remembered)))
    {
        assert_eq!(code(&ask(&mut worker, get(&[("authorization", &bearer)])))?, "FORWARDED");
        assert_eq!(count(&mut worker), counts);
    }

    worker.reconfigure(filter, configuration.to_string())?;
    assert_eq!(code(&ask(&mut worker, get(&[("authorization", &bearer)])))?, "FORWARDED");
    assert_eq!(count(&mut worker), (Some(3), Some(2)));
    // What was not told yet is told when a configuration goes.
    assert_eq!(code(&ask(&mut worker, get(&[("authorization", &bearer)])))?, "FORWARDED");
    worker.reconfigure(filter, configuration.to_string())?;
    assert_eq!(process.counter("portcullis.jwt.signatures.verified"), Some(4));

    clock.advance(std::time::Duration::from_secs(86_400));
    assert_eq!(code(&ask(&mut worker, get(&[("authorization", &bearer)])))?, "TOKEN_EXPIRED");
    Ok(())
}
