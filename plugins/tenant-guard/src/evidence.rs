//! What the proxy knows of the caller: its properties, by Envoy's names.

use portcullis_abi as abi;
use portcullis_tenant::{Evidence, Origin, Unknown};

/// The properties of the effective context's stream.
pub(crate) struct Properties;

impl Evidence for Properties {
    fn of(&self, origin: &Origin) -> Result<Option<Vec<u8>>, Unknown> {
        let found = match origin {
            Origin::JwtAuth => abi::property(&["portcullis_jwt"]),
            Origin::JwtAuthn(key) => {
                abi::property(&["metadata", "filter_metadata", "envoy.filters.http.jwt_authn", key])
            }
            Origin::CertificateUri => abi::property(&["connection", "uri_san_peer_certificate"]),
            Origin::ServerName => abi::property(&["connection", "requested_server_name"]),
            Origin::MutualTls => abi::property(&["connection", "mtls"]),
            // Another version of the policy may know more than this plugin.
            _ => return Err(Unknown),
        };
        found.map_err(|_| Unknown)
    }
}
