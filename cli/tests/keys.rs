//! `portcullis serve` with jwt-auth and an issuer whose keys are fetched over TLS.

mod common;

use std::{fs, io::Write as _, sync::Arc, thread, time::SystemTime};

use common::{Gateway, get, mirror, read_until};
use portcullis_issuer::{Seed, Setup};
use serde_json::{Value, json};
use tokio_rustls::rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    crypto::ring,
    pki_types::{PrivateKeyDer, pem::PemObject as _},
};

/// An issuer on loopback with a certificate for `idp.example`: its address and its authority.
fn issuer(jwks: String) -> (std::net::SocketAddr, String) {
    let made = rcgen::generate_simple_self_signed(["idp.example".to_owned()]).unwrap();
    let key = PrivateKeyDer::from_pem_slice(made.signing_key.serialize_pem().as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let (socket, address) = common::upstream();
    thread::spawn(move || {
        for stream in socket.incoming().map_while(Result::ok) {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = StreamOwned::new(connection, stream);
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{jwks}",
                jwks.len()
            );
            // A client that does not trust the certificate ends the handshake.
            if stream.write_all(answer.as_bytes()).is_ok() {
                stream.conn.send_close_notify();
                let _ = stream.flush();
                let _ = stream.conn.complete_io(&mut stream.sock);
            }
        }
    });
    (address, made.cert.pem())
}

fn status_with_tls(tls: Option<Value>) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let now = i64::try_from(now).unwrap();
    let setup = Setup::new(&Seed::new([4; 32]), "https://issuer", "api", now).unwrap();
    let (idp, authority) = issuer(setup.jwks().to_string());
    let mut policy = setup.jwt_auth_config();
    policy["issuers"][0]["jwks"] =
        json!({ "remote": { "uri": "https://idp.example/jwks", "cluster": "idp" } });
    policy["limits"] = json!({ "wait": "1s" });
    let mut cluster = json!({ "address": idp.to_string() });
    if let Some(tls) = tls {
        cluster["tls"] = tls;
    }
    let gateway = Gateway::start(|folder| {
        fs::write(folder.join("ca.pem"), authority).unwrap();
        json!({
            "listen": "127.0.0.1:0", "workers": 2,
            "upstream": { "address": mirror().to_string() },
            "clusters": { "idp": cluster },
            "plugins": [{ "name": "jwt-auth", "config": policy }],
        })
        .to_string()
    });
    let token = setup.token().compact(&setup.keys.ec).unwrap();
    let mut stream = gateway.connect();
    stream.write_all(get("/", &format!("authorization: Bearer {token}\r\n")).as_bytes()).unwrap();
    let head = String::from_utf8(read_until(&mut stream, "\r\n\r\n")).unwrap();
    head.get(9..12).unwrap_or_default().to_owned()
}

#[test]
fn keys_from_an_issuer_whose_certificate_is_trusted_verify_tokens() {
    assert_eq!(status_with_tls(Some(json!({ "server_name": "idp.example", "ca_file": "ca.pem" }))), "200");
}

#[test]
fn keys_from_an_issuer_whose_certificate_is_not_trusted_are_not_used() {
    assert_eq!(status_with_tls(Some(json!({ "server_name": "idp.example" }))), "503");
}

#[test]
fn keys_from_an_issuer_with_another_name_are_not_used() {
    assert_eq!(status_with_tls(Some(json!({ "server_name": "other.example", "ca_file": "ca.pem" }))), "503");
}

#[test]
fn keys_of_an_https_address_are_never_fetched_in_the_clear() {
    assert_eq!(status_with_tls(None), "503");
}
