//! `portcullis serve`: what reaches the upstream, what comes back, and what happens when something
//! breaks.

mod common;

use std::{
    io::{Read as _, Write as _},
    thread,
    time::{Duration, Instant},
};

use common::{Gateway, HOLD, PASS, TRAP, accept, connect, get, mirror, read_until, upstream};

fn status(answer: &str) -> &str {
    answer.get(9..12).unwrap_or("no status")
}

#[test]
fn the_upstream_gets_the_request_that_the_plugins_saw() {
    let gateway = Gateway::with_guest(PASS, mirror(), "");
    let mut stream = gateway.connect();
    let request = [
        &b"GET /a//b/%2e?q=%41;x HTTP/1.1\r\nHost: API.example\r\nX-Two: 1\r\nx-two: 2\r\nX-High: \xc3\xa9\xff\r\n"[..],
        b"Connection: close, x-mine\r\nX-Mine: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\n\r\n",
    ];
    stream.write_all(&request.concat()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let body = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap() + 4;
    let mut lines: Vec<&[u8]> = answer[body..].split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).collect();
    assert_eq!(lines.remove(0), b"GET /a//b/%2e?q=%41;x HTTP/1.1");
    lines.retain(|line| !line.is_empty());
    lines.sort_unstable();
    assert_eq!(
        lines,
        [&b"host: API.example"[..], b"te: trailers", b"x-high: \xc3\xa9\xff", b"x-two: 1", b"x-two: 2"]
    );
}

#[test]
fn requests_that_servers_read_in_two_ways_are_refused() {
    let gateway = Gateway::with_guest(PASS, mirror(), "");
    for (request, expected) in [
        ("GET / HTTP/1.1\r\nconnection: close\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\nconnection: close\r\n\r\n", "400"),
        ("GET http://a/ HTTP/1.1\r\nhost: b\r\nconnection: close\r\n\r\n", "400"),
        ("CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\nconnection: close\r\n\r\n", "501"),
        ("GET / HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n", "501"),
    ] {
        let mut stream = gateway.connect();
        stream.write_all(request.as_bytes()).unwrap();
        let head = String::from_utf8(read_until(&mut stream, "\r\n\r\n")).unwrap();
        assert_eq!(status(&head), expected, "{request}");
    }
}

#[test]
fn bodies_are_streamed_in_both_directions_at_once() {
    let (socket, address) = upstream();
    let gateway = Gateway::with_guest(PASS, address, "");
    let mut client = gateway.connect();
    client
        .write_all(b"POST /up HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n")
        .unwrap();
    let mut server = accept(&socket);
    read_until(&mut server, "one\r\n");
    // The answer begins while the request is not complete, and is seen at once.
    server.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n").unwrap();
    read_until(&mut client, "first\r\n");
    client.write_all(b"3\r\ntwo\r\n0\r\n\r\n").unwrap();
    read_until(&mut server, "two\r\n");
    read_until(&mut server, "0\r\n\r\n");
    server.write_all(b"4\r\nlast\r\n0\r\n\r\n").unwrap();
    read_until(&mut client, "last\r\n");
    read_until(&mut client, "0\r\n\r\n");
}

