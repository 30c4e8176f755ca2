//! Headers that only this policy may set, and headers that only a trusted hop may send.

use alloc::{string::String, vec::Vec};

use portcullis_core::{Code, Denial, HeaderName, Request, header};

/// Headers that tell of another host or path than the request's own. Frameworks believe them
/// (CVE-2023-27487 for the path; host header poisoning for the rest).
const FORWARDED: [&str; 13] = [
    "forwarded",
    "x-forwarded-host",
    "x-forwarded-server",
    "x-forwarded-prefix",
    "x-forwarded-path",
    "x-forwarded-uri",
    "x-original-host",
    "x-original-url",
    "x-original-uri",
    "x-rewrite-url",
    "x-host",
    "x-http-host-override",
    "x-envoy-original-path",
];

/// Which headers no client may bring.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hygiene {
    /// Exactly these, in every spelling.
    pub(crate) names: Vec<HeaderName>,
    /// Everything that begins so, in every spelling: lower case, ending in `-`.
    pub(crate) families: Vec<String>,
    /// Whether a hop before this one may send [`FORWARDED`].
    pub(crate) keep_forwarded: bool,
}

impl Hygiene {
    /// Whether a client may not bring a header called `name`.
    pub(crate) fn owns(&self, name: &[u8]) -> bool {
        let plain = binary_form(name).unwrap_or(name);
        self.names.iter().any(|own| own.is_spelled(name) || own.is_spelled(plain))
            || self.families.iter().any(|family| begins_with(name, family))
            || (!self.keep_forwarded && FORWARDED.iter().any(|own| is_spelled(own, name)))
    }

    /// Whether a header called `name` tells what this policy told an upstream. What a hop before
    /// said of the request is nobody's secret.
    pub(crate) fn tells(&self, name: &[u8]) -> bool {
        let plain = binary_form(name).unwrap_or(name);
        self.names.iter().any(|own| own.is_spelled(name) || own.is_spelled(plain))
            || self.families.iter().any(|family| begins_with(name, family))
    }

    /// The names in a response's headers that it must not have.
    pub(crate) fn told(&self, headers: &[portcullis_core::HeaderPair<'_>]) -> Vec<Vec<u8>> {
        headers
            .iter()
            .map(|(name, _)| name)
            .filter(|name| self.tells(name))
            .map(|name| name.to_vec())
            .collect()
    }

    /// The names in `request` that a client may not bring, as it spelled them.
    pub(crate) fn spoofed(&self, request: &Request<'_>) -> Vec<Vec<u8>> {
        let names = request.headers().iter().map(|(name, _)| name);
        names.filter(|name| self.owns(name)).map(|name| name.to_vec()).collect()
    }

    /// `Connection` names headers that the next hop is to remove (RFC 9110 section 7.6.1): ours
    /// must not be among them (CVE-2022-23652).
    pub(crate) fn check_nominations(&self, request: &Request<'_>) -> Result<(), Denial> {
        let mut nominated = header::values(request.headers(), "connection")
            .flat_map(|value| value.split(|byte| *byte == b','))
            .map(<[u8]>::trim_ascii);
        if nominated.any(|name| self.owns(name)) {
            return Err(Denial::new(
                Code::RequestAmbiguous,
                "`connection` nominates a header of this policy",
            ));
        }
        Ok(())
    }
}

/// The name before gRPC's suffix for binary metadata, in any spelling.
pub(crate) fn binary_form(name: &[u8]) -> Option<&[u8]> {
    let (plain, suffix) = name.split_at_checked(name.len().checked_sub(4)?)?;
    is_spelled("-bin", suffix).then_some(plain)
}

/// Whether `name` is the header in which Envoy tells of a client certificate.
pub(crate) fn is_xfcc(name: &[u8]) -> bool {
    is_spelled("x-forwarded-client-cert", name)
}

fn begins_with(name: &[u8], family: &str) -> bool {
    name.get(..family.len()).is_some_and(|head| is_spelled(family, head))
}

/// As [`HeaderName::is_spelled`], for a lower-case name that is known.
pub(crate) fn is_spelled(own: &str, name: &[u8]) -> bool {
    let fold = |byte: u8| if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'-' };
    own.len() == name.len() && own.bytes().zip(name).all(|(own, theirs)| fold(own) == fold(*theirs))
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn hygiene() -> Hygiene {
        Hygiene {
            names: vec![HeaderName::new("x-scope-orgid").unwrap()],
            families: vec!["x-tenant-".into()],
            keep_forwarded: false,
        }
    }

    #[test]
    fn owned_headers_are_recognised_in_every_form() {
        for name in [
            "x-scope-orgid",
            "X-Scope-OrgID",
            "x_scope_orgid",
            "x-scope-orgid-bin",
            "X_SCOPE_ORGID_BIN",
            "x-tenant-id",
            "X_Tenant_Anything",
            "x.tenant.ctx",
            "x-tenant-",
            "Forwarded",
            "x_forwarded_host",
        ] {
            assert!(hygiene().owns(name.as_bytes()), "{name}");
        }
        for name in [
            "x-scope-org",
            "x-tenan",
            "tenant-id",
            "x-forwarded-for",
            "x-forwarded-proto",
            ":path",
            "",
            "-bin",
        ] {
            assert!(!hygiene().owns(name.as_bytes()), "{name}");
        }
        assert!(!Hygiene { keep_forwarded: true, ..hygiene() }.owns(b"forwarded"));
    }

    #[test]
    fn a_nomination_of_an_owned_header_is_refused() {
        for (value, refused) in [
            ("close", false),
            ("keep-alive, Upgrade", false),
            ("close, X-Tenant-Id", true),
            ("close,x_tenant_ctx", true),
            ("x-forwarded-host", true),
        ] {
            let headers = [(&b"connection"[..], value.as_bytes())];
            assert_eq!(hygiene().check_nominations(&Request::new(&headers)).is_err(), refused, "{value}");
        }
    }
}
