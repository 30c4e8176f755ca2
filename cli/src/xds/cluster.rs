//! A cluster: an address that listeners send to or that filters call, as a document and as Envoy has it.

use std::{net::IpAddr, path::Path};

use anyhow::{Context as _, ensure};

use super::wire::{address, message::Message};
use crate::gateway::config::{Cluster, Tls};

/// Where Envoy finds the public authorities, as in `deploy/envoy`.
const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Checks what can be checked without an Envoy.
///
/// # Errors
///
/// The authorities' file is not there.
pub(super) fn check(cluster: &Cluster) -> anyhow::Result<()> {
    if let Some(file) = cluster.tls.as_ref().and_then(|tls| tls.ca_file.as_ref()) {
        ensure!(file.is_file(), "`tls.ca_file`: no file `{}`", file.display());
    }
    Ok(())
}

/// `envoy.config.cluster.v3.Cluster`.
///
/// # Errors
///
/// The path of the authorities' file is not UTF-8, which Envoy's messages are.
pub(super) fn message(name: &str, cluster: &Cluster) -> anyhow::Result<Message> {
    const STATIC: u64 = 0;
    const STRICT_DNS: u64 = 1;
    let Cluster { address: target, tls } = cluster;
    let kind = if target.host.parse::<IpAddr>().is_ok() { STATIC } else { STRICT_DNS };
    let endpoint = Message::new().put(1, address(&target.host, target.port));
    let endpoints = Message::new().put(2, Message::new().put(1, endpoint));
    let assignment = Message::new().put(1, name).put(2, endpoints);
    let message = Message::new()
        .put(1, name)
        .number(2, kind)
        // connect_timeout
        .wrapped(4, 2)
        .put(33, assignment);
    Ok(match tls {
        None => message,
        Some(tls) => message.put(24, transport(tls, &target.host)?),
    })
}

/// `envoy.config.core.v3.TransportSocket` with `UpstreamTlsContext`: the certificate must be good for
/// the server's name.
fn transport(tls: &Tls, host: &str) -> anyhow::Result<Message> {
    const DNS: u64 = 2;
    const IP_ADDRESS: u64 = 4;
    let Tls { server_name, ca_file } = tls;
    let name = server_name.as_deref().unwrap_or(host);
    let is_address = name.parse::<IpAddr>().is_ok();
    let file = ca_file.as_deref().unwrap_or(Path::new(AUTHORITIES));
    let file = file.to_str().context("`tls.ca_file`: the path is not UTF-8")?;
    let exact = Message::new().put(1, name);
    let matcher = Message::new().number(1, if is_address { IP_ADDRESS } else { DNS }).put(2, exact);
    // trusted_ca, match_typed_subject_alt_names
    let validation = Message::new().put(1, Message::new().put(1, file)).put(32, matcher);
    let mut context = Message::new().put(1, Message::new().put(3, validation));
    if !is_address {
        // sni; an address is none (RFC 6066 section 3).
        context = context.put(2, name);
    }
    let typed = Message::any(
        "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        &context,
    );
    Ok(Message::new().put(1, "envoy.transport_sockets.tls").put(3, typed))
}
