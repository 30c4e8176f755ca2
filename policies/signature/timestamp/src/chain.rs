//! The authority's certificate, at the time that it signed.

use std::time::Duration;

use jiff::Timestamp;
use rustls_pki_types::{CertificateDer, UnixTime};
use sigstore_crypto::WEBPKI_VERIFICATION_ALGS;
use sigstore_types::TsaAuthority;
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};
use x509_cert::{Certificate, der::Decode as _};

use crate::Error;

/// The contents of id-kp-timeStamping, 1.3.6.1.5.5.7.3.8 (RFC 5280 section 4.2.1.12).
const TIME_STAMPING: &[u8] = b"\x2b\x06\x01\x05\x05\x07\x03\x08";

/// Whether the leaf is for time stamping, chains to the root over the authority's own intermediates,
/// and all of them are valid at `time`.
pub(crate) fn verify(authority: &TsaAuthority, time: Timestamp) -> Result<(), Error> {
    let refused = |error: webpki::Error| Error::Certificate(error.to_string());
    let [leaf, root] = [&authority.leaf, &authority.root].map(|der| CertificateDer::from(der.as_bytes()));
    let intermediates: Vec<CertificateDer<'_>> =
        authority.intermediates.iter().map(|der| CertificateDer::from(der.as_bytes())).collect();
    let seconds =
        u64::try_from(time.as_second()).map_err(|_| Error::Certificate("the time is before 1970".into()))?;
    let anchors = [anchor_from_trusted_cert(&root).map_err(refused)?];
    let certificate = EndEntityCert::try_from(&leaf).map_err(refused)?;
    let path = certificate
        .verify_for_usage(
            WEBPKI_VERIFICATION_ALGS,
            &anchors,
            &intermediates,
            UnixTime::since_unix_epoch(Duration::from_secs(seconds)),
            KeyUsage::required(TIME_STAMPING),
            None,
            None,
        )
        .map_err(refused)?;
    // webpki knows whole seconds. Those before the fraction are not before a certificate's start,
    // which is a whole second too; the fraction may be after its end.
    if time.subsec_nanosecond() == 0 {
        return Ok(());
    }
    let mut all = path.intermediate_certificates().map(webpki::Cert::der).chain([leaf.clone()]);
    if all.any(|der| ends_with(&der, seconds)) {
        return Err(Error::Certificate("a certificate ended within the second before".into()));
    }
    Ok(())
}

/// Whether the certificate's last second is this one.
fn ends_with(certificate: &[u8], seconds: u64) -> bool {
    Certificate::from_der(certificate).map_or(true, |certificate| {
        certificate.tbs_certificate.validity.not_after.to_unix_duration().as_secs() <= seconds
    })
}
