//! Addresses that something may be fetched from: https unless said otherwise, and never one that only
//! the machine itself should talk to (server-side request forgery through `jwks_uri`,
//! CVE-2026-41413).

use alloc::{
    format,
    string::{String, ToString},
};
use core::{
    fmt,
    net::{Ipv4Addr, Ipv6Addr},
};

/// A longer address is refused.
const MAX_ADDRESS_BYTES: usize = 2048;
/// Names by which clouds reach their metadata service.
const METADATA_NAMES: [&str; 4] =
    ["metadata.google.internal", "metadata", "instance-data", "metadata.azure.internal"];

/// An absolute http or https address, split as a request needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    text: String,
    scheme: &'static str,
    authority: String,
    path: String,
}

/// What an [`Address`] may be beside https to a public name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allow {
    /// Plain http: anybody on the way chooses the keys.
    pub insecure_http: bool,
    /// Loopback, link-local and metadata addresses.
    pub local: Locality,
}

/// Which special addresses are allowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Locality {
    /// Loopback is, link-local and metadata addresses are not: for addresses that an operator
    /// wrote.
    #[default]
    Loopback,
    /// None is: for addresses that somebody else's document names.
    Public,
}

/// Why a text is not an address that keys may be fetched from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AddressError {
    /// Longer than 2048 bytes.
    TooLong,
    /// Not `https://host/path` in printable ASCII, without user, fragment or backslash.
    Malformed,
    /// Plain http without leave.
    Insecure,
    /// The host looks like an IPv4 address and is not four decimal numbers.
    AmbiguousHost,
    /// A link-local or metadata address, or the unspecified one.
    LinkLocal,
    /// A loopback address that somebody else's document names.
    Loopback,
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "longer than 2048 bytes",
            Self::Malformed => "not an address such as https://idp.example/jwks",
            Self::Insecure => {
                "plain http lets anybody on the way choose the keys; use https, or say `allow_insecure_http`: true"
            }
            Self::AmbiguousHost => "its host is a number that readers take for different addresses; write a.b.c.d",
            Self::LinkLocal => "a link-local or metadata address; keys are never there",
            Self::Loopback => "a loopback address that a discovery document names",
        })
    }
}

impl core::error::Error for AddressError {}

impl Address {
    /// The address that `text` is.
    ///
    /// Only addresses that are written as numbers, and names that are known, can be recognised
    /// here: what a name resolves to is the proxy's business.
    ///
    /// # Errors
    ///
    /// [`AddressError`] where it is not one, or not one that `allow` permits.
    pub fn parse(text: &str, allow: Allow) -> Result<Self, AddressError> {
        if text.len() > MAX_ADDRESS_BYTES {
            return Err(AddressError::TooLong);
        }
        let odd = |byte: u8| !byte.is_ascii_graphic() || matches!(byte, b'\\' | b'#' | b'"' | b'<' | b'>');
        let (scheme, rest) = text.split_once("://").ok_or(AddressError::Malformed)?;
        if text.bytes().any(odd) {
            return Err(AddressError::Malformed);
        }
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "https" => "https",
            "http" if allow.insecure_http => "http",
            "http" => return Err(AddressError::Insecure),
            _ => return Err(AddressError::Malformed),
        };
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(end).ok_or(AddressError::Malformed)?;
        let authority = authority.to_ascii_lowercase();
        check_host(host(&authority)?, allow.local)?;
        let path = if path.starts_with('/') { path.to_string() } else { format!("/{path}") };
        Ok(Self { text: format!("{scheme}://{authority}{path}"), scheme, authority, path })
    }

    /// The whole address: scheme and authority in lower case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// `https` or `http`.
    #[must_use]
    pub const fn scheme(&self) -> &'static str {
        self.scheme
    }

    /// Host and port as `:authority` wants them.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Path and query as `:path` wants them.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The host of `authority`, which may have a port and must not have a user.
fn host(authority: &str) -> Result<&str, AddressError> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, port) =
                rest.split_once(']').filter(|(host, _)| host.contains(':')).ok_or(AddressError::Malformed)?;
            (host, port.strip_prefix(':').or_else(|| port.is_empty().then_some("443")))
        }
        None => authority.split_once(':').map_or((authority, Some("443")), |(host, port)| (host, Some(port))),
    };
    let port: Option<u16> =
        port.filter(|port| port.bytes().all(|b| b.is_ascii_digit())).and_then(|p| p.parse().ok());
    match port {
        Some(1..) if !host.is_empty() => Ok(host),
        _ => Err(AddressError::Malformed),
    }
}

