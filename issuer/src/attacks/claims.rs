//! Claims of tokens whose signature is good (RFC 7519 section 4.1).

use portcullis_core::Code::{
    self, AudienceMismatch, IssuerMismatch, MalformedToken, MissingClaim, TokenExpired, TokenNotYetValid,
};
use serde_json::{Value, json};

use super::{Cases, Class::Claims, Setup};
use crate::{keys::KeyError, mint::Raw};

pub(super) fn cases(s: &Setup, to: &mut Cases) -> Result<(), KeyError> {
    issuer(s, to)?;
    audience(s, to)?;
    expiry(s, to)?;
    start(s, to)?;
    subject(s, to)
}

type Row<'r> = (&'static str, &'static str, &'r [Code], Value);

fn deny_claim(s: &Setup, to: &mut Cases, claim: &str, rows: &[Row<'_>]) -> Result<(), KeyError> {
    for (name, origin, codes, value) in rows {
        to.deny(Claims, name, origin, codes, s.token().claim(claim, value.clone()).compact(&s.keys.ec)?);
    }
    Ok(())
}

fn issuer(s: &Setup, to: &mut Cases) -> Result<(), KeyError> {
    let origin = "RFC 8725 section 3.8";
    let missing = s.token().without_claim("iss").compact(&s.keys.ec)?;
    to.deny(Claims, "no `iss`", origin, &[IssuerMismatch], missing);
    let own = s.issuer.as_str();
    let (wrong, either): (&[Code], &[Code]) = (&[IssuerMismatch], &[IssuerMismatch, MalformedToken]);
    let spaced = format!("{own} ");
    let nul = format!("{own}\0");
    deny_claim(
        s,
        to,
        "iss",
        &[
            ("another issuer", origin, wrong, json!("https://mallory.example")),
            ("`iss` with a slash behind", origin, wrong, json!(format!("{own}/"))),
            ("`iss` in upper case", origin, wrong, json!(own.to_uppercase())),
            (
                "`iss` as a prefix of another name",
                "RFC 7519 section 4.1.1",
                wrong,
                json!(format!("{own}.mallory.example")),
            ),
            ("`iss` with a user part", "RFC 7519 section 4.1.1", wrong, json!(format!("https://x@{own}"))),
            ("`iss` with a space behind", "RFC 7519 section 2: compared byte by byte", wrong, json!(spaced)),
            ("`iss` with a NUL behind", "RFC 7519 section 2: compared byte by byte", wrong, json!(nul)),
            ("an empty `iss`", origin, wrong, json!("")),
            ("`iss` an array with the right name", "RFC 7519 section 4.1.1", either, json!([own])),
            ("`iss` null", "RFC 7519 section 4.1.1", either, json!(null)),
            ("`iss` a number", "RFC 7519 section 4.1.1", either, json!(1)),
        ],
    )
}

fn audience(s: &Setup, to: &mut Cases) -> Result<(), KeyError> {
    let origin = "RFC 8725 section 3.9";
    let own = s.audience.as_str();
    let missing = s.token().without_claim("aud").compact(&s.keys.ec)?;
    to.deny(Claims, "no `aud`", origin, &[AudienceMismatch], missing);
    let (wrong, either): (&[Code], &[Code]) = (&[AudienceMismatch], &[AudienceMismatch, MalformedToken]);
    deny_claim(
        s,
        to,
        "aud",
        &[
            ("another audience", origin, wrong, json!("billing")),
            ("other audiences", origin, wrong, json!(["billing", "reports"])),
            ("no audience in the list", origin, wrong, json!([])),
            ("an empty audience", origin, wrong, json!("")),
            ("the audience as a prefix", "RFC 7519 section 4.1.3", wrong, json!(format!("{own}-internal"))),
            ("the audience as a part", "RFC 7519 section 4.1.3", wrong, json!(format!("x {own} y"))),
            ("the audience in upper case", "RFC 7519 section 4.1.3", wrong, json!(own.to_uppercase())),
            ("the audience with a slash behind", "RFC 7519 section 4.1.3", wrong, json!(format!("{own}/"))),
            ("the audience one level too deep", "RFC 7519 section 4.1.3", either, json!([[own]])),
            ("the audience in an object", "RFC 7519 section 4.1.3", either, json!({ own: true })),
            ("`aud` null", "RFC 7519 section 4.1.3", either, json!(null)),
            ("`aud` a number", "RFC 7519 section 4.1.3", either, json!(0)),
            ("`aud` true", "RFC 7519 section 4.1.3", either, json!(true)),
        ],
    )?;
    let several = s.token().claim("aud", json!(["billing", own])).compact(&s.keys.ec)?;
    to.allow(Claims, "the audience among others", "RFC 7519 section 4.1.3", several);
    Ok(())
}

fn expiry(s: &Setup, to: &mut Cases) -> Result<(), KeyError> {
    let origin = "RFC 7519 section 4.1.4";
    let missing = s.token().without_claim("exp").compact(&s.keys.ec)?;
    to.deny(Claims, "no `exp`", "RFC 9068 section 2.2", &[MissingClaim], missing);
    let limit = s.now.saturating_sub(s.clock_skew);
    let (expired, malformed): (&[Code], &[Code]) = (&[TokenExpired], &[MalformedToken]);
    deny_claim(
        s,
        to,
        "exp",
        &[
            ("expired an hour ago", origin, expired, json!(s.now - 3600)),
            ("expired at the limit of the skew", origin, expired, json!(limit)),
            ("`exp` zero", "jwt_authn takes it for never", expired, json!(0)),
            ("`exp` negative", origin, &[TokenExpired, MalformedToken], json!(-1)),
            ("`exp` in text", "RFC 7519 section 2: NumericDate", malformed, json!((s.now + 300).to_string())),
            ("`exp` as a date", "RFC 7519 section 2: NumericDate", malformed, json!("2999-01-01T00:00:00Z")),
            ("`exp` null", "RFC 7519 section 2: NumericDate", &[MalformedToken, MissingClaim], json!(null)),
            ("`exp` true", "RFC 7519 section 2: NumericDate", malformed, json!(true)),
            ("`exp` an array", "RFC 7519 section 2: NumericDate", malformed, json!([s.now + 300])),
            ("`exp` an object", "RFC 7519 section 2: NumericDate", malformed, json!({})),
        ],
    )?;
    let fraction = text_claim(s, "exp", &format!("{}.999999999", limit - 1))?;
    to.deny(Claims, "expired by a billionth of a second", origin, expired, fraction);
    let wrapping = text_claim(s, "exp", "-9223372036854775809")?;
    to.deny(Claims, "`exp` below the smallest integer", "CWE-190", &[TokenExpired, MalformedToken], wrapping);
    let tiny = text_claim(s, "exp", "1e-400")?;
    to.deny(Claims, "`exp` next to nothing", "CWE-190", &[TokenExpired, MalformedToken], tiny);
    let last = s.token().claim("exp", limit + 1).compact(&s.keys.ec)?;
    to.allow(Claims, "the last second of the skew", origin, last);
    to.allow(
        Claims,
        "`exp` with a fraction",
        "RFC 7519 section 2: NumericDate",
        text_claim(s, "exp", &format!("{}.5", s.now))?,
    );
    Ok(())
}

/// A token whose claim is this JSON text: numbers that no number type holds.
fn text_claim(s: &Setup, claim: &str, json: &str) -> Result<String, KeyError> {
    let Raw { payload, .. } = s.token().claim(claim, "@").raw();
    let payload = String::from_utf8_lossy(&payload).replace("\"@\"", json);
    s.payload(payload)
}

fn start(s: &Setup, to: &mut Cases) -> Result<(), KeyError> {
    let soon = s.now.saturating_add(s.clock_skew);
    let (early, malformed): (&[Code], &[Code]) = (&[TokenNotYetValid], &[MalformedToken]);
    deny_claim(
        s,
        to,
        "nbf",
        &[
            ("valid in an hour", "RFC 7519 section 4.1.5", early, json!(s.now + 3600)),
            ("valid one second after the skew", "RFC 7519 section 4.1.5", early, json!(soon + 1)),
            ("`nbf` in text", "RFC 7519 section 2: NumericDate", malformed, json!("0")),
            ("`nbf` null", "RFC 7519 section 2: NumericDate", malformed, json!(null)),
        ],
    )?;
    deny_claim(
        s,
        to,
        "iat",
        &[
            ("issued in an hour", "RFC 7519 section 4.1.6", early, json!(s.now + 3600)),
            ("`iat` in text", "RFC 7519 section 2: NumericDate", malformed, json!("now")),
        ],
    )?;
    let huge = text_claim(s, "nbf", "1e400")?;
    let codes = [TokenNotYetValid, MalformedToken];
    to.deny(Claims, "valid after the end of all numbers", "CWE-190", &codes, huge);
    to.allow(
        Claims,
        "valid at the limit of the skew",
        "RFC 7519 section 4.1.5",
        s.token().claim("nbf", soon).compact(&s.keys.ec)?,
    );
    Ok(())
}

fn subject(s: &Setup, to: &mut Cases) -> Result<(), KeyError> {
    let origin = "RFC 7519 section 4.1.2";
    deny_claim(
        s,
        to,
        "sub",
        &[
            ("`sub` a number", origin, &[MalformedToken], json!(1)),
            ("`sub` an array", origin, &[MalformedToken], json!(["alice"])),
            ("`sub` null", origin, &[MalformedToken], json!(null)),
            ("`sub` an object", origin, &[MalformedToken], json!({ "id": "alice" })),
        ],
    )
}
