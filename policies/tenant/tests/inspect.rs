//! The response guard: what leaves, what is found, at every cut of the body.

use portcullis_core::{HeaderPair, Request};
use portcullis_tenant::{
    Evidence, Guard, Origin, Policy, Unknown,
    inspect::{Canaries, Forward, Leak, Release},
};

struct Token;

impl Evidence for Token {
    fn of(&self, _: &Origin) -> Result<Option<Vec<u8>>, Unknown> {
        Ok(Some(br#"{"main":{"org":"acme","sub":"u"}}"#.to_vec()))
    }
}

fn document(guard: &str) -> String {
    format!(
        r#"{{"sources": [{{"header": "x-tenant-id", "by": "id"}}],
             "proofs": [{{"name": "main", "jwt_auth": "main", "tenant": "org"}}],
             "routes": [{{"path": {{"prefix": "/"}}, "class": "tenant", "guard": "g"}}],
             "guards": {{"g": {guard}}}}}"#
    )
}

fn policy(guard: &str) -> Policy {
    Policy::from_json(document(guard).as_bytes()).unwrap_or_else(|error| panic!("{error}"))
}

fn asked(policy: &Policy, method: &str) -> Guard {
    let headers: [(&[u8], &[u8]); 5] = [
        (b":method", method.as_bytes()),
        (b":authority", b"app.test"),
        (b":path", b"/x"),
        (b"x-tenant-id", b"acme"),
        (b"x-request-id", b"r-1"),
    ];
    let request = Request::new(&headers);
    let outcome = policy.decide(&request, &Token);
    policy.guard(&request, &outcome).unwrap_or_else(|| panic!("{outcome:?}"))
}

