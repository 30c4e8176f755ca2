//! What a request costs in WebAssembly instructions: a count that does not depend on the machine or
//! on what else it does, so that a change which makes requests dearer is noticed where it is made.
//!
//! `cargo test --test instructions -- --nocapture` prints the numbers.

use anyhow::{Context as _, Result};
use portcullis_host::{Engine, Module, Plugin, Process, StreamInfo, VirtualClock, Worker};
use portcullis_issuer::{Kind, Seed, SigningKey, Token, jwk_set};
use serde_json::json;

const NOW: u64 = 1_767_225_600;
/// How far a count may be from the stated one. More is dearer; less is to be stated, so that the
/// next change is measured against it.
const MARGIN: f64 = 0.05;

/// A worker with jwt-auth for tokens of `key`, and requests to it.
struct Subject {
    worker: Worker,
    key: SigningKey,
    served: u64,
}

impl Subject {
    fn new(module: &Module, kind: Kind) -> Result<Self> {
        let key = SigningKey::generate(&Seed::new([7; 32]), "main".to_owned(), kind)?;
        let configuration = json!({
            "issuers": [{
                "name": "main",
                "issuer": "https://issuer",
                "audiences": ["api"],
                "algorithms": [key.natural_alg().as_str()],
                "jwks": {"inline": jwk_set([key.jwk()])},
                "forward": {"headers": [{"claim": "sub", "header": "x-sub"}]},
            }],
            "rules": [{"path": {"prefix": "/"}, "require": {"any": ["main"]}}],
        });
        let process = Process::builder().clock(VirtualClock::at_unix_seconds(NOW)).seed(1).build();
        let mut worker = Worker::new(&process);
        worker.add(module, Plugin::new("jwt-auth").configuration(configuration.to_string()))?;
        let mut subject = Self { worker, key, served: 0 };
        // What is done once is done.
        for _ in 0..8 {
            let token = subject.token()?;
            subject.serve(&token)?;
        }
        Ok(subject)
    }

    fn token(&mut self) -> Result<String> {
        self.served += 1;
        Ok(Token::new()
            .header("typ", "JWT")
            .claim("iss", "https://issuer")
            .claim("aud", "api")
            .claim("sub", format!("user-{:04}", self.served))
            .claim("jti", format!("{:032x}", self.served))
            .claim("scope", "orders:read orders:write profile")
            .claim("org_id", "acme")
            .claim("iat", NOW)
            .claim("exp", NOW + 3600)
            .compact(&self.key)?)
    }

    /// The instructions that a request with `token` costs, from its first callback to its last.
    fn serve(&mut self, token: &str) -> Result<u64> {
        let bearer = format!("Bearer {token}");
        let headers = [
            (":method", "GET"),
            (":path", "/orders/7"),
            (":authority", "gateway"),
            (":scheme", "https"),
            ("user-agent", "portcullis"),
            ("accept", "*/*"),
            ("authorization", bearer.as_str()),
        ];
        let before = self.instructions()?;
        let stream = self.worker.open(StreamInfo::new());
        let outcome = self.worker.request_headers(stream, headers, true);
        self.worker.close(stream);
        anyhow::ensure!(outcome.is_forward(), "refused: {outcome:?}");
        Ok(self.instructions()? - before)
    }

    fn instructions(&self) -> Result<u64> {
        self.worker.instructions(0).context("this engine does not count")
    }
}

fn median(mut counts: Vec<u64>) -> u64 {
    counts.sort_unstable();
    counts[counts.len() / 2]
}

#[test]
fn a_request_costs_the_stated_number_of_instructions() -> Result<()> {
    let module = Module::compile(&Engine::counting()?, portcullis_modules::JWT_AUTH.wasm)?;
    let mut objections = Vec::new();
    // The second time a token is parsed once more, and what it says is kept.
    for (name, kind, stated) in [
        ("RS256", Kind::Rsa(2048), [43_930_u64, 48_352, 20_028]),
        ("ES256", Kind::P256, [42_060, 45_672, 20_042]),
        ("EdDSA", Kind::Ed25519, [2_158_000, 46_500, 20_042]),
    ] {
        let mut subject = Subject::new(&module, kind)?;
        let tokens = (0..31).map(|_| subject.token()).collect::<Result<Vec<_>>>()?;
        for (how, stated) in ["first", "second", "third"].into_iter().zip(stated) {
            let counts = tokens.iter().map(|token| subject.serve(token)).collect::<Result<Vec<_>>>()?;
            let found = median(counts);
            println!("{name}, {how} time: {found} instructions");
            let change = found as f64 / stated as f64 - 1.0;
            if change.abs() > MARGIN {
                objections.push(format!(
                    "{name}, {how} time: {found} instructions, {:+.1} % of the stated {stated}",
                    change * 100.0
                ));
            }
        }
    }
    assert!(
        objections.is_empty(),
        "{}\nIf that is meant, state the new numbers in this test.",
        objections.join("\n")
    );
    Ok(())
}
