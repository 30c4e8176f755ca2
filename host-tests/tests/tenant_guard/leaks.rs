//! What the upstream can do wrong, and what of it leaves.

use portcullis_host_tests::loopback::Answer;
use portcullis_tenant::inspect::Canaries;

pub const OWN: &str = r#"{"n":1,"tenant_id":"acme","text":"é {\"tenant_id\":\"x\"}"}"#;
pub const FOREIGN: &str = r#"{"n":2,"\u0074enant_id":"globex"}"#;

/// One case: the path, the answer, and what it comes to.
pub struct Case {
    pub name: &'static str,
    pub path: &'static str,
    pub method: &'static str,
    pub answer: Answer,
    pub expect: Expect,
}

#[derive(Clone, Debug)]
pub enum Expect {
    /// It leaves as it is.
    Whole,
    /// 502, without a byte of it; the kind that is counted.
    Refused(&'static str),
    /// These bytes leave, and then the stream ends.
    Cut(String, &'static str),
    /// It leaves as it is and is counted.
    Reported(&'static str),
}

impl Case {
    /// The same where nothing is stopped.
    pub fn in_shadow(mut self) -> Self {
        self.expect = match self.expect {
            Expect::Refused(kind) | Expect::Cut(_, kind) => match kind {
                // Nothing is held, so nothing is too much.
                "too_large" => Expect::Whole,
                kind => Expect::Reported(kind),
            },
            other => other,
        };
        self
    }
}

fn case(name: &'static str, path: &'static str, answer: Answer, expect: Expect) -> Case {
    Case { name, path, method: "GET", answer, expect }
}

fn json(body: &str) -> Answer {
    Answer::status(200).body("application/json", body)
}

/// The canary of a tenant.
pub fn canary(tenant: &str) -> String {
    let secret: Vec<u8> = (0..32).collect();
    Canaries::new("canary_", &secret).map(|canaries| canaries.of(tenant)).unwrap_or_default()
}

/// A gRPC message whose field 1 is `tenant`.
pub fn message(tenant: &str) -> Vec<u8> {
    let size = u8::try_from(tenant.len()).unwrap_or(u8::MAX);
    [&[0, 0, 0, 0, size + 2, 10, size][..], tenant.as_bytes()].concat()
}

/// The answer without its last byte.
fn short(mut answer: Answer) -> Answer {
    answer.body.pop();
    answer
}

/// The answer whose first message says that it is compressed.
fn compressed(mut answer: Answer) -> Answer {
    answer.body[0] = 1;
    answer
}

fn empty_message() -> Answer {
    Answer::status(200).body("application/grpc", [0_u8; 5]).trailer("grpc-status", "0")
}

/// Every leak, in every form.
pub fn cases() -> Vec<Case> {
    use Expect::{Cut, Refused, Reported, Whole};
    let own_list = format!("[{OWN},{OWN}]");
    let leak_list = format!("[{OWN},{FOREIGN}]");
    let first = format!("[{OWN}");
    let lines = format!("{OWN}\n{FOREIGN}\n");
    let events = format!("id: 1\ndata: {OWN}\n\nid: 2\ndata: {FOREIGN}\n\n");
    let grpc = |messages: &[&str]| {
        let body = messages.iter().map(|tenant| message(tenant)).collect::<Vec<_>>().concat();
        Answer::status(200).body("application/grpc", body).trailer("grpc-status", "0")
    };
    let mut cases = vec![
        case("an ordinary list, held", "/hold/a", json(&own_list), Whole),
        case("an ordinary list, verified", "/prefix/a", json(&own_list), Whole),
        case("an ordinary list, severable", "/sever/a", json(&own_list), Whole),
        case("a foreign record, held", "/hold/a", json(&leak_list), Refused("field")),
        case("a foreign record, verified", "/prefix/a", json(&leak_list), Cut(first.clone(), "field")),
        case(
            "a foreign first record, verified",
            "/prefix/a",
            json(&format!("[{FOREIGN}]")),
            Refused("field"),
        ),
        case("a foreign record, observed", "/observe/a", json(&leak_list), Reported("field")),
        case(
            "a foreign line",
            "/prefix/a",
            Answer::status(200).body("application/x-ndjson", &lines),
            Cut(format!("{OWN}\n"), "field"),
        ),
        case(
            "a foreign event",
            "/prefix/a",
            Answer::status(200).body("text/event-stream", &events),
            Cut(format!("id: 1\ndata: {OWN}\n\n"), "field"),
        ),
        case(
            "a repeated member",
            "/hold/a",
            json(r#"{"tenant_id":"acme","tenant_id":"globex"}"#),
            Refused("field"),
        ),
        case("a number", "/hold/a", json(r#"{"tenant_id":7}"#), Refused("field")),
        case("a renamed field", "/hold/a", json(r#"{"org":"globex"}"#), Refused("unattributed")),
        case("two documents", "/hold/a", json(&format!("{OWN}{FOREIGN}")), Refused("malformed")),
        case("a document cut short", "/hold/a", json("[{\"tenant_id\":\"acme\"}"), Refused("malformed")),
        case("a byte order mark", "/hold/a", json(&format!("\u{feff}{FOREIGN}")), Refused("field")),
        case("a bomb of depth", "/hold/a", json(&"[".repeat(600)), Refused("too_deep")),
        case(
            "too much to hold",
            "/hold/a",
            json(&format!("[{}{OWN}]", " ".repeat(5000))),
            Refused("too_large"),
        ),
        case(
            "an error with foreign data",
            "/hold/a",
            Answer { status: 500, ..json(FOREIGN) },
            Refused("field"),
        ),
        case("an error without a tenant", "/hold/a", Answer { status: 404, ..json("{}") }, Whole),
        case(
            "gzip that nobody asked for",
            "/hold/a",
            json("\u{1f}").header("content-encoding", "gzip"),
            Refused("encoded"),
        ),
        case("a part", "/hold/a", Answer { status: 206, ..json(OWN) }, Refused("partial")),
        case(
            "HTML",
            "/hold/a",
            Answer::status(200).body("text/html", "<b>globex</b>"),
            Refused("content_type"),
        ),
        case("a table that may pass", "/hold/a", Answer::status(200).body("text/csv", "a,b\n"), Whole),
        case(
            "JSON that says it is a table",
            "/hold/a",
            Answer::status(200).body("text/csv", FOREIGN),
            Refused("content_type"),
        ),
        case("nothing", "/hold/a", Answer::status(204), Whole),
        case("not modified", "/hold/a", Answer::status(304), Whole),
        case("an empty page", "/prefix/a", json(""), Whole),
        case(
            "another tenant's canary",
            "/planted/a",
            json(&format!("\"{}\"", canary("globex"))),
            Refused("canary"),
        ),
        case("its own canary", "/planted/a", json(&format!("\"{}\"", canary("acme"))), Whole),
        case("no echo", "/echo/a", json(OWN), Refused("echo_missing")),
        case(
            "another tenant's echo",
            "/echo/a",
            json(OWN).header("x-tenant-echo", "globex;r"),
            Refused("echo_tenant"),
        ),
        case(
            "another request's echo",
            "/echo/a",
            json(OWN).header("x-tenant-echo", "acme;r"),
            Refused("echo_request"),
        ),
        case("a message", "/grpc/a", grpc(&["acme", "acme"]), Whole),
        case("a foreign message", "/grpc/a", grpc(&["globex"]), Refused("field")),
        case("a message, held", "/grpc-held/a", grpc(&["acme", "acme"]), Whole),
        case("a foreign message, held", "/grpc-held/a", grpc(&["acme", "globex"]), Refused("field")),
        case("a message cut short, held", "/grpc-held/a", short(grpc(&["acme"])), Refused("malformed")),
        case("a message of nobody, held", "/grpc-held/a", empty_message(), Refused("unattributed")),
        case("a compressed message, held", "/grpc-held/a", compressed(grpc(&["acme"])), Refused("encoded")),
        case("an unguarded route", "/plain/a", json(FOREIGN), Whole),
        case("a trailer", "/hold/a", json(OWN).trailer("x-secret", "globex"), Whole),
    ];
    cases.push(Case { method: "HEAD", ..case("a HEAD", "/hold/a", json(FOREIGN), Whole) });
    cases
}
