use super::*;
use crate::Digest;

const NOW: UnixTime = UnixTime::from_secs(1_795_000_000);

fn read() -> Read {
    Read { registry: "r.example".into(), repository: "acme/app".into(), what: What::Tag("1".into()) }
}

fn registries() -> Registries {
    let credentials = Some(Credentials { username: "u".into(), password: "p".into() });
    let registry = Registry { host: None, credentials, token_hosts: vec!["auth.example".into()] };
    BTreeMap::from([("r.example".to_owned(), registry)])
}

fn incoming<'a>(status: u16, headers: &'a [(String, String)], body: &'a [u8]) -> Incoming<'a> {
    Incoming { status, headers, body: Some(body) }
}

fn header(name: &str, value: &str) -> Vec<(String, String)> {
    vec![(name.to_owned(), value.to_owned())]
}

fn authorization(outgoing: &Outgoing) -> Option<&str> {
    outgoing.headers.iter().find(|(name, _)| *name == "authorization").map(|(_, value)| value.as_str())
}

fn sent(step: Step) -> Outgoing {
    match step {
        Step::Send(outgoing) => outgoing,
        Step::Done(answer) => panic!("{answer:?}"),
    }
}

fn refused(step: Step) -> ReasonCode {
    match step {
        Step::Done(Answer::Failed { code, .. }) => code,
        step => panic!("{step:?}"),
    }
}

#[test]
fn a_token_is_asked_for_once_and_kept_for_the_repository() {
    let (registries, mut tokens) = (registries(), Tokens::default());
    let (mut fetch, first) = Fetch::begin(read(), &registries, &tokens, NOW);
    assert_eq!((first.host.as_str(), first.path.as_str()), ("r.example", "/v2/acme/app/manifests/1"));
    assert_eq!(authorization(&first), None);
    let challenge = header(
        "www-authenticate",
        r#"Bearer realm="https://auth.example/token",service="r.example",scope="repository:acme/app:pull,push""#,
    );
    let asked = sent(fetch.answered(incoming(401, &challenge, b""), &registries, &mut tokens, NOW));
    assert_eq!(asked.host, "auth.example");
    assert_eq!(asked.path, "/token?service=r.example&scope=repository:acme/app:pull");
    assert_eq!(authorization(&asked), Some("Basic dTpw"));
    let again = sent(fetch.answered(incoming(200, &[], br#"{"token":"T"}"#), &registries, &mut tokens, NOW));
    assert_eq!(authorization(&again), Some("Bearer T"));
    let done = fetch.answered(incoming(200, &[], b"body"), &registries, &mut tokens, NOW);
    assert_eq!(done, Step::Done(Answer::Found(Base64(b"body".to_vec()))));
    let (_, next) = Fetch::begin(read(), &registries, &tokens, NOW);
    assert_eq!(authorization(&next), Some("Bearer T"));
    let later = NOW.saturating_add(Duration::from_secs(55));
    assert_eq!(authorization(&Fetch::begin(read(), &registries, &tokens, later).1), None);
}

#[test]
fn credentials_go_only_to_hosts_that_they_are_for() {
    let (registries, mut tokens) = (registries(), Tokens::default());
    let (mut fetch, _) = Fetch::begin(read(), &registries, &tokens, NOW);
    let challenge = header("www-authenticate", r#"Bearer realm="https://evil.example/token",service="x""#);
    let asked = sent(fetch.answered(incoming(401, &challenge, b""), &registries, &mut tokens, NOW));
    assert_eq!((asked.host.as_str(), authorization(&asked)), ("evil.example", None));
}

#[test]
fn a_redirect_leaves_the_authorization_behind_and_ends() {
    let (registries, mut tokens) = (registries(), Tokens::default());
    tokens.keep(&read(), "Bearer T".into(), UnixTime::MAX, NOW);
    let (mut fetch, first) = Fetch::begin(read(), &registries, &tokens, NOW);
    assert_eq!(authorization(&first), Some("Bearer T"));
    let location = header("location", "https://cdn.example/blob?sig=1");
    for _ in 0..3 {
        let next = sent(fetch.answered(incoming(307, &location, b""), &registries, &mut tokens, NOW));
        assert_eq!((next.host.as_str(), next.path.as_str()), ("cdn.example", "/blob?sig=1"));
        assert_eq!(authorization(&next), None);
    }
    let step = fetch.answered(incoming(307, &location, b""), &registries, &mut tokens, NOW);
    assert_eq!(refused(step), ReasonCode::RegistryUnavailable);
    // Nor does the place that it was sent to get a token for the registry.
    let (mut fetch, _) = Fetch::begin(read(), &registries, &tokens, NOW);
    sent(fetch.answered(incoming(307, &location, b""), &registries, &mut tokens, NOW));
    let challenge = header("www-authenticate", r#"Bearer realm="https://cdn.example/token""#);
    let step = fetch.answered(incoming(401, &challenge, b""), &registries, &mut tokens, NOW);
    assert_eq!(refused(step), ReasonCode::RegistryUnauthorized);
}

#[test]
fn each_status_means_one_thing() {
    let registries = Registries::new();
    let step = |status, body: Option<&[u8]>, what: What| {
        let read = Read { what, ..read() };
        let (mut fetch, _) = Fetch::begin(read, &registries, &Tokens::default(), NOW);
        let incoming = Incoming { status, headers: &[], body };
        fetch.answered(incoming, &registries, &mut Tokens::default(), NOW)
    };
    let tag = || What::Tag("1".into());
    let referrers = || What::Referrers(Digest::of(b""));
    assert_eq!(step(404, Some(b""), tag()), Step::Done(Answer::Absent));
    assert_eq!(step(405, Some(b""), referrers()), Step::Done(Answer::Absent));
    assert_eq!(refused(step(405, Some(b""), tag())), ReasonCode::RegistryUnavailable);
    assert_eq!(refused(step(200, None, tag())), ReasonCode::RegistryOversized);
    assert_eq!(refused(step(401, Some(b""), tag())), ReasonCode::RegistryUnauthorized);
    assert_eq!(refused(step(403, Some(b""), tag())), ReasonCode::RegistryUnauthorized);
    assert_eq!(refused(step(429, Some(b""), tag())), ReasonCode::RegistryRateLimited);
    assert_eq!(refused(step(500, Some(b""), tag())), ReasonCode::RegistryUnavailable);
    assert_eq!(refused(step(504, Some(b""), tag())), ReasonCode::RegistryTimeout);
    assert_eq!(refused(step(302, Some(b""), tag())), ReasonCode::RegistryUnavailable);
}

#[test]
fn a_token_that_is_no_header_value_is_refused() {
    let (registries, mut tokens) = (registries(), Tokens::default());
    for body in [&br#"{"token":"a\r\nx: y"}"#[..], b"{}", b"[]", b"", br#"{"token":1}"#] {
        let (mut fetch, _) = Fetch::begin(read(), &registries, &tokens, NOW);
        let challenge = header("www-authenticate", r#"Bearer realm="https://r.example/token""#);
        sent(fetch.answered(incoming(401, &challenge, b""), &registries, &mut tokens, NOW));
        let step = fetch.answered(incoming(200, &[], body), &registries, &mut tokens, NOW);
        assert_eq!(refused(step), ReasonCode::RegistryUnauthorized);
    }
}
