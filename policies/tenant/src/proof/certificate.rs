//! The tenant in a client certificate.

use alloc::{string::String, vec::Vec};

use portcullis_core::{Request, header};

/// `spiffe://mesh/tenant/{tenant}/**`: a URI with one variable segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SanTemplate {
    pub(crate) before: String,
    pub(crate) after: String,
    /// Whether more segments may follow.
    pub(crate) open: bool,
}

impl SanTemplate {
    /// The template that `text` is.
    pub(crate) fn new(text: &str) -> Option<Self> {
        let (before, after) = text.split_once("{tenant}")?;
        let (after, open) = match after.strip_suffix("/**") {
            Some(after) => (after, true),
            None => (after, false),
        };
        let plain = |text: &str| !text.contains(['*', '{', '}', '?', '#', '%', ',']);
        let sound = plain(before)
            && plain(after)
            && before.contains("://")
            && before.ends_with('/')
            && (after.is_empty() || after.starts_with('/'));
        sound.then(|| Self { before: before.into(), after: after.into(), open })
    }

    /// The tenant that `uri` names.
    fn find<'u>(&self, uri: &'u str) -> Option<&'u str> {
        let rest = uri.strip_prefix(self.before.as_str())?;
        let end = rest.find('/').unwrap_or(rest.len());
        let (name, rest) = rest.split_at_checked(end)?;
        let rest = rest.strip_prefix(self.after.as_str())?;
        (rest.is_empty() || (self.open && rest.starts_with('/'))).then_some(name)
    }

    /// The tenant of the verified certificate whose first URI is `uri`.
    ///
    /// The proxy tells of the first URI only. `x-forwarded-client-cert`, where the proxy sets it,
    /// lists all of them: it can make a certificate ambiguous, and never name a tenant by itself,
    /// so a client that gets its own one through gains nothing.
    pub(crate) fn tenant<'u>(
        &self,
        uri: &'u [u8],
        request: &Request<'_>,
    ) -> Result<Option<&'u str>, &'static str> {
        let uri = core::str::from_utf8(uri).map_err(|_| "the certificate's URI is not UTF-8")?;
        let Some(tenant) = self.find(uri) else { return Ok(None) };
        let mut elements = header::values(request.headers(), "x-forwarded-client-cert");
        let (first, more) = (elements.next(), elements.next());
        if more.is_some() {
            return Err("`x-forwarded-client-cert` is repeated");
        }
        for value in first.map(uris).unwrap_or_default() {
            let value = core::str::from_utf8(value).map_err(|_| "`x-forwarded-client-cert` is not UTF-8")?;
            if self.find(value).is_some_and(|other| other != tenant) {
                return Err("the certificate names two tenants");
            }
        }
        Ok(Some(tenant))
    }
}

/// Every `URI=` in every element: separators inside quoted values do not count.
fn uris(value: &[u8]) -> Vec<&[u8]> {
    let mut quoted = false;
    let mut escaped = false;
    let parts = value.split(|byte| {
        let separator = !quoted && matches!(byte, b';' | b',');
        if *byte == b'"' && !escaped {
            quoted = !quoted;
        }
        escaped = *byte == b'\\' && !escaped;
        separator
    });
    parts
        .filter_map(|part| {
            let (key, uri) = part.trim_ascii().split_at_checked(4)?;
            key.eq_ignore_ascii_case(b"uri=").then(|| uri.trim_ascii())
        })
        .map(|uri| uri.strip_prefix(b"\"").and_then(|uri| uri.strip_suffix(b"\"")).unwrap_or(uri))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template() -> SanTemplate {
        SanTemplate::new("spiffe://mesh/tenant/{tenant}/**").unwrap()
    }

    #[test]
    fn a_uri_names_a_tenant_in_its_one_place() {
        for (uri, expected) in [
            ("spiffe://mesh/tenant/acme/orders", Some("acme")),
            ("spiffe://mesh/tenant/acme", Some("acme")),
            ("spiffe://mesh/tenant/", Some("")),
            ("spiffe://mesh/tenants/acme", None),
            ("spiffe://other/tenant/acme", None),
            ("xspiffe://mesh/tenant/acme", None),
        ] {
            assert_eq!(template().find(uri), expected, "{uri}");
        }
        let closed = SanTemplate::new("spiffe://mesh/tenant/{tenant}/sa").unwrap();
        assert_eq!(closed.find("spiffe://mesh/tenant/acme/sa"), Some("acme"));
        assert_eq!(closed.find("spiffe://mesh/tenant/acme/sa/x"), None);
        for text in [
            "spiffe://mesh/{x}",
            "{tenant}",
            "spiffe://mesh/t-{tenant}",
            "spiffe://*/{tenant}",
            "spiffe://a/{tenant}x",
        ] {
            assert_eq!(SanTemplate::new(text), None, "{text}");
        }
    }

    #[test]
    fn a_certificate_with_two_tenants_is_ambiguous_and_a_clients_header_names_none() {
        let uri = b"spiffe://mesh/tenant/acme/a";
        let tenant = |values: &[&str]| {
            let headers: Vec<_> =
                values.iter().map(|value| (&b"x-forwarded-client-cert"[..], value.as_bytes())).collect();
            template().tenant(uri, &Request::new(&headers)).map(|tenant| tenant.map(String::from))
        };
        let acme = Ok(Some("acme".into()));
        assert_eq!(tenant(&[]), acme);
        assert_eq!(tenant(&["Hash=00;URI=spiffe://mesh/tenant/acme/a;DNS=x"]), acme);
        assert_eq!(
            tenant(&[r#"Subject="CN=x;URI=spiffe://mesh/tenant/globex/a",URI=spiffe://mesh/tenant/acme/a"#]),
            acme
        );
        for two in [
            &["URI=spiffe://mesh/tenant/acme/a;URI=spiffe://mesh/tenant/globex/a"][..],
            &["URI=spiffe://mesh/tenant/acme/a,uri=\"spiffe://mesh/tenant/globex/a\""],
            &["URI=spiffe://mesh/tenant/acme/a", "URI=spiffe://mesh/tenant/acme/a"],
        ] {
            assert!(tenant(two).is_err(), "{two:?}");
        }
        let other = [(&b"x-forwarded-client-cert"[..], &b"URI=spiffe://mesh/tenant/globex/a"[..])];
        assert_eq!(template().tenant(b"spiffe://mesh/gateway", &Request::new(&other)), Ok(None));
    }
}
