//! Client certificates in the real Envoy, over TLS that asks for them: a token that belongs to one,
//! and a tenant that one proves. Python makes the connections, as a client that is not ours.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use portcullis_host_tests::envoy::{
    self, Envoy,
    config::{Bootstrap, Listener, wasm},
};
use portcullis_issuer::{Seed, Setup};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType, string::Ia5String,
};
use serde_json::{Value, json};

const HOST: &str = "api.test";
const ACME: &str = "spiffe://mesh/tenant/acme/orders";
const GLOBEX: &str = "spiffe://mesh/tenant/globex/orders";

/// Certificates of one authority, as files.
struct Pki {
    authority: CertifiedIssuer<'static, KeyPair>,
    folder: tempfile::TempDir,
}

impl Pki {
    fn new() -> Result<Self> {
        let mut params = CertificateParams::new([])?;
        params.distinguished_name.push(DnType::CommonName, "authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join("ca.pem"), authority.pem())?;
        Ok(Self { authority, folder })
    }

    fn issue(&self, file: &str, names: Vec<SanType>, usage: ExtendedKeyUsagePurpose) -> Result<()> {
        let mut params = CertificateParams::new([])?;
        params.distinguished_name.push(DnType::CommonName, file);
        params.subject_alt_names = names;
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.authority)?;
        fs::write(self.file(file), certificate.pem() + &key.serialize_pem())?;
        Ok(())
    }

    fn client(&self, file: &str, uris: &[&str]) -> Result<()> {
        let names = uris.iter().map(|uri| Ok(SanType::URI(Ia5String::try_from(*uri)?)));
        self.issue(file, names.collect::<Result<_>>()?, ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn file(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(format!("{name}.pem"))
    }
}

/// Makes every listener of `bootstrap` one that asks for a certificate, and does not insist.
fn with_tls(mut bootstrap: Value, pki: &Pki) -> Value {
    let tls = json!({
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            "common_tls_context": {
                "tls_certificates": [{
                    "certificate_chain": {"filename": pki.file("server")},
                    "private_key": {"filename": pki.file("server")},
                }],
                "validation_context": {"trusted_ca": {"filename": pki.file("ca")}},
            },
        },
    });
    for listener in bootstrap["static_resources"]["listeners"].as_array_mut().into_iter().flatten() {
        let chain = &mut listener["filter_chains"][0];
        chain["transport_socket"] = tls.clone();
        let manager = &mut chain["filters"][0]["typed_config"];
        manager["forward_client_cert_details"] = json!("SANITIZE_SET");
        manager["set_current_client_cert_details"] = json!({"uri": true, "dns": true});
    }
    bootstrap
}

/// The status that a client with the certificate in `client`, or with none, gets.
fn status(
    envoy: &Envoy,
    pki: &Pki,
    listener: &str,
    client: Option<&str>,
    headers: &[(&str, &str)],
) -> Result<u16> {
    const SCRIPT: &str = r"
import json, socket, ssl, sys
ca, client, port, host, headers = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
if client:
    context.load_cert_chain(client)
with socket.create_connection(('127.0.0.1', int(port))) as plain:
    with context.wrap_socket(plain, server_hostname=host) as secure:
        lines = ['GET /orders HTTP/1.1', f'host: {host}', 'connection: close']
        lines += [f'{name}: {value}' for name, value in json.loads(headers)]
        secure.sendall('\r\n'.join(lines + ['', '']).encode())
        print(secure.makefile('rb').readline().split()[1].decode())
";
    let client = client.map(|name| pki.file(name)).unwrap_or_default();
    let output = Command::new("python3")
        .args(["-c", SCRIPT])
        .arg(pki.file("ca"))
        .arg(client)
        .arg(envoy.address(listener).port().to_string())
        .arg(HOST)
        .arg(json!(headers).to_string())
        .output()
        .context("python3, which the tests need")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}

fn start(binary: &Path, pki: &Pki, setup: &Setup) -> Result<Envoy> {
    let mut jwt_auth = setup.jwt_auth_config();
    jwt_auth["issuers"][0]["claims"] = json!([{"claim": "spiffe", "equals_request": {"peer_san": "uri"}}]);
    let tenant_guard = json!({
        "sources": [{"header": "x-tenant-id", "by": "id"}],
        "proofs": [{"name": "svc", "client_certificate": "spiffe://mesh/tenant/{tenant}/**"}],
        "routes": [{"path": {"prefix": "/"}, "class": "tenant"}],
        "forward": {"headers": {"id": "x-tenant-id"}},
    });
    let bootstrap = Bootstrap::new()
        .listener(Listener::new("token").filter(wasm(
            "jwt-auth",
            &portcullis_modules::JWT_AUTH.write_to(pki.folder.path())?,
            &jwt_auth,
        )))
        .listener(Listener::new("tenant").filter(wasm(
            "tenant-guard",
            &portcullis_modules::TENANT_GUARD.write_to(pki.folder.path())?,
            &tenant_guard,
        )));
    Envoy::start(binary, &with_tls(bootstrap.into_value(), pki))
}

#[test]
fn a_certificate_proves_its_tenant_and_holds_its_token() -> Result<()> {
    let Some(binary) = envoy::binary_unless_skipped() else { return Ok(()) };
    let pki = Pki::new()?;
    pki.issue("server", vec![SanType::DnsName(HOST.try_into()?)], ExtendedKeyUsagePurpose::ServerAuth)?;
    pki.client("acme", &[ACME])?;
    pki.client("globex", &[GLOBEX])?;
    pki.client("both", &[ACME, GLOBEX])?;
    pki.client("nobody", &["spiffe://mesh/host/7"])?;
    let now = i64::try_from(std::time::UNIX_EPOCH.elapsed()?.as_secs())?;
    let setup = Setup::new(&Seed::new([7; 32]), "https://issuer", "api", now)?;
    let envoy = start(&binary, &pki, &setup)?;
    let bearer = format!("Bearer {}", setup.token().claim("spiffe", json!(ACME)).compact(&setup.keys.ec)?);
    let forwarded = format!("By=spiffe://mesh/gateway;URI={ACME}");

    let (acme, globex) = (("x-tenant-id", "acme"), ("x-tenant-id", "globex"));
    let (token, header) =
        (("authorization", bearer.as_str()), ("x-forwarded-client-cert", forwarded.as_str()));
    for (listener, client, headers, expected) in [
        ("token", Some("acme"), vec![token], 200),
        ("token", Some("globex"), vec![token], 403),
        ("token", Some("nobody"), vec![token], 403),
        ("token", None, vec![token], 403),
        ("token", None, vec![token, header], 403),
        ("tenant", Some("acme"), vec![acme], 200),
        ("tenant", Some("globex"), vec![globex], 200),
        ("tenant", Some("globex"), vec![acme], 404),
        ("tenant", Some("globex"), vec![acme, header], 404),
        ("tenant", Some("both"), vec![acme], 403),
        ("tenant", Some("nobody"), vec![acme], 401),
        ("tenant", None, vec![acme], 401),
        ("tenant", None, vec![acme, header], 401),
    ] {
        let found = status(&envoy, &pki, listener, client, &headers)?;
        ensure!(found == expected, "{listener}, {client:?}, {headers:?}: {found}, not {expected}");
    }
    Ok(())
}
