//! In the real Envoy.

use std::{net::SocketAddr, path::Path, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use portcullis_host_tests::{
    envoy::{
        self, Envoy,
        config::{Bootstrap, Listener, wasm, wasm_holding},
    },
    loopback::{Answer, Endpoint, Reply, Request, http2_cut},
};
use portcullis_issuer::{Seed, Setup};
use serde_json::json;

use crate::{
    guards, in_shadow,
    leaks::{Case, Expect, FOREIGN, OWN, cases},
    tenant_guard,
};

struct Scene {
    envoy: Envoy,
    upstream: Endpoint,
    token: String,
    _folder: tempfile::TempDir,
}

fn scene(binary: &Path) -> Result<Scene> {
    let upstream = Endpoint::start(Answer::status(200))?;
    let address = upstream.address();
    scene_before(binary, upstream, address)
}

/// Envoy before the upstream at `address`; the scripted one is there for nobody then.
fn scene_with(binary: &Path, address: SocketAddr) -> Result<Scene> {
    scene_before(binary, Endpoint::start(Answer::status(200))?, address)
}

fn scene_before(binary: &Path, upstream: Endpoint, address: SocketAddr) -> Result<Scene> {
    let folder = tempfile::tempdir()?;
    let now = i64::try_from(std::time::UNIX_EPOCH.elapsed()?.as_secs())?;
    let setup = Setup::new(&Seed::new([9; 32]), "https://login.example.com", "api", now)?;
    let jwt_auth = setup.jwt_auth_everywhere();
    let (first, second) = (
        portcullis_modules::JWT_AUTH.write_to(folder.path())?,
        portcullis_modules::TENANT_GUARD.write_to(folder.path())?,
    );
    let mut bootstrap = Bootstrap::new()
        .cluster("http1", address)
        .cluster_http2("http2", address)
        .cluster("nobody", "127.0.0.1:1".parse()?);
    for cluster in ["http1", "http2", "nobody"] {
        let listener = Listener::new(cluster)
            .filter(wasm("jwt-auth", &first, &jwt_auth))
            .filter(wasm_holding("tenant-guard", &second, &tenant_guard(&guards())));
        bootstrap = bootstrap.listener(listener.to_cluster(cluster));
    }
    for (name, cluster) in [("shadow", "http1"), ("shadow2", "http2")] {
        let listener = Listener::new(name).filter(wasm("jwt-auth", &first, &jwt_auth)).filter(wasm_holding(
            "tenant-guard-shadow",
            &second,
            &in_shadow(&guards()),
        ));
        bootstrap = bootstrap.listener(listener.to_cluster(cluster));
    }
    let unset = Listener::new("unset").filter(wasm("jwt-auth", &first, &jwt_auth)).filter(wasm(
        "tenant-guard-unset",
        &second,
        &tenant_guard(&guards()),
    ));
    let envoy = Envoy::start(binary, &bootstrap.listener(unset.to_cluster("http1")).into_value())?;
    let token = setup.token().claim("sub", json!("user-1")).claim("org_id", json!("acme"));
    Ok(Scene { envoy, upstream, token: token.compact(&setup.keys.ec)?, _folder: folder })
}

impl Scene {
    /// What a client gets, and whether it was whole.
    fn ask(&self, listener: &str, method: &str, path: &str, downstream: u8) -> Result<(Reply, bool)> {
        let request = Request::new(method, path)
            .header("host", "app.test")
            .header("x-tenant-id", "acme")
            .header("accept-encoding", "gzip, br")
            .header("range", "bytes=0-1")
            .bearer(&self.token);
        if downstream == 2 {
            return http2_cut(self.envoy.address(listener), &request);
        }
        let mut connection = self.envoy.connect(listener)?;
        if method == "HEAD" { Ok((connection.call(&request)?, true)) } else { connection.call_cut(&request) }
    }

    fn counted(&self, kind: &str, what: &str) -> Result<u64> {
        self.envoy.stat(&format!("wasmcustom.portcullis.tenant.leak.{what}.{kind}"))
    }

    fn judge(&self, case: &Case, answer: Answer, listener: &str, downstream: u8) -> Result<()> {
        let body = answer.body.clone();
        let status = answer.status;
        self.upstream.set(answer);
        let before = match &case.expect {
            Expect::Refused(kind) | Expect::Cut(_, kind) => self.counted(kind, "stopped")?,
            Expect::Reported(kind) => self.counted(kind, "reported")?,
            Expect::Whole => 0,
        };
        let (reply, whole) = self.ask(listener, case.method, case.path, downstream)?;
        let text = String::from_utf8_lossy(&reply.body).into_owned();
        match &case.expect {
            Expect::Whole | Expect::Reported(_) => {
                ensure!(
                    reply.status == status && (whole || case.method == "HEAD"),
                    "{} {whole} {text}",
                    reply.status
                );
                ensure!(case.method == "HEAD" || reply.body == body, "{text}");
                ensure!(reply.all("x-tenant-echo").is_empty(), "the echo left");
            }
            Expect::Refused(_) => {
                // gRPC clients read the status in a header.
                let refused =
                    reply.status == 502 || reply.one("grpc-status").is_some_and(|status| status != "0");
                ensure!(refused && whole, "{} {whole} {text}", reply.status);
                ensure!(!text.contains("globex") && !text.contains("tenant_id"), "{text}");
            }
            Expect::Cut(left, _) => {
                ensure!(reply.status == 200 && text == *left, "{} `{text}`, not `{left}`", reply.status);
                // Where the end came with the last bytes, there is nothing left to reset.
                ensure!(!whole || listener == "http2", "the end of the stream looks whole");
            }
        }
        let after = match &case.expect {
            Expect::Refused(kind) | Expect::Cut(_, kind) => self.counted(kind, "stopped")?,
            Expect::Reported(kind) => self.counted(kind, "reported")?,
            Expect::Whole => return Ok(()),
        };
        ensure!(after > before, "it was not counted");
        Ok(())
    }
}

#[test]
fn every_leak_is_stopped_or_reported_in_the_real_envoy() -> Result<()> {
    let Some(binary) = envoy::binary_unless_skipped() else { return Ok(()) };
    let scene = scene(&binary)?;
    let mut objections = Vec::new();
    for case in cases() {
        for (listener, downstream) in [("http1", 1), ("http2", 2), ("http2", 1), ("http1", 2)] {
            // HTTP/1.1 upstreams' trailers end at Envoy.
            if case.name.contains("message") && listener == "http1" {
                continue;
            }
            if let Err(error) = scene.judge(&case, case.answer.clone(), listener, downstream) {
                objections.push(format!("{} | {listener} to {downstream}: {error:#}", case.name));
            }
        }
    }
    ensure!(objections.is_empty(), "{} objections:\n{}", objections.len(), objections.join("\n"));
    // Asked for whole and as they are, whatever the client wanted.
    let seen = scene.upstream.seen();
    let guarded = seen.iter().find(|seen| seen.target.starts_with("/hold")).context("nothing arrived")?;
    assert_eq!((guarded.all("accept-encoding"), guarded.all("range").len()), (vec![&b"identity"[..]], 0));
    let plain = seen.iter().find(|seen| seen.target.starts_with("/plain")).context("nothing arrived")?;
    assert_eq!(plain.all("range").len(), 1);
    Ok(())
}

#[test]
fn in_shadow_mode_every_leak_leaves_and_is_reported() -> Result<()> {
    let Some(binary) = envoy::binary_unless_skipped() else { return Ok(()) };
    let scene = scene(&binary)?;
    let mut objections = Vec::new();
    for case in cases() {
        let case = case.in_shadow();
        for (listener, downstream) in [("shadow", 1), ("shadow2", 2)] {
            if case.name.contains("message") && listener == "shadow" {
                continue;
            }
            if let Err(error) = scene.judge(&case, case.answer.clone(), listener, downstream) {
                objections.push(format!("{} | {listener}: {error:#}", case.name));
            }
        }
    }
    ensure!(objections.is_empty(), "{} objections:\n{}", objections.len(), objections.join("\n"));
    let stopped = scene.envoy.stats()?.into_iter().filter(|(name, _)| name.contains("leak.stopped"));
    assert_eq!(stopped.map(|(_, count)| count).sum::<u64>(), 0, "something was stopped");
    let log = scene.envoy.log()?;
    assert!(log.contains(r#""event":"leak_reported","kind":"field""#), "the log has no event");
    assert!(!log.contains("globex"), "the log has another tenant's data");
    Ok(())
}

#[test]
fn where_the_body_is_cut_changes_nothing() -> Result<()> {
    let Some(binary) = envoy::binary_unless_skipped() else { return Ok(()) };
    let scene = scene(&binary)?;
    let mut objections = Vec::new();
    let mut cut = |case: &Case, cuts: Vec<usize>, listener: &str, downstream: u8| {
        let answer = case.answer.clone().cut(cuts.clone());
        if let Err(error) = scene.judge(case, answer, listener, downstream) {
            objections.push(format!("{} at {cuts:?} | {listener} to {downstream}: {error:#}", case.name));
        }
    };
    for case in cases() {
        let body = &case.answer.body;
        let wanted = [
            "an ordinary list, verified",
            "a foreign record, verified",
            "a foreign record, held",
            "a foreign event",
            "a foreign line",
            "a message",
            "a foreign message",
            "a foreign message, held",
            "another tenant's canary",
            "its own canary",
        ];
        if !wanted.contains(&case.name) {
            continue;
        }
        // HTTP/1.1 upstreams' trailers end at Envoy.
        let has_trailers = !case.answer.trailers.is_empty();
        for at in 1..body.len() {
            // Envoy waits a second before it closes an HTTP/1.1 connection that it has to break.
            let (listener, downstream) =
                if at % 2 == 0 && !has_trailers { ("http1", 2) } else { ("http2", 2) };
            cut(&case, vec![at], listener, downstream);
        }
        if !has_trailers {
            cut(&case, (1..body.len()).collect(), "http1", 1);
        }
        cut(&case, (1..body.len()).collect(), "http2", 2);
    }
    ensure!(objections.is_empty(), "{} objections:\n{}", objections.len(), objections.join("\n"));
    Ok(())
}

#[test]
fn a_stream_that_goes_on_is_cut_without_more_of_it() -> Result<()> {
    let Some(binary) = envoy::binary_unless_skipped() else { return Ok(()) };
    let scene = scene(&binary)?;
    // What comes after the leak comes late: the client is not left waiting for it.
    let answer = Answer::status(200).body("text/event-stream", format!("data: {OWN}\n\ndata: {FOREIGN}\n\n"));
    let end = answer.body.len();
    scene.upstream.set(answer.cut([end]));
    for downstream in [1, 2] {
        let (reply, _) = scene.ask("http1", "GET", "/prefix/a", downstream)?;
        assert_eq!(String::from_utf8_lossy(&reply.body), format!("data: {OWN}\n\n"));
    }
    // Severed: some bytes may leave, and the stream is reset.
    let body = format!("[{OWN},{FOREIGN},{OWN}]");
    scene.upstream.set(Answer::status(200).body("application/json", &body).cut([1, 70, 71]));
    let (reply, whole) = scene.ask("http1", "GET", "/sever/a", 2)?;
    ensure!(!whole && body.as_bytes().starts_with(&reply.body) && reply.body.len() < body.len());
    Ok(())
}

#[test]
fn the_proxys_own_errors_are_nobodys_data() -> Result<()> {
    let Some(binary) = envoy::binary_unless_skipped() else { return Ok(()) };
    let scene = scene(&binary)?;
    for path in ["/hold/a", "/prefix/a", "/echo/a"] {
        assert_eq!(scene.ask("nobody", "GET", path, 1)?.0.status, 503, "{path}");
    }
    Ok(())
}

#[test]
fn an_echo_that_agrees_leaves_without_a_trace() -> Result<()> {
    let Some(binary) = envoy::binary_unless_skipped() else { return Ok(()) };
    // The id is Envoy's, so the upstream answers with what it was asked.
    let service = portcullis_host_tests::loopback::Service::start(|seen| {
        let value = |name: &str| {
            seen.all(name)
                .first()
                .map(|value| String::from_utf8_lossy(value).into_owned())
                .unwrap_or_default()
        };
        let echo = format!("{};{}", value("x-tenant-id"), value("x-request-id"));
        Answer::json(&json!({})).header("x-tenant-echo", &echo)
    })?;
    let scene = scene_with(&binary, service.address())?;
    let (reply, whole) = scene.ask("http1", "GET", "/echo/a", 1)?;
    assert_eq!((reply.status, whole, reply.all("x-tenant-echo").len()), (200, true, 0));
    Ok(())
}

#[test]
fn a_missing_setting_is_noticed_and_lets_nothing_leave() -> Result<()> {
    let Some(binary) = envoy::binary_unless_skipped() else { return Ok(()) };
    let scene = scene(&binary)?;
    scene.upstream.set(Answer::status(200).body("application/json", FOREIGN));
    for _ in 0..4 {
        // Or it was reset before anything came.
        if let Ok((reply, whole)) = scene.ask("unset", "GET", "/hold/a", 1) {
            let text = String::from_utf8_lossy(&reply.body);
            ensure!(reply.status != 200 || (!whole && text.is_empty()), "{text}");
        }
    }
    scene.upstream.set(Answer::status(200).body("application/json", OWN));
    let (reply, whole) = scene.ask("unset", "GET", "/hold/a", 1)?;
    assert_eq!((reply.status, whole, String::from_utf8(reply.body)?), (200, true, OWN.into()));
    let name = "wasmcustom.portcullis.tenant.guard.headers_not_held";
    scene.envoy.wait_for_stat(name, Duration::from_secs(5), |count| count > 0)?;
    if !scene.envoy.log()?.contains("allow_on_headers_stop_iteration: true") {
        bail!("the log does not say what is missing");
    }
    Ok(())
}