/// What leaves and what is found, where the body comes in these pieces.
fn pieces(policy: &Policy, headers: &[HeaderPair<'_>], pieces: &[&[u8]]) -> (Vec<u8>, Vec<Leak>) {
    let opening = policy.inspect(&asked(policy, "GET"), headers, false, false).unwrap();
    let mut leaks: Vec<Leak> = opening.found.iter().map(|found| found.leak).collect();
    let Some(mut inspection) = opening.inspection else { return (Vec::new(), leaks) };
    let (mut out, mut held) = (Vec::new(), Vec::new());
    for (at, piece) in pieces.iter().enumerate() {
        held.extend_from_slice(piece);
        let flow = inspection.body(piece, at + 1 == pieces.len());
        leaks.extend(flow.found.iter().map(|found| found.leak));
        match &flow.forward {
            Forward::AsIs => out.append(&mut held),
            Forward::Hold => {}
            Forward::Instead(bytes) => {
                held.clear();
                out.extend_from_slice(bytes);
            }
        }
        if flow.is_cut() {
            break;
        }
    }
    (out, leaks)
}

/// [`pieces`] for one and for every cut into two, three and all bytes: the same each time.
fn typed(policy: &Policy, kind: &str, body: &[u8]) -> (Vec<u8>, Vec<Leak>) {
    let headers: [HeaderPair<'_>; 2] = [(b":status", b"200"), (b"content-type", kind.as_bytes())];
    let whole = pieces(policy, &headers, &[body]);
    let text = String::from_utf8_lossy(body).into_owned();
    for cut in 0..=body.len() {
        let (first, second) = body.split_at(cut);
        assert_eq!(pieces(policy, &headers, &[first, second]), whole, "{text} cut at {cut}");
        assert_eq!(pieces(policy, &headers, &[first, second, b""]), whole, "{text} cut at {cut}, then empty");
        if cut > 0 && body.len() < 120 {
            let (last, rest) = first.split_at(cut / 2);
            assert_eq!(
                pieces(policy, &headers, &[last, rest, second]),
                whole,
                "{text} cut at {cut} and before"
            );
        }
    }
    let bytes: Vec<&[u8]> = body.chunks(1).collect();
    if !bytes.is_empty() {
        assert_eq!(pieces(policy, &headers, &bytes), whole, "{text} byte for byte");
    }
    whole
}

fn json(policy: &Policy, body: &str) -> (String, Vec<Leak>) {
    let (out, leaks) = typed(policy, "application/json; charset=utf-8", body.as_bytes());
    (String::from_utf8(out).unwrap(), leaks)
}

const KEYS: &str = r#"{"fields": {"keys": ["tenant_id"]}}"#;

#[test]
fn an_answer_that_is_the_tenants_leaves_as_it_is() {
    let policy = policy(KEYS);
    for body in [
        r#"{"tenant_id":"acme"}"#,
        r#"{"data":[{"tenant_id":"acme","x":1},{"tenant_id":"acme","x":[1,2,{"y":null}]}],"next":null}"#,
        r#"{"\u0074enant_id":"ac\u006de"}"#,
        r#"{"te\u006eant_id" : "acme" , "tenant_id":"acme"}"#,
        r#"{"text":"{\"tenant_id\":\"globex\"}","tenant_id":"acme"}"#,
        r#"{"x":"\ud83d\ude00 ü 😀 \ud83d","tenant_id":"acme","n":-1.5e+3,"t":[true,false]}"#,
        "\u{feff}{\"tenant_id\":\"acme\"}\r\n ",
        r#" [ { "tenant_id" : "acme" } , [ ] , { } ] "#,
        r#"{"tenant_idx":"globex","xtenant_id":"globex","tenant_id":"acme"}"#,
    ] {
        assert_eq!(json(&policy, body), (body.into(), vec![]), "{body}");
    }
}

#[test]
fn another_tenant_is_found_wherever_and_however_it_is_written() {
    let policy = policy(KEYS);
    for body in [
        r#"{"tenant_id":"globex"}"#,
        r#"{"tenant_id":"acme","tenant_id":"globex"}"#,
        r#"{"tenant_id":"acme","\u0074enant_id":"globex"}"#,
        r#"{"tenant_\u0069d":"globex"}"#,
        r#"{"tenant_id":"acm\u0065x"}"#,
        r#"{"tenant_id":"acme "}"#,
        r#"{"tenant_id":"ACME"}"#,
        r#"{"tenant_id":"acme\u0000"}"#,
        r#"{"tenant_id":"acme\ud800"}"#,
        r#"{"tenant_id":""}"#,
        r#"{"tenant_id":null}"#,
        r#"{"tenant_id":true}"#,
        r#"{"tenant_id":42}"#,
        r#"{"tenant_id":["acme"]}"#,
        r#"{"tenant_id":{"id":"acme"}}"#,
        r#"{"a":{"b":[[{"tenant_id":"globex"}]]}}"#,
        r#"[[[["x",{"tenant_id":"globex"}]]]]"#,
    ] {
        assert_eq!(json(&policy, body), (String::new(), vec![Leak::Field]), "{body}");
    }
    let long = format!(r#"{{"tenant_id":"{}"}}"#, "acme".repeat(60));
    assert_eq!(json(&policy, &long).1, [Leak::Field]);
}

#[test]
fn a_number_is_a_tenant_only_as_its_id_is_written() {
    let guard = r#"{"fields": {"keys": ["tenant_id"], "shared": ["42", "system", null]}}"#;
    let policy = policy(guard);
    for body in [r#"{"tenant_id":42}"#, r#"{"tenant_id":"system"}"#, r#"{"tenant_id":null}"#] {
        assert_eq!(json(&policy, body), (body.into(), vec![]), "{body}");
    }
    for value in ["42.0", "4.2e1", "042", "-42", "43", "\"null\"", "false"] {
        let body = format!(r#"{{"tenant_id":{value}}}"#);
        assert_eq!(json(&policy, &body).1, [Leak::Field], "{body}");
    }
}

#[test]
fn what_two_parsers_could_read_differently_is_refused() {
    let policy = policy(KEYS);
    for body in [
        r#"{"tenant_id":"acme"}{"tenant_id":"globex"}"#,
        r#"{"tenant_id":"acme"} x"#,
        r#"{"tenant_id":"acme""#,
        r#"{'tenant_id':'globex'}"#,
        r#"{tenant_id:"globex"}"#,
        r#"{"a":1,}"#,
        r#"[1 2]"#,
        r#"[1}"#,
        r#"{"a":/**/1}"#,
        r#"{"a":"\x41"}"#,
        "{\"a\":\"\n\"}",
        r#"{"a":nul}"#,
        r#"{"a":NaN}"#,
        "<html></html>",
        r#"{"a""b"}"#,
        r#"{"a":1"b":2}"#,
        "\u{feff}\u{feff}{}",
    ] {
        assert_eq!(json(&policy, body).1, [Leak::Malformed], "{body}");
    }
    for body in [
        // An overlong `t`, a surrogate, a byte that no UTF-8 has, half a character.
        &b"{\"\xc1\xb4enant_id\":1}"[..],
        b"{\"\xe0\x81\xb4enant_id\":1}",
        b"{\"\xed\xa0\x80\":1}",
        b"{\"\xff\":1}",
        b"{\"\xc3\":1}",
    ] {
        assert_eq!(typed(&policy, "application/json", body).1, [Leak::Malformed], "{body:?}");
    }
}

#[test]
fn depth_and_size_bombs_take_no_memory_and_get_nowhere() {
    let policy = policy(KEYS);
    let headers: [HeaderPair<'_>; 2] = [(b":status", b"200"), (b"content-type", b"application/json")];
    let deep = "[".repeat(100_000);
    assert_eq!(pieces(&policy, &headers, &[deep.as_bytes()]).1, [Leak::TooDeep]);
    let just = format!("{}{{\"tenant_id\":\"acme\"}}{}", "[".repeat(255), "]".repeat(255));
    assert_eq!(pieces(&policy, &headers, &[just.as_bytes()]), (just.clone().into_bytes(), vec![]));
    let key = format!("{{\"{}\":1,\"tenant_id\":\"globex\"}}", "k".repeat(50_000));
    assert_eq!(pieces(&policy, &headers, &[key.as_bytes()]).1, [Leak::Field]);
    let text = format!("{{\"a\":\"{}", "x".repeat(70_000));
    assert_eq!(pieces(&policy, &headers, &[text.as_bytes(), b""]), (vec![], vec![Leak::TooLarge]));
}

#[test]
fn of_records_before_a_leak_all_leave_and_nothing_more() {
    let policy = policy(KEYS);
    let record = |tenant: &str, n: usize| format!(r#"{{"n":{n},"tenant_id":"{tenant}","x":["}}"]}}"#);
    for leak in 0..4 {
        let records: Vec<String> =
            (0..4).map(|n| record(if n == leak { "globex" } else { "acme" }, n)).collect();
        let body = format!(r#"{{"data":[{}]}}"#, records.join(","));
        let expected =
            if leak == 0 { String::new() } else { format!(r#"{{"data":[{}"#, records[..leak].join(",")) };
        assert_eq!(json(&policy, &body), (expected, vec![Leak::Field]), "{body}");

        let lines = records.join("\n");
        let (out, leaks) = typed(&policy, "application/x-ndjson", lines.as_bytes());
        assert_eq!(leaks, [Leak::Field]);
        let out = String::from_utf8(out).unwrap();
        assert_eq!(out.trim_end(), records[..leak].join("\n"));

        let events: Vec<String> =
            records.iter().enumerate().map(|(n, record)| format!("id: {n}\ndata: {record}\n\n")).collect();
        let (out, leaks) = typed(&policy, "text/event-stream", events.concat().as_bytes());
        assert_eq!((String::from_utf8(out).unwrap(), leaks), (events[..leak].concat(), vec![Leak::Field]));
    }
    // A record inside a record is part of it.
    let body = r#"[{"tenant_id":"acme","in":[{"tenant_id":"acme"},{"tenant_id":"globex"}]}]"#;
    assert_eq!(json(&policy, body), (String::new(), vec![Leak::Field]));
}

#[test]
fn records_are_where_the_configuration_says() {
    let guard = r#"{"fields": {"paths": ["/data/*/owner/id"], "records": "/data/*"}}"#;
    let guarded = policy(guard);
    let body = r#"{"tenant_id":"x","owner":{"id":"globex"},"data":[{"owner":{"id":"acme"},"x":1},{"owner":{"id":"acme"},"y":{"owner":{"id":"globex"}}}]}"#;
    assert_eq!(json(&guarded, body), (body.into(), vec![]));
    let body = r#"{"data":[{"owner":{"id":"acme"},"x":1},{"owner":{"id":"acme"},"owner":{"id":"globex"}}]}"#;
    let first = r#"{"data":[{"owner":{"id":"acme"},"x":1}"#;
    assert_eq!(json(&guarded, body), (first.into(), vec![Leak::Field]));
    // A record without its owner is nobody's.
    let body = r#"{"data":[{"owner":{"id":"acme"},"x":1},{"x":2}]}"#;
    assert_eq!(json(&guarded, body), (first.into(), vec![Leak::Unattributed]));
    let lax = guard.replace("\"records\"", "\"presence\": \"if_present\", \"records\"");
    assert_eq!(json(&policy(&lax), body), (body.into(), vec![]));
    let map = policy(r#"{"fields": {"paths": ["/*/a~1b~0/*"], "records": "/*"}}"#);
    assert_eq!(json(&map, r#"{"x":{"a/b~":["acme","acme"]}}"#).1, []);
    assert_eq!(json(&map, r#"{"x":{"a/b~":["acme","globex"]}}"#).1, [Leak::Field]);
}

#[test]
fn an_answer_in_which_the_field_is_never_seen_is_refused_where_it_is_required() {
    let (strict, lax) =
        (policy(KEYS), policy(r#"{"fields": {"keys": ["tenant_id"], "presence": "if_present"}}"#));
    for body in [r#"{"renamed_id":"globex"}"#, "[]", "\"text\"", "17", "null"] {
        assert_eq!(json(&strict, body), (String::new(), vec![Leak::Unattributed]), "{body}");
        assert_eq!(json(&lax, body), (body.into(), vec![]), "{body}");
    }
    // An error has no tenant, but may not have another one either.
    let error: [HeaderPair<'_>; 2] = [(b":status", b"404"), (b"content-type", b"application/problem+json")];
    assert_eq!(pieces(&strict, &error, &[br#"{"title":"gone"}"#]).1, []);
    assert_eq!(pieces(&strict, &error, &[br#"{"tenant_id":"globex"}"#]).1, [Leak::Field]);
    assert_eq!(json(&strict, ""), (String::new(), vec![]));
}

#[test]
fn lines_and_events_are_read_as_their_clients_read_them() {
    let policy = policy(KEYS);
    let own = r#"{"tenant_id":"acme"}"#;
    let foreign = r#"{"tenant_id":"globex"}"#;
    for (kind, body, leaks) in [
        ("application/jsonl", format!("{own}\n\n{own}\r\n"), vec![]),
        ("application/jsonl", format!("{own}{own}"), vec![]),
        ("application/json-seq", format!("\u{1e}{own}\n\u{1e}{own}\n"), vec![]),
        ("application/jsonl", format!("{own}\n{{}}\n"), vec![Leak::Unattributed]),
        ("application/jsonl", format!("{own}\n{own}x"), vec![Leak::Malformed]),
        ("application/jsonl", format!("{own}\n{{\"tenant_id\":"), vec![Leak::Malformed]),
        ("text/event-stream", format!(": ping\n\nevent: x\ndata: {own}\n\n:\n\ndata: [DONE]\n\n"), vec![]),
        ("text/event-stream", "data: {\"tenant_id\":\ndata: \"acme\"}\n\n".into(), vec![]),
        ("text/event-stream", "data: {\"tenant_id\":\rdata:\"globex\"}\r\r".into(), vec![Leak::Field]),
        ("text/event-stream", format!("data:{foreign}\r\n\r\n"), vec![Leak::Field]),
        ("text/event-stream", format!("\u{feff}data:{foreign}\n\n"), vec![Leak::Field]),
        ("text/event-stream", format!("data: {own}\n\ndata: {own}"), vec![Leak::Malformed]),
        ("text/event-stream", "data: hello\n\n".into(), vec![Leak::Malformed]),
        ("text/event-stream", "data: [DONE] x\n\n".into(), vec![Leak::Malformed]),
        ("text/event-stream", "data: [DON]\n\n".into(), vec![Leak::Malformed]),
        ("text/event-stream", "data\ndata:\n\ndatax: y\ndat: z\n\n".into(), vec![]),
    ] {
        assert_eq!(typed(&policy, kind, body.as_bytes()).1, leaks, "{body}");
    }
}

/// Field `number` with these bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2, u8::try_from(bytes.len()).unwrap()], bytes].concat()
}

fn message(fields: &[Vec<u8>]) -> Vec<u8> {
    let bytes = fields.concat();
    [&[0], &u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], &bytes].concat()
}

#[test]
fn messages_are_read_by_field_number() {
    let policy = policy(r#"{"fields": {"grpc": ["2.1", "4"]}}"#);
    let grpc = |messages: &[Vec<u8>]| typed(&policy, "application/grpc", &messages.concat());
    let own = message(&[vec![8, 150, 1], field(2, &field(1, b"acme")), field(3, b"globex")]);
    let foreign = message(&[field(2, &[field(7, b"x"), field(1, b"globex")].concat())]);
    assert_eq!(grpc(&[own.clone(), own.clone()]), ([own.clone(), own.clone()].concat(), vec![]));
    assert_eq!(grpc(&[own.clone(), foreign.clone(), own.clone()]), (own.clone(), vec![Leak::Field]));
    let twice = message(&[field(4, b"acme"), field(4, b"globex")]);
    assert_eq!(grpc(&[twice]).1, [Leak::Field]);
    assert_eq!(grpc(&[message(&[vec![4 << 3, 1]])]).1, [Leak::Field], "a number names nobody");
    assert_eq!(grpc(&[message(&[field(1, b"x")])]).1, [Leak::Unattributed]);
    assert_eq!(grpc(&[own[..own.len() - 1].to_vec()]).1, [Leak::Malformed]);
    let mut compressed = own.clone();
    compressed[0] = 1;
    assert_eq!(grpc(&[compressed]).1, [Leak::Encoded]);
    // An inner message that is longer than the outer one, a group, an endless number.
    assert_eq!(
        grpc(&[message(&[vec![2 << 3 | 2, 100, 1 << 3 | 2, 4, b'a', b'c', b'm', b'e']])]).1,
        [Leak::Malformed]
    );
    assert_eq!(grpc(&[message(&[vec![1 << 3 | 3]])]).1, [Leak::Malformed]);
    assert_eq!(grpc(&[message(&[[0xff; 12].to_vec()])]).1, [Leak::Malformed]);
}

#[test]
fn a_canary_of_another_tenant_is_found_and_the_own_one_is_not() {
    let secret = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    let guard = format!(r#"{{"canaries": {{"prefix": "cnry_", "secret": "{secret}"}}, "release": "hold"}}"#);
    let error = Policy::from_json(document(&guard).as_bytes()).unwrap_err();
    assert_eq!(error.path(), "guards.g.canaries.prefix");
    let policy = policy(&guard.replace("cnry_", "cncnry_"));
    let canaries = Canaries::new("cncnry_", &(0..32).collect::<Vec<u8>>()).unwrap();
    let (own, other) = (canaries.of("acme"), canaries.of("globex"));
    assert_eq!((own.len(), own == other), (31, false));
    for (text, leaks) in [
        (format!("x {own} y"), vec![]),
        (format!("x {other} y"), vec![Leak::Canary]),
        (other.to_uppercase().replace("CNCNRY_", "cncnry_"), vec![Leak::Canary]),
        (format!("cncncnry_{}", &other[7..]), vec![Leak::Canary]),
        (format!("cncnry_12cn{other}"), vec![Leak::Canary]),
        (format!("{own}{other}"), vec![Leak::Canary]),
        (format!("{}g", &other[..30]), vec![]),
    ] {
        let (out, found) = typed(&policy, "text/plain", text.as_bytes());
        assert_eq!((found, out.is_empty()), (leaks.clone(), !leaks.is_empty()), "{text}");
    }
}

#[test]
fn a_canary_in_a_record_keeps_the_records_before_it() {
    let secret = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    let policy = policy(&format!(
        r#"{{"fields": {{"keys": ["t"]}}, "canaries": {{"prefix": "canary_", "secret": "{secret}"}}}}"#
    ));
    let other = Canaries::new("canary_", &(0..32).collect::<Vec<u8>>()).unwrap().of("globex");
    let body = format!(r#"[{{"t":"acme"}},{{"t":"acme","x":"{other}"}},{{"t":"acme"}}]"#);
    assert_eq!(json(&policy, &body), (r#"[{"t":"acme"}"#.into(), vec![Leak::Canary]));
}

#[test]
fn the_echo_tells_a_wrong_tenant_from_connections_out_of_step() {
    let judge = |guard: &str, values: &[&str]| {
        let policy = policy(guard);
        let mut headers: Vec<HeaderPair<'_>> = vec![(b":status", b"200")];
        headers.extend(values.iter().map(|value| (&b"X-Tenant-Echo"[..], value.as_bytes())));
        let opening = policy.inspect(&asked(&policy, "GET"), &headers, true, false).unwrap();
        assert_eq!(opening.remove.len(), values.len());
        opening.found.iter().map(|found| found.leak).collect::<Vec<_>>()
    };
    let required = r#"{"echo": {}}"#;
    let lax = r#"{"echo": {"presence": "if_present"}}"#;
    assert_eq!(judge(required, &["acme;r-1"]), []);
    assert_eq!(judge(required, &[" acme ; r-1 "]), []);
    assert_eq!(judge(required, &[]), [Leak::EchoMissing]);
    assert_eq!(judge(lax, &[]), []);
    for guard in [required, lax] {
        assert_eq!(judge(guard, &["globex;r-1"]), [Leak::EchoTenant]);
        assert_eq!(judge(guard, &["acme;r-2"]), [Leak::EchoRequest]);
        assert_eq!(judge(guard, &["acme"]), [Leak::EchoMissing]);
        assert_eq!(judge(guard, &["acme;r-1", "globex;r-1"]), [Leak::EchoTenant]);
        assert_eq!(judge(guard, &[""]), [Leak::EchoTenant]);
        assert_eq!(judge(guard, &["acme;r-1;x"]), [Leak::EchoRequest]);
    }
}

#[test]
fn what_cannot_be_looked_into_is_refused() {
    let policy = policy(r#"{"fields": {"keys": ["t"]}, "unscanned": ["text/csv", "image/*"]}"#);
    let judge = |headers: &[(&str, &str)], method: &str| {
        let headers: Vec<HeaderPair<'_>> =
            headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
        let opening = policy.inspect(&asked(&policy, method), &headers, false, false).unwrap();
        let leaks: Vec<Leak> = opening.found.iter().map(|found| found.leak).collect();
        (leaks, opening.inspection.is_some())
    };
    let json = ("content-type", "application/json");
    let ok = (":status", "200");
    assert_eq!(judge(&[ok, json], "GET"), (vec![], true));
    assert_eq!(judge(&[ok, json, ("content-encoding", "identity")], "GET"), (vec![], true));
    for (headers, leak) in [
        (vec![ok, json, ("content-encoding", "gzip")], Leak::Encoded),
        (vec![ok, json, ("content-encoding", "identity, br")], Leak::Encoded),
        (vec![ok, json, ("content-encoding", "identity"), ("content-encoding", "gzip")], Leak::Encoded),
        (vec![ok, ("content-type", "application/json; charset=utf-16")], Leak::Encoded),
        (vec![ok], Leak::ContentType),
        (vec![ok, ("content-type", "text/html")], Leak::ContentType),
        (vec![ok, json, ("content-type", "text/csv")], Leak::ContentType),
        (vec![(":status", "206"), json], Leak::Partial),
        (vec![ok, json, ("content-range", "bytes 0-1/2")], Leak::Partial),
        (vec![(":status", "101")], Leak::Tunnel),
    ] {
        assert_eq!(judge(&headers, "GET"), (vec![leak], false), "{headers:?}");
    }
    assert_eq!(judge(&[ok], "CONNECT"), (vec![Leak::Tunnel], false));
    for (status, method) in [("204", "GET"), ("304", "GET"), ("200", "HEAD")] {
        assert_eq!(judge(&[(":status", status), json], method), (vec![], false));
    }
    // A type that may pass unread must not hold what could have been read.
    assert_eq!(typed(&policy, "text/csv", b"a,b\n1,2\n"), (b"a,b\n1,2\n".to_vec(), vec![]));
    assert_eq!(typed(&policy, "image/png", b" \n{\"t\":\"globex\"}").1, [Leak::ContentType]);
}

#[test]
fn each_release_keeps_back_what_it_says() {
    let body = r#"[{"t":"acme"},{"t":"globex"}]"#;
    let with = |release: &str| {
        policy(&format!(r#"{{"fields": {{"keys": ["t"]}}, "release": "{release}", "max_bytes": 256}}"#))
    };
    let headers: [HeaderPair<'_>; 2] = [(b":status", b"200"), (b"content-type", b"application/json")];
    let (first, second) = body.split_at(16);
    let cut: [&[u8]; 2] = [first.as_bytes(), second.as_bytes()];
    assert_eq!(pieces(&with("hold"), &headers, &cut), (vec![], vec![Leak::Field]));
    assert_eq!(pieces(&with("verified_prefix"), &headers, &cut).0, br#"[{"t":"acme"}"#);
    assert_eq!(pieces(&with("sever"), &headers, &cut), (first.as_bytes().to_vec(), vec![Leak::Field]));
    assert_eq!(pieces(&with("observe"), &headers, &cut), (body.as_bytes().to_vec(), vec![Leak::Field]));
    let large = format!("[{}{{\"t\":\"acme\"}}]", " ".repeat(300));
    assert_eq!(pieces(&with("hold"), &headers, &[large.as_bytes()]), (vec![], vec![Leak::TooLarge]));
    // Reports only: for shadow mode.
    let policy = with("hold");
    let opening = policy.inspect(&asked(&policy, "GET"), &headers, false, true).unwrap();
    let mut inspection = opening.inspection.unwrap();
    assert_eq!(inspection.release(), Release::Observe);
    let flow = inspection.body(body.as_bytes(), true);
    assert_eq!((flow.forward.clone(), flow.found.len(), flow.is_cut()), (Forward::AsIs, 1, false));
}

#[test]
fn a_guard_that_could_not_work_is_refused_with_its_path() {
    for (guard, path, reason) in [
        ("{}", "guards.g", "looks at nothing"),
        (r#"{"fields": {}}"#, "guards.g.fields", "names no field"),
        (r#"{"fields": {"keys": [""]}}"#, "guards.g.fields.keys[0]", "not from 1 to 96 bytes"),
        (r#"{"fields": {"paths": ["data"]}}"#, "guards.g.fields.paths[0]", "not a path such as"),
        (r#"{"fields": {"keys": ["t"], "records": "/"}}"#, "guards.g.fields.records", "not a path"),
        (r#"{"fields": {"grpc": ["0"]}}"#, "guards.g.fields.grpc[0]", "field numbers"),
        (r#"{"echo": {"header": "a b"}}"#, "guards.g.echo.header", "not a header name"),
        (r#"{"echo": {}, "unscanned": ["image"]}"#, "guards.g.unscanned[0]", "not a media type"),
        (r#"{"echo": {}, "unscanned": ["application/json"]}"#, "guards.g.unscanned[0]", "can be looked into"),
        (r#"{"echo": {}, "max_bytes": 1}"#, "guards.g.max_bytes", "not from 256"),
        (r#"{"echo": {}, "max_record_bytes": 1}"#, "guards.g.max_record_bytes", "not from 256"),
        (
            r#"{"canaries": {"prefix": "canary_", "secret": "AAAA"}, "release": "hold"}"#,
            "guards.g.canaries.secret",
            "shorter than 16",
        ),
        (
            r#"{"canaries": {"prefix": "canary_", "secret": "AAECAwQFBgcICQoLDA0ODw=="}}"#,
            "guards.g.release",
            "needs `fields`",
        ),
        (r#"{"echo": {}, "release": "later"}"#, "guards.g.release", "unknown variant"),
        (r#"{"echo": {"x": 1}}"#, "guards.g.echo.x", "unknown field"),
    ] {
        let error = Policy::from_json(document(guard).as_bytes()).unwrap_err();
        assert_eq!(error.path(), path, "{guard}");
        assert!(error.reason().contains(reason), "{guard}: {error}");
    }
    let other = document(r#"{"echo": {}}"#).replace(r#""guard": "g""#, r#""guard": "h""#);
    assert_eq!(Policy::from_json(other.as_bytes()).unwrap_err().path(), "guards.g");
    let public = document(r#"{"echo": {}}"#).replace(r#""class": "tenant""#, r#""class": "public""#);
    assert_eq!(Policy::from_json(public.as_bytes()).unwrap_err().path(), "routes[0].guard");
}

/// 16 MiB; 1 GiB where PORTCULLIS_SEEDS is set.
#[test]
fn a_large_answer_keeps_no_more_than_one_record() {
    let size: usize = if std::env::var_os("PORTCULLIS_SEEDS").is_some() { 1 << 30 } else { 1 << 24 };
    let policy = policy(KEYS);
    let headers: [HeaderPair<'_>; 2] = [(b":status", b"200"), (b"content-type", b"application/json")];
    let mut inspection =
        policy.inspect(&asked(&policy, "GET"), &headers, false, false).unwrap().inspection.unwrap();
    assert!(size_of_val(&inspection) <= 1024, "{} bytes for a stream", size_of_val(&inspection));
    let record = format!(r#"{{"tenant_id":"acme","text":"{}"}},"#, "x".repeat(300));
    // No piece ends where a record does.
    let piece = record.repeat(1 + (1 << 14) / record.len());
    let (mut read, mut left) = (1, inspection.body(b"[", false).forward);
    let mut sent = 0;
    while read < size {
        let from = read % record.len();
        let chunk = &piece.as_bytes()[(from + record.len() - 1) % record.len()..];
        let flow = inspection.body(chunk, false);
        assert_eq!((flow.found.len(), flow.is_cut()), (0, false));
        read += chunk.len();
        left = flow.forward;
        assert!(inspection.kept() <= record.len() + 1, "{} bytes are kept", inspection.kept());
        if let Forward::Instead(bytes) = &left {
            sent += bytes.len();
        }
    }
    assert!(sent + 2 * record.len() >= size && matches!(left, Forward::Instead(_)));
    let rest = &record.as_bytes()[(read - 1) % record.len()..];
    assert_eq!(
        inspection.body(&[rest, &record.as_bytes()[..record.len() - 1], b"]"].concat(), true).found,
        []
    );
}