fn check_host(host: &str, local: Locality) -> Result<(), AddressError> {
    if host.contains(':') {
        let address: Ipv6Addr = host.parse().map_err(|_| AddressError::Malformed)?;
        return check_v6(address, local);
    }
    let label = |label: &str| {
        !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    // One dot at the end makes a name absolute; it is the same name.
    let name = host.strip_suffix('.').unwrap_or(host);
    if !name.split('.').all(label) {
        return Err(AddressError::Malformed);
    }
    // WHATWG URL section 3.5: a host whose last label is a number is an IPv4 address, also in
    // octal, hexadecimal or with fewer parts.
    let last = name.rsplit('.').next().unwrap_or_default();
    if last.bytes().all(|byte| byte.is_ascii_digit()) || last.starts_with("0x") {
        let address: Ipv4Addr = name.parse().map_err(|_| AddressError::AmbiguousHost)?;
        return check_v4(address, local);
    }
    if METADATA_NAMES.contains(&name) {
        return Err(AddressError::LinkLocal);
    }
    if local == Locality::Public && (name == "localhost" || name.ends_with(".localhost")) {
        return Err(AddressError::Loopback);
    }
    Ok(())
}

fn check_v4(address: Ipv4Addr, local: Locality) -> Result<(), AddressError> {
    // Alibaba's and Oracle's metadata services are not in the link-local block.
    let metadata = [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(192, 0, 0, 192)];
    let nowhere = address.octets().first() == Some(&0) || address.is_broadcast() || address.is_multicast();
    if address.is_link_local() || nowhere || metadata.contains(&address) {
        return Err(AddressError::LinkLocal);
    }
    if local == Locality::Public && address.is_loopback() {
        return Err(AddressError::Loopback);
    }
    Ok(())
}

fn check_v6(address: Ipv6Addr, local: Locality) -> Result<(), AddressError> {
    // IPv4 inside IPv6: mapped, compatible, and through NAT64 (RFC 6052).
    let segments = address.segments();
    let nat64 = matches!(segments, [0x64, 0xff9b, 0, 0, 0, 0, ..]);
    if address.is_loopback() {
        return if local == Locality::Public { Err(AddressError::Loopback) } else { Ok(()) };
    }
    if address.is_unspecified() || address.is_multicast() || address.is_unicast_link_local() {
        return Err(AddressError::LinkLocal);
    }
    // AWS: fd00:ec2::/32, GCP: fd20:ce::254.
    if matches!(segments, [0xfd00, 0xec2, ..] | [0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254]) {
        return Err(AddressError::LinkLocal);
    }
    let [.., high, low] = segments;
    let inner = Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match address.to_ipv4() {
        Some(inner) => check_v4(inner, local),
        None if nat64 => check_v4(inner, local),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str, allow: Allow) -> Option<AddressError> {
        Address::parse(text, allow).err()
    }

    #[test]
    fn an_address_is_split_as_a_request_needs_it() {
        let address = Address::parse("HTTPS://IdP.example:8443/a/jwks?x=Y", Allow::default()).unwrap();
        assert_eq!(address.scheme(), "https");
        assert_eq!(address.authority(), "idp.example:8443");
        assert_eq!(address.path(), "/a/jwks?x=Y");
        assert_eq!(Address::parse("https://a?b", Allow::default()).unwrap().as_str(), "https://a/?b");
    }

    #[test]
    fn plain_http_needs_leave() {
        assert_eq!(error("http://idp.example/", Allow::default()), Some(AddressError::Insecure));
        assert_eq!(error("http://idp.example/", Allow { insecure_http: true, ..Allow::default() }), None);
    }

    #[test]
    fn what_is_not_an_address_is_refused() {
        for text in [
            "",
            "idp.example/jwks",
            "ftp://a/",
            "https://",
            "https:///x",
            "https://a b/",
            "https://a\n/",
            "https://ü/",
            "https://u@a/",
            "https://a:0/",
            "https://a:99999/",
            "https://a:/",
            "https://a:+1/",
            "https://[::1/",
            "https://[zz]/",
            "https://a..b/",
            "https://a/#f",
            "https://a\\b/",
            "https://[::1]x/",
            "https://a:1:2/",
            "javascript://a/",
        ] {
            assert_eq!(error(text, Allow::default()), Some(AddressError::Malformed), "{text}");
        }
        assert_eq!(
            error(&format!("https://a/{}", "x".repeat(3000)), Allow::default()),
            Some(AddressError::TooLong)
        );
    }

    #[test]
    fn link_local_and_metadata_addresses_are_refused_in_every_spelling() {
        for host in [
            "169.254.169.254",
            "169.254.0.1:80",
            "[fe80::1]",
            "[::ffff:169.254.169.254]",
            "[::ffff:a9fe:a9fe]",
            "[64:ff9b::a9fe:a9fe]",
            "[fd00:ec2::254]",
            "100.100.100.200",
            "192.0.0.192",
            "0.0.0.0",
            "[::]",
            "metadata.google.internal",
            "METADATA.google.internal.",
            "255.255.255.255",
            "224.0.0.1",
            "[::169.254.1.1]",
        ] {
            assert_eq!(
                error(&format!("https://{host}/"), Allow::default()),
                Some(AddressError::LinkLocal),
                "{host}"
            );
        }
        for host in ["2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "169.254.43518", "1.2.3", "a.1"] {
            let found = error(&format!("https://{host}/"), Allow::default());
            assert_eq!(found, Some(AddressError::AmbiguousHost), "{host}");
        }
    }

    #[test]
    fn loopback_is_for_addresses_that_an_operator_wrote() {
        let public = Allow { local: Locality::Public, ..Allow::default() };
        for host in ["127.0.0.1:8500", "127.8.8.8", "[::1]", "localhost", "a.localhost", "[::ffff:127.0.0.1]"]
        {
            assert_eq!(error(&format!("https://{host}/"), Allow::default()), None, "{host}");
            assert_eq!(error(&format!("https://{host}/"), public), Some(AddressError::Loopback), "{host}");
        }
    }
}
