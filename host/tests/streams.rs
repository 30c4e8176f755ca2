//! A stream's way through the filters: headers, bodies, pauses, replies, several filters.

mod common;

use common::{bytes, get, guest, module, on_request_headers, request, worker};
use portcullis_host::{
    CallResponse, Direction, Headers, LocalReply, Outcome, Piece, Plugin, Process, StreamInfo, Worker,
};

/// Adds the header `x-a: b` and continues.
fn adds_a_header() -> Vec<u8> {
    let callback = on_request_headers(
        "(drop (call $add (i32.const 0) (i32.const 16) (i32.const 3) (i32.const 20) (i32.const 1))) (i32.const 0)",
    );
    guest(&format!(r#"(data (i32.const 16) "X-A\00b") {callback}"#))
}

#[test]
fn a_request_goes_through_a_worker_without_filters_as_it_is() {
    let mut worker = Worker::new(&Process::new());
    let (stream, outcome) = request(&mut worker);
    assert_eq!(outcome, Outcome::Forward(vec![Piece::Headers { headers: get("/"), end_of_stream: true }]));
    worker.close(stream);
    assert_eq!(worker.open_streams(), 0);
}

#[test]
fn a_header_that_a_filter_adds_goes_upstream_in_lower_case() {
    let (_, outcome) = request(&mut worker(&Process::new(), &adds_a_header()));
    assert_eq!(outcome.headers().unwrap().text("x-a"), Some("b"));
}

#[test]
fn two_filters_change_one_request_in_the_order_of_the_chain() {
    let process = Process::new();
    let mut worker = worker(&process, &adds_a_header());
    worker.add(&module(&adds_a_header()), Plugin::new("second")).unwrap();
    let (_, outcome) = request(&mut worker);
    assert_eq!(outcome.headers().unwrap().all("x-a").count(), 2);
}

#[test]
fn bytes_that_are_not_text_and_repeated_names_reach_the_upstream_unchanged() {
    let headers: Headers =
        [(&b":path"[..], &b"/\xff"[..]), (b"x", b"\x80"), (b"x", b"2")].into_iter().collect();
    let mut worker = worker(&Process::new(), &guest(""));
    let stream = worker.open(StreamInfo::new());
    assert_eq!(worker.request_headers(stream, headers.clone(), true).headers(), Some(&headers));
}

/// Reads the header `x` and puts what it got, and the status, into `got` and `status`.
#[test]
fn one_value_is_the_first_of_a_repeated_header_and_a_missing_one_is_not_found() {
    let callback = on_request_headers(
        r#"(if (i32.ne (call $value (i32.const 0) (i32.const 16) (i32.const 1) (i32.const 32) (i32.const 36)) (i32.const 0))
             (then unreachable))
           (drop (call $add (i32.const 0) (i32.const 17) (i32.const 3) (i32.load (i32.const 32)) (i32.load (i32.const 36))))
           (if (i32.ne (call $value (i32.const 0) (i32.const 17) (i32.const 1) (i32.const 32) (i32.const 36)) (i32.const 1))
             (then unreachable))
           (i32.const 0)"#,
    );
    let mut worker = worker(&Process::new(), &guest(&format!(r#"(data (i32.const 16) "xgot") {callback}"#)));
    let stream = worker.open(StreamInfo::new());
    let outcome = worker.request_headers(stream, [(":path", "/"), ("X", "1"), ("x", "2")], true);
    assert_eq!(outcome.headers().unwrap().text("got"), Some("1"));
}

#[test]
fn headers_can_be_read_while_the_filter_holds_them_and_not_after() {
    // In the body callback: one value is BadArgument (2), all pairs are Ok and none.
    let definitions = r#"
        (func (export "proxy_on_request_body") (param i32 i32 i32) (result i32)
          (if (i32.ne (call $value (i32.const 0) (i32.const 16) (i32.const 5) (i32.const 32) (i32.const 36)) (i32.const 2))
            (then unreachable))
          (i32.store (i32.const 36) (i32.const 7))
          (if (i32.ne (call $pairs (i32.const 0) (i32.const 32) (i32.const 36)) (i32.const 0)) (then unreachable))
          (if (i32.ne (i32.load (i32.const 36)) (i32.const 0)) (then unreachable))
          (i32.const 0))
        (data (i32.const 16) ":path")"#;
    let mut worker = worker(&Process::new(), &guest(definitions));
    let stream = worker.open(StreamInfo::new());
    assert!(worker.request_headers(stream, get("/"), false).is_forward());
    assert!(worker.request_body(stream, "x", true).is_forward());
}

/// Pauses, calls the cluster `idp`, and resumes when the answer comes, with `x-a: b` added.
fn calls_before_it_continues() -> Vec<u8> {
    let pairs = Headers::from([(":method", "GET"), (":path", "/keys"), (":authority", "idp")]);
    let encoded = encode(&pairs);
    let callback = on_request_headers(&format!(
        r#"(global.set $stream (local.get $context))
           (if (i32.ne (call $http (i32.const 16) (i32.const 3) (i32.const 64) (i32.const {}) (i32.const 0) (i32.const 0)
                                   (i32.const 0) (i32.const 0) (i32.const 1000) (i32.const 32)) (i32.const 0))
             (then unreachable))
           (i32.const 1)"#,
        encoded.len()
    ));
    let data: String = encoded.iter().map(|byte| format!("\\{byte:02x}")).collect();
    guest(&format!(
        r#"(global $stream (mut i32) (i32.const 0))
           (data (i32.const 16) "idp")
           (data (i32.const 20) "x-a\00b")
           (data (i32.const 64) "{data}")
           {callback}
           (func (export "proxy_on_http_call_response") (param i32 i32 i32 i32 i32)
             (if (i32.ne (call $effective (global.get $stream)) (i32.const 0)) (then (return)))
             (drop (call $add (i32.const 0) (i32.const 20) (i32.const 3) (i32.const 24) (i32.const 1)))
             (drop (call $continue (i32.const 0))))"#
    ))
}

fn encode(headers: &Headers) -> Vec<u8> {
    let mut out = u32::try_from(headers.len()).unwrap().to_le_bytes().to_vec();
    for (name, value) in headers.iter() {
        out.extend(u32::try_from(name.len()).unwrap().to_le_bytes());
        out.extend(u32::try_from(value.len()).unwrap().to_le_bytes());
    }
    for (name, value) in headers.iter() {
        out.extend([name, b"\0", value, b"\0"].concat());
    }
    out
}

#[test]
fn a_paused_request_goes_on_with_its_body_when_the_call_is_answered() {
    let process = Process::builder().cluster("idp").build();
    let mut worker = worker(&process, &calls_before_it_continues());
    let stream = worker.open(StreamInfo::new());
    assert_eq!(worker.request_headers(stream, get("/"), false), Outcome::Pause);
    assert_eq!(worker.request_body(stream, "body", true), Outcome::Pause);
    assert!(worker.is_paused(stream, Direction::Request));
    let calls = worker.take_calls();
    let [call] = calls.as_slice() else { panic!("one call: {calls:?}") };
    assert_eq!(
        (call.cluster.as_str(), call.headers.text(":path"), call.timeout.as_millis()),
        ("idp", Some("/keys"), 1000)
    );
    let events = worker.complete_call(call.id, Ok(CallResponse::new(200, "{}")));
    let [event] = events.as_slice() else { panic!("one event: {events:?}") };
    assert_eq!((event.stream, event.direction), (stream, Direction::Request));
    assert_eq!(event.outcome.headers().unwrap().text("x-a"), Some("b"));
    assert_eq!(event.outcome.body(), b"body");
    assert!(
        worker.complete_call(call.id, Ok(CallResponse::new(200, ""))).is_empty(),
        "one callback per call"
    );
}

#[test]
fn the_answer_of_a_call_whose_stream_is_gone_harms_nobody() {
    let process = Process::builder().cluster("idp").build();
    let mut worker = worker(&process, &calls_before_it_continues());
    let (stream, _) = request(&mut worker);
    worker.close(stream);
    let call = worker.take_calls().remove(0);
    assert!(worker.complete_call(call.id, Ok(CallResponse::new(200, ""))).is_empty());
    assert_eq!(worker.trap(0), None);
}

#[test]
fn a_call_to_an_unknown_cluster_is_a_bad_argument() {
    let mut worker = worker(&Process::new(), &calls_before_it_continues());
    let (_, outcome) = request(&mut worker);
    assert_eq!(outcome.reply().map(LocalReply::status), Some(503), "the guest traps on any other status");
    assert!(worker.take_calls().is_empty());
}

/// Answers with 401 and `no`, and pauses.
fn answers() -> String {
    on_request_headers(
        r#"(drop (call $reply (i32.const 401) (i32.const 0) (i32.const 0) (i32.const 16) (i32.const 2)
                              (i32.const 0) (i32.const 0) (i32.const -1)))
           (i32.const 0)"#,
    ) + r#"(data (i32.const 16) "no")"#
}

#[test]
fn a_local_reply_ends_the_request_even_when_the_callback_says_continue() {
    let mut worker = worker(&Process::new(), &guest(&answers()));
    worker.add(&module(&guest(&on_request_headers("unreachable"))), Plugin::new("never reached")).unwrap();
    let (stream, outcome) = request(&mut worker);
    let Outcome::Reply(reply) = outcome else { panic!("{outcome:?}") };
    assert_eq!((reply.status(), reply.body.as_slice()), (401, &b"no"[..]));
    assert_eq!(reply.headers.text("content-length"), Some("2"));
    assert_eq!(reply.headers.text("content-type"), Some("text/plain"));
    assert_eq!(worker.request_body(stream, "late", true), Outcome::Reset);
    assert_eq!(worker.trap(1), None);
}

#[test]
fn a_local_reply_goes_through_the_response_side_of_the_filters_that_saw_the_request() {
    let marks = |before: &str| {
        guest(&format!(
            r#"{before}
               (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
                 (drop (call $add (i32.const 2) (i32.const 32) (i32.const 4) (i32.const 36) (i32.const 1)))
                 (i32.const 0))
               (data (i32.const 32) "seen1")"#
        ))
    };
    let mut worker = worker(&Process::new(), &marks(""));
    worker.add(&module(&marks(&answers())), Plugin::new("answers")).unwrap();
    worker.add(&module(&marks("")), Plugin::new("not reached")).unwrap();
    let (_, outcome) = request(&mut worker);
    assert_eq!(outcome.reply().unwrap().headers.all("seen").count(), 2);
}

#[test]
fn a_local_reply_to_a_grpc_request_is_a_grpc_status() {
    let mut worker = worker(&Process::new(), &guest(&answers()));
    let stream = worker.open(StreamInfo::new());
    let outcome =
        worker.request_headers(stream, [(":path", "/"), ("content-type", "application/grpc+proto")], false);
    let reply = outcome.reply().unwrap();
    assert_eq!((reply.status(), reply.headers.text("grpc-status")), (200, Some("16")));
    assert_eq!((reply.headers.text("grpc-message"), reply.body.len()), (Some("no"), 0));
}

#[test]
fn a_reply_in_the_response_phase_takes_the_place_of_the_upstreams_answer() {
    let definitions = r#"
        (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
          (if (i32.eqz (global.get $done)) (then
            (global.set $done (i32.const 1))
            (drop (call $reply (i32.const 502) (i32.const 0) (i32.const 0) (i32.const 16) (i32.const 2)
                               (i32.const 0) (i32.const 0) (i32.const -1)))))
          (i32.const 0))
        (global $done (mut i32) (i32.const 0))
        (data (i32.const 16) "no")"#;
    let mut worker = worker(&Process::new(), &guest(definitions));
    let (stream, _) = request(&mut worker);
    let outcome = worker.response_headers(stream, [(":status", "200")], false);
    assert_eq!(
        outcome.reply().map(|reply| (reply.status(), reply.body.clone())),
        Some((502, b"no".to_vec()))
    );
    assert_eq!(worker.response_body(stream, "secret", true), Outcome::Reset);
}

#[test]
fn a_filter_that_answers_its_own_answer_does_not_hang_the_stream() {
    let definitions = r#"
        (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
          (drop (call $reply (i32.const 502) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
                             (i32.const 0) (i32.const 0) (i32.const -1)))
          (i32.const 1))"#;
    let mut worker = worker(&Process::new(), &guest(definitions));
    let (stream, _) = request(&mut worker);
    let outcome = worker.response_headers(stream, [(":status", "200")], false);
    assert_eq!(outcome.reply().map(LocalReply::status), Some(502));
}

/// Buffers the request body to its end and then replaces it by `new`.
#[test]
fn a_buffered_body_is_one_and_can_be_replaced() {
    let definitions = r#"
        (func (export "proxy_on_request_body") (param $context i32) (param $size i32) (param $end i32) (result i32)
          (if (i32.eqz (local.get $end)) (then (return (i32.const 1))))
          (if (i32.ne (local.get $size) (i32.const 6)) (then unreachable))
          (drop (call $set_buffer (i32.const 0) (i32.const 0) (local.get $size) (i32.const 16) (i32.const 3)))
          (i32.const 0))
        (data (i32.const 16) "new")"#;
    let mut worker = worker(&Process::new(), &guest(definitions));
    let stream = worker.open(StreamInfo::new());
    assert!(worker.request_headers(stream, get("/"), false).is_forward());
    assert_eq!(worker.request_body(stream, "abc", false), Outcome::Pause);
    let outcome = worker.request_body(stream, "def", true);
    assert_eq!(outcome, Outcome::Forward(vec![Piece::Body { bytes: b"new".to_vec(), end_of_stream: true }]));
}

/// Pauses on response headers and lets them go with the end of the body.
fn looks_at_the_body_first() -> Vec<u8> {
    guest(
        r#"(func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32) (i32.const 1))
           (func (export "proxy_on_response_body") (param i32 i32 i32) (result i32)
             (if (i32.eqz (local.get 2)) (then (return (i32.const 1))))
             (drop (call $replace (i32.const 2) (i32.const 16) (i32.const 7) (i32.const 24) (i32.const 3)))
             (i32.const 0))
           (data (i32.const 16) ":status\00500")"#,
    )
}

#[test]
fn a_filter_that_may_see_the_body_first_can_still_change_the_status() {
    let mut worker = Worker::new(&Process::new());
    worker
        .add(&module(&looks_at_the_body_first()), Plugin::new("guard").allow_on_headers_stop_iteration())
        .unwrap();
    let (stream, _) = request(&mut worker);
    assert_eq!(worker.response_headers(stream, [(":status", "200")], false), Outcome::Pause);
    assert_eq!(worker.response_body(stream, "a", false), Outcome::Pause);
    let outcome = worker.response_body(stream, "b", true);
    assert_eq!(outcome.headers().unwrap().text(":status"), Some("500"));
    assert_eq!(outcome.body(), b"ab");
}

#[test]
fn without_that_permission_everything_waits_behind_paused_headers() {
    let mut worker = Worker::new(&Process::new());
    worker.add(&module(&looks_at_the_body_first()), Plugin::new("guard")).unwrap();
    let (stream, _) = request(&mut worker);
    assert_eq!(worker.response_headers(stream, [(":status", "200")], false), Outcome::Pause);
    assert_eq!(worker.response_body(stream, "b", true), Outcome::Pause);
    assert!(worker.is_paused(stream, Direction::Response));
}

#[test]
fn what_waits_for_a_paused_filter_is_bounded() {
    let limits = portcullis_host::Limits { body: 10, ..Default::default() };
    let process = Process::builder().limits(limits).build();
    let mut worker = worker(&process, &guest(&on_request_headers("(i32.const 1)")));
    let stream = worker.open(StreamInfo::new());
    assert_eq!(worker.request_headers(stream, get("/"), false), Outcome::Pause);
    assert_eq!(worker.request_body(stream, "0123456789", false), Outcome::Pause);
    let outcome = worker.request_body(stream, "x", false);
    assert_eq!(outcome.reply().map(LocalReply::status), Some(413));
}

#[test]
fn trailers_pass_and_can_be_read() {
    let definitions = r#"
        (func (export "proxy_on_request_trailers") (param i32 i32) (result i32)
          (if (i32.ne (local.get 1) (i32.const 1)) (then unreachable))
          (drop (call $remove (i32.const 1) (i32.const 16) (i32.const 1)))
          (i32.const 0))
        (data (i32.const 16) "t")"#;
    let mut worker = worker(&Process::new(), &guest(definitions));
    let stream = worker.open(StreamInfo::new());
    assert!(worker.request_headers(stream, get("/"), false).is_forward());
    let outcome = worker.request_trailers(stream, [("T", "1")]);
    assert_eq!(outcome, Outcome::Forward(vec![Piece::Trailers(Headers::new())]));
}

#[test]
fn a_property_that_one_filter_sets_is_read_by_the_next() {
    let sets = guest(
        &(on_request_headers(
            "(drop (call $set_property (i32.const 16) (i32.const 4) (i32.const 20) (i32.const 5))) (i32.const 0)",
        ) + r#"(data (i32.const 16) "usersally!")"#),
    );
    let reads = guest(
        &(on_request_headers(
            r#"(if (i32.ne (call $property (i32.const 16) (i32.const 4) (i32.const 32) (i32.const 36)) (i32.const 0)) (then unreachable))
           (drop (call $add (i32.const 0) (i32.const 16) (i32.const 4) (i32.load (i32.const 32)) (i32.load (i32.const 36))))
           (i32.const 0)"#,
        ) + r#"(data (i32.const 16) "user")"#),
    );
    let mut worker = worker(&Process::new(), &sets);
    worker.add(&module(&reads), Plugin::new("reads")).unwrap();
    let (stream, outcome) = request(&mut worker);
    assert_eq!(outcome.headers().unwrap().text("user"), Some("sally"));
    assert_eq!(worker.info(stream).unwrap().state_of("user"), Some(&b"sally"[..]));
}

/// Reads the property at 64 and adds it as the header `p`.
fn reads_a_property(path: &str) -> Vec<u8> {
    let data: String = path.replace('\0', "\\00");
    guest(&format!(
        r#"{} (data (i32.const 16) "p") (data (i32.const 64) "{data}")"#,
        on_request_headers(&format!(
            r#"(if (i32.eqz (call $property (i32.const 64) (i32.const {}) (i32.const 32) (i32.const 36)))
                 (then (drop (call $add (i32.const 0) (i32.const 16) (i32.const 1)
                                   (i32.load (i32.const 32)) (i32.load (i32.const 36))))))
               (i32.const 0)"#,
            path.len()
        ))
    ))
}

#[test]
fn properties_of_the_request_the_connection_and_the_plugin_can_be_read() {
    let process = Process::builder().node("id", "node-1").build();
    let cases = [
        ("request\0path", Some("/a?b=c")),
        ("request\0url_path", Some("/a")),
        ("request\0query", Some("b=c")),
        ("request\0host", Some("api")),
        ("request\0headers\0x", Some("1,2")),
        ("source\0address", Some("10.0.0.7:1")),
        ("plugin_name", Some("guest")),
        ("node\0id", Some("node-1")),
        ("request\0nothing", None),
        ("unheard\0of", None),
        ("", None),
    ];
    for (path, expected) in cases {
        let mut worker = worker(&process, &reads_a_property(path));
        let stream = worker.open(StreamInfo::new().property(["source", "address"], "10.0.0.7:1"));
        let mut headers = get("/a?b=c");
        headers.add("x", "1");
        headers.add("x", "2");
        let outcome = worker.request_headers(stream, headers, true);
        assert_eq!(outcome.headers().unwrap().text("p"), expected, "{path:?}");
    }
}

#[test]
fn a_closed_stream_is_logged_done_and_deleted_in_envoys_order() {
    let logs = |at: u32| format!("(drop (call $log (i32.const 2) (i32.const {at}) (i32.const 1)))");
    let definitions = format!(
        r#"(func (export "proxy_on_log") (param i32)
             (if (i32.ne (call $value (i32.const 0) (i32.const 20) (i32.const 5) (i32.const 32) (i32.const 36)) (i32.const 0))
               (then unreachable))
             {})
           (func (export "proxy_on_done") (param i32) (result i32) {} (i32.const 0))
           (func (export "proxy_on_delete") (param i32) {})
           (data (i32.const 16) "LDX")
           (data (i32.const 20) ":path")"#,
        logs(16),
        logs(17),
        logs(18)
    );
    let process = Process::new();
    let mut worker = worker(&process, &guest(&definitions));
    let (stream, _) = request(&mut worker);
    worker.close(stream);
    worker.close(stream);
    let lines: Vec<_> = process.log().into_iter().map(|line| line.text).collect();
    assert_eq!(lines, ["L", "D", "X"]);
}

#[test]
fn a_filter_can_reset_a_stream() {
    let callback = on_request_headers("(drop (call $close (i32.const 0))) (i32.const 1)");
    let (_, outcome) = request(&mut worker(&Process::new(), &guest(&callback)));
    assert_eq!(outcome, Outcome::Reset);
}

#[test]
fn a_module_without_any_callback_lets_everything_pass() {
    let text = r#"(module (memory (export "memory") 1)
        (func (export "proxy_abi_version_0_2_0"))
        (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 0)))"#;
    let mut worker = worker(&Process::new(), &bytes(text));
    let (stream, outcome) = request(&mut worker);
    assert!(outcome.is_forward());
    assert!(worker.response_headers(stream, [(":status", "200")], true).is_forward());
}