#[test]
fn a_body_larger_than_what_may_be_held_streams_through() {
    const SIZE: usize = 8 << 20;
    let (socket, address) = upstream();
    let gateway = Gateway::with_guest(PASS, address, "limits: {body_bytes: 65536}");
    let mut client = gateway.connect();
    let server = thread::spawn(move || {
        let mut server = accept(&socket);
        read_until(&mut server, "\r\n\r\n");
        let mut body = vec![0; SIZE];
        server.read_exact(&mut body).unwrap();
        assert!(body.iter().enumerate().all(|(at, byte)| *byte == (at % 251) as u8));
        server.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
    });
    client
        .write_all(format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {SIZE}\r\n\r\n").as_bytes())
        .unwrap();
    let body: Vec<u8> = (0..SIZE).map(|at| (at % 251) as u8).collect();
    client.write_all(&body).unwrap();
    assert_eq!(status(&String::from_utf8(read_until(&mut client, "\r\n\r\n")).unwrap()), "204");
    server.join().unwrap();
}

#[test]
fn a_plugin_may_hold_a_body_up_to_the_limit_and_not_beyond() {
    let (socket, address) = upstream();
    let gateway = Gateway::with_guest(HOLD, address, "limits: {body_bytes: 1000}");
    let post = |length: usize| {
        let body = "x".repeat(length);
        gateway.ask(&format!(
            "POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        ))
    };
    let first = thread::spawn(move || {
        let mut server = accept(&socket);
        read_until(&mut server, "\r\n\r\n");
        server.read_exact(&mut [0; 900]).unwrap();
        server.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
        // Open, and silent from here on: whatever answers the next request is the gateway.
        (socket, server)
    });
    assert_eq!(status(&post(900)), "200");
    let _silent = first.join().unwrap();
    assert_eq!(status(&post(100_000)), "413");
}

#[test]
fn a_body_that_the_client_cuts_never_looks_whole_to_the_upstream() {
    let (socket, address) = upstream();
    let gateway = Gateway::with_guest(PASS, address, "");
    let mut client = gateway.connect();
    client
        .write_all(b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n")
        .unwrap();
    let mut server = accept(&socket);
    read_until(&mut server, "one\r\n");
    drop(client);
    let mut rest = Vec::new();
    // A reset is as good an end as a close.
    let _ = server.read_to_end(&mut rest);
    assert!(!rest.ends_with(b"0\r\n\r\n"), "{rest:?}");
}

#[test]
fn a_body_that_the_upstream_cuts_never_looks_whole_to_the_client() {
    let (socket, address) = upstream();
    let gateway = Gateway::with_guest(PASS, address, "");
    let mut client = gateway.connect();
    client.write_all(get("/", "").as_bytes()).unwrap();
    let mut server = accept(&socket);
    read_until(&mut server, "\r\n\r\n");
    server.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n").unwrap();
    read_until(&mut client, "one\r\n");
    drop(server);
    let mut rest = Vec::new();
    let _ = client.read_to_end(&mut rest);
    assert!(!rest.ends_with(b"0\r\n\r\n"), "{rest:?}");
}

#[test]
fn a_trap_is_a_503_and_the_next_request_gets_a_fresh_vm() {
    let gateway = Gateway::with_guest(TRAP, mirror(), "");
    for _ in 0..3 {
        assert_eq!(status(&gateway.ask(&get("/", "x-trap: 1\r\n"))), "503");
        for _ in 0..4 {
            assert_eq!(status(&gateway.ask(&get("/", ""))), "200");
        }
    }
}

#[test]
fn a_header_that_cannot_be_sent_fails_closed() {
    let gateway = Gateway::with_guest(TRAP, mirror(), "");
    let answer = gateway.ask(&get("/", "x-break: 1\r\n"));
    assert_eq!(status(&answer), "503");
    assert!(
        answer.ends_with(r#"{"code":"INTERNAL_ERROR","message":"The request cannot be checked right now."}"#)
    );
}

#[test]
fn an_upstream_that_is_not_there_is_a_502_and_one_that_is_silent_a_504() {
    let (socket, address) = upstream();
    let gateway = Gateway::with_guest(PASS, address, "");
    let answer = gateway.ask(&get("/", ""));
    assert_eq!(status(&answer), "504", "{answer}");
    drop(socket);
    let answer = gateway.ask(&get("/", ""));
    assert_eq!(status(&answer), "502", "{answer}");
    assert!(answer.contains(r#""code":"UPSTREAM_FAILED""#));
}

#[test]
fn sigterm_lets_the_request_under_way_finish_and_takes_no_new_ones() {
    let (socket, address) = upstream();
    let gateway = Gateway::with_guest(PASS, address, "drain: 20s");
    let mut client = gateway.connect();
    client.write_all(get("/", "").as_bytes()).unwrap();
    let mut server = accept(&socket);
    read_until(&mut server, "\r\n\r\n");
    gateway.signal("TERM");
    let began = Instant::now();
    while std::net::TcpStream::connect(gateway.address).is_ok() {
        assert!(began.elapsed() < common::PATIENCE, "it still takes connections");
        thread::sleep(Duration::from_millis(20));
    }
    server.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("done"), "{answer}");
    assert_eq!(gateway.wait(), Some(0));
}

#[test]
fn the_drain_time_is_a_bound() {
    let (socket, address) = upstream();
    let gateway = Gateway::with_guest(PASS, address, "drain: 300ms");
    let mut client = gateway.connect();
    client.write_all(get("/", "").as_bytes()).unwrap();
    let _server = accept(&socket);
    let began = Instant::now();
    gateway.signal("INT");
    assert_eq!(gateway.wait(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
}

#[test]
fn a_client_that_leaves_closes_the_connection_to_the_upstream() {
    let (socket, address) = upstream();
    let gateway = Gateway::with_guest(PASS, address, "");
    let mut client = gateway.connect();
    client.write_all(get("/", "").as_bytes()).unwrap();
    let mut server = accept(&socket);
    read_until(&mut server, "\r\n\r\n");
    drop(client);
    let mut rest = Vec::new();
    let _ = server.read_to_end(&mut rest);
    assert!(rest.is_empty());
}

#[test]
fn http2_without_tls_is_served() {
    use http_body_util::{BodyExt as _, Full};
    use hyper::{Request, body::Bytes, client::conn::http2};
    use hyper_util::rt::{TokioExecutor, TokioIo};
    let gateway = Gateway::with_guest(PASS, mirror(), "");
    let stream = connect(gateway.address);
    stream.set_nonblocking(true).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let body = runtime.block_on(async {
        let stream = TokioIo::new(tokio::net::TcpStream::from_std(stream).unwrap());
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
        tokio::spawn(async move { drop(connection.await) });
        let request =
            Request::get("http://api.example/two?x").header("x-a", "1").body(Full::<Bytes>::default());
        let response = sender.send_request(request.unwrap()).await.unwrap();
        assert_eq!(response.status(), 200);
        response.into_body().collect().await.unwrap().to_bytes()
    });
    let head = String::from_utf8(body.to_vec()).unwrap();
    assert!(head.starts_with("GET /two?x HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("host: api.example\r\n") && head.contains("x-a: 1\r\n"), "{head}");
}

/// A file beside `path` that is renamed onto it.
fn replace(path: &std::path::Path, bytes: impl AsRef<[u8]>) {
    let beside = path.with_extension("new");
    std::fs::write(&beside, bytes).unwrap();
    std::fs::rename(&beside, path).unwrap();
}

#[test]
fn a_changed_file_is_swapped_under_load_and_a_broken_one_changes_nothing() {
    const REFUSE: &str = r#"
      (import "env" "proxy_send_local_response" (func $reply (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
      (memory (export "memory") 1)
      (func (export "proxy_abi_version_0_2_1"))
      (func (export "malloc") (param i32) (result i32) (i32.const 1024))
      (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (drop (call $reply (i32.const 403) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
                           (i32.const 0) (i32.const 0) (i32.const -1)))
        (i32.const 1))
    "#;
    let trap = r#"(memory (export "memory") 1)
      (func (export "proxy_abi_version_0_2_1"))
      (func (export "proxy_on_configure") (param i32 i32) (result i32) unreachable)"#;
    let upstream = mirror();
    let sound = |module: &str| {
        format!(
            "listen: 127.0.0.1:0\nworkers: 2\nupstream: {{address: '{upstream}', timeout: 5s}}\n\
             plugins: [{{name: guest, module: {module}}}]\n"
        )
    };
    let mut place = None;
    let gateway = Gateway::start(|folder| {
        place = Some(folder.to_owned());
        for (name, text) in [
            ("pass.wasm", common::module(PASS)),
            ("refuse.wasm", format!("(module {REFUSE})")),
            ("trap.wasm", format!("(module {trap})")),
        ] {
            std::fs::write(folder.join(name), wat::parse_str(text).unwrap()).unwrap();
        }
        std::fs::write(folder.join("cut.wasm"), &std::fs::read(folder.join("pass.wasm")).unwrap()[..40])
            .unwrap();
        sound("pass.wasm")
    });
    let folder = place.unwrap();
    let config = folder.join("gateway.yaml");
    let end = std::sync::atomic::AtomicBool::new(false);
    let ask = |stream: &mut std::net::TcpStream| {
        stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
        let head = String::from_utf8(read_until(stream, "\r\n\r\n")).unwrap();
        let length = head
            .to_ascii_lowercase()
            .split_once("content-length: ")
            .map_or(0, |(_, rest)| rest.lines().next().unwrap().trim().parse::<usize>().unwrap());
        stream.read_exact(&mut vec![0; length]).unwrap();
        status(&head).to_owned()
    };
    /// A client that asks until the end would wait for it for ever where the test fails.
    struct Ends<'e>(&'e std::sync::atomic::AtomicBool);
    impl Drop for Ends<'_> {
        fn drop(&mut self) {
            self.0.store(true, std::sync::atomic::Ordering::SeqCst);
        }
    }
    let until = |wanted: &str| {
        let deadline = Instant::now() + common::PATIENCE;
        while ask(&mut gateway.connect()) != wanted {
            assert!(Instant::now() < deadline, "never {wanted}");
            thread::sleep(Duration::from_millis(20));
        }
    };

    let asked = thread::scope(|scope| {
        let client = scope.spawn(|| {
            let mut stream = gateway.connect();
            let mut asked = 0;
            while !end.load(std::sync::atomic::Ordering::SeqCst) {
                let status = ask(&mut stream);
                assert!(matches!(status.as_str(), "200" | "403"), "{status}");
                asked += 1;
                thread::sleep(Duration::from_millis(2));
            }
            asked
        });
        let ends = Ends(&end);
        for round in 0..3 {
            replace(&config, sound("refuse.wasm"));
            until("403");
            for broken in [
                sound("cut.wasm"),
                sound("trap.wasm"),
                sound("missing.wasm"),
                format!("{}more: 1\n", sound("pass.wasm")),
                "listen: [".into(),
                sound("pass.wasm").replace(":0\n", ":1\n"),
            ] {
                replace(&config, broken);
                gateway.wait_for_line("refused, what was in force stays in force");
                assert_eq!(ask(&mut gateway.connect()), "403");
            }
            replace(&config, sound("pass.wasm"));
            until("200");
            // The module itself changes, and the configuration does not.
            if round == 0 {
                let pass = std::fs::read(folder.join("pass.wasm")).unwrap();
                replace(&folder.join("pass.wasm"), std::fs::read(folder.join("refuse.wasm")).unwrap());
                until("403");
                replace(&folder.join("pass.wasm"), pass);
                until("200");
            }
        }
        drop(ends);
        client.join().unwrap()
    });

    assert!(asked > 100, "{asked}");
    gateway.signal("TERM");
    assert_eq!(gateway.wait(), Some(0));
}
