//! The compact serialization, base64url, UTF-8 and JSON (RFC 7515 section 7.1, RFC 7519 section
//! 7.2). Wherever it can be, the signature is right: only the form is wrong.

use portcullis_core::Code::{MalformedToken, TokenTooLarge};
use serde_json::{Value, json};

use super::{Cases, Class::Container, Setup};
use crate::{
    keys::{Alg, KeyError, base64url},
    mint::{Raw, sign_text},
};

pub(super) fn cases(s: &Setup, to: &mut Cases) -> Result<(), KeyError> {
    segments(s, to)?;
    encoding(s, to)?;
    json(s, to)?;
    objects(s, to)
}

fn segments(s: &Setup, to: &mut Cases) -> Result<(), KeyError> {
    let good = s.honest()?;
    let (input, signature) = good.rsplit_once('.').unwrap_or_default();
    let (header, payload) = input.split_once('.').unwrap_or_default();
    let flattened = json!({ "protected": header, "payload": payload, "signature": signature });
    let general = json!({
        "payload": payload, "signatures": [{ "protected": header, "signature": signature }]
    });
    for (name, origin, token) in [
        ("one segment", "RFC 7515 section 7.1", header.to_owned()),
        ("two segments", "RFC 7515 section 7.1; Wycheproof 4", input.to_owned()),
        ("a trailing dot", "RFC 7515 section 7.1; Wycheproof 14", format!("{good}.")),
        ("a leading dot", "RFC 7515 section 7.1", format!(".{good}")),
        ("a doubled dot", "RFC 7515 section 7.1", format!("{header}..{payload}.{signature}")),
        ("four segments", "RFC 7515 section 7.1", format!("{good}.{signature}")),
        ("five segments of a JWE", "RFC 8725 section 3.3; CVE-2023-51774", format!("{header}.a.b.c.d")),
        ("nothing but dots", "RFC 7515 section 7.1", "..".into()),
        ("an empty header", "RFC 7519 section 7.2", format!(".{payload}.{signature}")),
        ("an empty payload", "RFC 7519 section 7.2", format!("{header}..{signature}")),
        ("the flattened JSON serialization", "RFC 7515 section 7.2.2; Wycheproof 17", flattened.to_string()),
        ("the general JSON serialization", "RFC 7515 section 7.2.1; Wycheproof 17", general.to_string()),
        ("the token in quotes", "RFC 6750 section 2.1", format!("\"{good}\"")),
        (
            "a space before the signature",
            "RFC 8725 section 3.3; Wycheproof 360",
            format!("{input}. {signature}"),
        ),
        ("a space inside the signature", "RFC 7515 section 2; Wycheproof 365", split(input, signature, " ")),
        ("a tab inside the signature", "RFC 7515 section 2; Wycheproof 368", split(input, signature, "\t")),
    ] {
        to.deny(Container, name, origin, &[MalformedToken], token);
    }
    let long = s.token().claim("padding", "x".repeat(20_000)).compact(&s.keys.ec)?;
    to.deny(Container, "a token of 27 KB", "denial of service", &[TokenTooLarge], long);
    Ok(())
}

fn split(input: &str, signature: &str, with: &str) -> String {
    let (left, right) = signature.split_at(signature.len() / 2);
    format!("{input}.{left}{with}{right}")
}

fn encoding(s: &Setup, to: &mut Cases) -> Result<(), KeyError> {
    let raw = s.raw(&s.keys.ec);
    let (header, payload) = (base64url(&raw.header), base64url(&raw.payload));
    // `{"alg":"ES256","kid":"ec-1","typ":"JWT"}` has 40 bytes, so its last character carries
    // four unused bits and two more characters of padding are missing.
    let unclean = format!("{}{}", header.get(..header.len() - 1).unwrap_or_default(), "R");
    for (name, origin, input) in [
        ("padding on the header", "RFC 7515 section 2", format!("{header}==.{payload}")),
        ("unused bits that are not zero", "RFC 4648 section 3.5", format!("{unclean}.{payload}")),
        ("a character outside the alphabet", "RFC 8725 section 3.14", format!("{header}!.{payload}")),
        ("the standard alphabet", "RFC 7515 section 2", format!("{header}.{payload}+/+/")),
        ("a segment of 4n+1 characters", "RFC 4648 section 4", format!("{header}.{payload}AAAAA")),
        ("percent-encoded text", "RFC 8725 section 3.14", format!("{header}.{payload}%3D")),
    ] {
        let token = sign_text(&input, &s.keys.ec, Alg::Es256)?;
        to.deny(Container, name, origin, &[MalformedToken], token);
    }
    let good = s.token().compact(&s.keys.ec)?;
    to.deny(
        Container,
        "padding on the signature",
        "RFC 7515 section 2",
        &[MalformedToken],
        format!("{good}=="),
    );
    let high = [good.as_bytes(), b"\xff"].concat();
    to.deny(Container, "a byte above 0x7f after the token", "RFC 8725 section 3.14", &[MalformedToken], high);
    Ok(())
}

