//! Settings of the proxy that this policy relies on, and what a request shows of their absence.

use alloc::vec::Vec;

use portcullis_core::{Request, header};

use crate::hygiene::is_xfcc;

/// A setting of Envoy's HTTP connection manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Setting {
    /// `normalize_path`: what the upstream reads as a dot segment is none any more.
    NormalizePath,
    /// `merge_slashes`.
    MergeSlashes,
    /// `path_with_escaped_slashes_action`: `REJECT_REQUEST`.
    EscapedSlashes,
    /// `headers_with_underscores_action`: `REJECT_REQUEST` or `DROP_HEADER`.
    Underscores,
    /// `strip_trailing_host_dot`.
    TrailingHostDot,
    /// `forward_client_cert_details`: `SANITIZE` or `SANITIZE_SET`.
    ClientCertificate,
}

impl Setting {
    /// Every setting.
    pub const ALL: [Self; 6] = [
        Self::NormalizePath,
        Self::MergeSlashes,
        Self::EscapedSlashes,
        Self::Underscores,
        Self::TrailingHostDot,
        Self::ClientCertificate,
    ];

    /// The setting's name in Envoy's configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NormalizePath => "normalize_path",
            Self::MergeSlashes => "merge_slashes",
            Self::EscapedSlashes => "path_with_escaped_slashes_action",
            Self::Underscores => "headers_with_underscores_action",
            Self::TrailingHostDot => "strip_trailing_host_dot",
            Self::ClientCertificate => "forward_client_cert_details",
        }
    }

    /// The settings that `request` could not have come past. The policy refuses or strips what it
    /// shows all the same; other filters and the upstream may not.
    ///
    /// A client certificate's header is only forged where there is no certificate: the caller
    /// knows, and says so with `has_certificate`.
    #[must_use]
    pub fn missing(request: &Request<'_>, has_certificate: impl FnOnce() -> bool) -> Vec<Self> {
        let mut missing = Vec::new();
        let target = header::values(request.headers(), ":path").next().unwrap_or_default();
        let path = target.split(|byte| *byte == b'?').next().unwrap_or_default();
        let mut segments = path.split(|byte| *byte == b'/').skip(1).peekable();
        let (mut dots, mut empty) = (false, false);
        while let Some(segment) = segments.next() {
            dots |= matches!(segment, b"." | b"..");
            empty |= segment.is_empty() && segments.peek().is_some();
        }
        let escaped = path.windows(3).any(|text| matches!(text, b"%2f" | b"%2F" | b"%5c" | b"%5C"));
        let authority = header::values(request.headers(), ":authority").next().unwrap_or_default();
        let host = authority.split(|byte| *byte == b':').next().unwrap_or_default();
        let mut names = request.headers().iter().map(|(name, _)| *name);
        let seen = [
            (dots, Self::NormalizePath),
            (empty, Self::MergeSlashes),
            (escaped, Self::EscapedSlashes),
            (names.clone().any(|name| name.contains(&b'_')), Self::Underscores),
            (host.ends_with(b"."), Self::TrailingHostDot),
            (names.any(is_xfcc) && !has_certificate(), Self::ClientCertificate),
        ];
        missing.extend(seen.into_iter().filter(|(is_seen, _)| *is_seen).map(|(_, setting)| setting));
        missing
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn a_request_shows_which_settings_it_did_not_meet() {
        for (name, value, expected) in [
            (":path", "/a/b/?x=//../%2f", vec![]),
            (":path", "/a/../b", vec![Setting::NormalizePath]),
            (":path", "//a", vec![Setting::MergeSlashes]),
            (":path", "/a%2Fb", vec![Setting::EscapedSlashes]),
            ("x_a", "1", vec![Setting::Underscores]),
            (":authority", "acme.test.:80", vec![Setting::TrailingHostDot]),
            ("x-forwarded-client-cert", "URI=a", vec![Setting::ClientCertificate]),
        ] {
            let headers = [(name.as_bytes(), value.as_bytes())];
            assert_eq!(Setting::missing(&Request::new(&headers), || false), expected, "{name}: {value}");
        }
        let headers = [(&b"x-forwarded-client-cert"[..], &b"URI=a"[..])];
        assert!(Setting::missing(&Request::new(&headers), || true).is_empty());
    }
}
