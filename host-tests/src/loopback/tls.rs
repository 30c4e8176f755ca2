//! TLS on loopback: what ends it before a server that speaks none, and what begins it for a client
//! that speaks none.

use std::{net::SocketAddr, sync::Arc};

use anyhow::{Context as _, Result};
use tokio::{
    io::{AsyncRead, AsyncWrite, copy_bidirectional},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{
    TlsAcceptor, TlsConnector,
    rustls::{
        ClientConfig, RootCertStore, ServerConfig,
        crypto::{CryptoProvider, ring},
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
    },
};

use super::Running;

/// A relay on a free loopback port; it ends, connections and all, when dropped.
#[derive(Debug)]
pub struct Relay(Running);

impl Relay {
    /// Speaks TLS with whoever connects, with this certificate and key (PEM), and plain to `server`.
    ///
    /// # Errors
    /// When certificate and key are none, or no port can be had.
    pub fn ending(certificate: &str, key: &str, server: SocketAddr) -> Result<Self> {
        let chain = CertificateDer::pem_slice_iter(certificate.as_bytes()).collect::<Result<_, _>>()?;
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes())?;
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Running::start("ends TLS", |listener| {
            accept(listener, move |client| {
                let acceptor = acceptor.clone();
                async move { relay(acceptor.accept(client).await?, TcpStream::connect(server).await?).await }
            })
        })
        .map(Self)
    }

    /// Speaks TLS with `server`, which must show a certificate for `name` that one of `trusted` (PEM)
    /// has signed and take the protocol `alpn`, and plain with whoever connects. Where the handshake
    /// fails the client's connection is closed.
    ///
    /// # Errors
    /// When a certificate is none, or no port can be had.
    pub fn beginning(server: SocketAddr, name: &str, trusted: &str, alpn: &str) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(trusted.as_bytes()) {
            roots.add(certificate?)?;
        }
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
        let connector = TlsConnector::from(Arc::new(config));
        let name = ServerName::try_from(name.to_owned()).context("no name of a server")?;
        Running::start("begins TLS", |listener| {
            accept(listener, move |client| {
                let (connector, name) = (connector.clone(), name.clone());
                async move {
                    relay(connector.connect(name, TcpStream::connect(server).await?).await?, client).await
                }
            })
        })
        .map(Self)
    }

    /// Where it accepts.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.0.address()
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

async fn accept<S>(listener: TcpListener, serve: impl Fn(TcpStream) -> S)
where
    S: Future<Output = std::io::Result<()>> + Send + 'static,
{
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        // A connection that fails is closed, which the test sees.
        tokio::spawn(serve(client));
    }
}

async fn relay(
    mut one: impl AsyncRead + AsyncWrite + Unpin,
    mut other: impl AsyncRead + AsyncWrite + Unpin,
) -> std::io::Result<()> {
    copy_bidirectional(&mut one, &mut other).await.map(drop)
}