fn json(s: &Setup, to: &mut Cases) -> Result<(), KeyError> {
    let Raw { payload, .. } = s.raw(&s.keys.ec);
    let open = String::from_utf8_lossy(payload.strip_suffix(b"}").unwrap_or(&payload)).into_owned();
    for (name, origin, json) in [
        ("a trailing comma", "RFC 8259 section 4", format!("{open},}}")),
        ("a comment in the payload", "RFC 8259 section 2", format!("{open}/**/}}")),
        ("text after the payload object", "RFC 8259 section 2", format!("{open}}}x")),
        ("two payload objects", "RFC 8259 section 2", format!("{open}}}{open}}}")),
        ("a payload that is cut off", "RFC 8259 section 4", open.clone()),
        ("a NaN", "RFC 8259 section 6", format!("{open},\"x\":NaN}}")),
        ("a number with a leading zero", "RFC 8259 section 6", format!("{open},\"x\":01}}")),
        ("single quotes", "RFC 8259 section 7", format!("{open},'x':'y'}}")),
        ("an unescaped line break in a string", "RFC 8259 section 7", format!("{open},\"x\":\"a\nb\"}}")),
        ("half a surrogate pair", "RFC 8259 section 8.2", format!("{open},\"x\":\"\\ud800\"}}")),
        ("a byte order mark", "RFC 8259 section 8.1", format!("\u{feff}{open}}}")),
        ("a payload that is an array", "RFC 7519 section 7.2", format!("[{open}}}]")),
        (
            "a payload that is a string",
            "RFC 7519 section 7.2",
            Value::String(format!("{open}}}")).to_string(),
        ),
        ("a payload that is a number", "RFC 7519 section 7.2", "7".into()),
        ("a payload that is null", "RFC 7519 section 7.2", "null".into()),
        (
            "2,000 nested arrays",
            "CWE-674",
            format!("{open},\"x\":{}{}}}", "[".repeat(2000), "]".repeat(2000)),
        ),
    ] {
        to.deny(Container, name, origin, &[MalformedToken], s.payload(json)?);
    }
    let not_utf8 = [open.as_bytes(), b",\"x\":\"\xff\"}"].concat();
    to.deny(
        Container,
        "a payload that is not UTF-8",
        "RFC 8725 section 3.7",
        &[MalformedToken],
        s.payload(not_utf8)?,
    );
    let header = b"{\"alg\":\"ES256\",\"kid\":\"ec-1\",\"x\":\"\xff\"}";
    to.deny(
        Container,
        "a header that is not UTF-8",
        "RFC 8725 section 3.7",
        &[MalformedToken],
        s.header(header)?,
    );
    let array = r#"["alg","ES256"]"#;
    to.deny(
        Container,
        "a header that is an array",
        "RFC 7515 section 4",
        &[MalformedToken],
        s.header(array)?,
    );
    Ok(())
}

/// Two readers of one object must not see two objects.
fn objects(s: &Setup, to: &mut Cases) -> Result<(), KeyError> {
    let Raw { payload, .. } = s.raw(&s.keys.ec);
    let rest = String::from_utf8_lossy(payload.strip_prefix(b"{").unwrap_or(&payload)).into_owned();
    for (name, first) in [
        ("`sub` twice", r#""sub":"admin""#),
        ("`exp` twice", r#""exp":99999999999"#),
        ("`iss` twice", r#""iss":"https://mallory.example""#),
        ("`sub` twice, once with an escape", r#""\u0073ub":"admin""#),
        ("a private claim twice", r#""role":"user","role":"admin""#),
        ("a member twice, deep inside", r#""a":{"b":[{"c":1,"c":2}]}"#),
    ] {
        let token = s.payload(format!("{{{first},{rest}"))?;
        to.deny(Container, name, "RFC 7519 section 4; RFC 8725 section 2.7", &[MalformedToken], token);
    }
    for (name, header) in [
        ("`alg` twice", r#"{"alg":"none","alg":"ES256","kid":"ec-1"}"#),
        ("`kid` twice", r#"{"alg":"ES256","kid":"ec-1","kid":"rsa-1"}"#),
        ("`alg` twice, once with an escape", r#"{"alg":"ES256","\u0061lg":"none","kid":"ec-1"}"#),
    ] {
        to.deny(Container, name, "RFC 7515 section 4", &[MalformedToken], s.header(header)?);
    }
    Ok(())
}
