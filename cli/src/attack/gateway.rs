//! What must hold before an attack means anything: the honest request gets in, and one without a
//! token does not.

use anyhow::{Context as _, bail, ensure};
use portcullis_issuer::attacks::{Request, Target};

use super::Gateway;

pub(super) fn honest(target: &Target, gateway: &mut dyn Gateway) -> anyhow::Result<()> {
    let request = target.honest().map_err(|error| anyhow::anyhow!("the honest token: {error}"))?;
    let seen = gateway.ask(&request).context("the honest request")?;
    if !seen.accepted {
        let code = seen.code.map(|code| format!(" with {code}")).unwrap_or_default();
        bail!(
            "the honest request is refused{code}: an attack would prove nothing. \
             Give what its token must have with --claims and --header, or another --path"
        );
    }
    let without = Request { headers: Vec::new(), ..request };
    let seen = gateway.ask(&without).context("the request without a token")?;
    ensure!(!seen.accepted, "`{}` needs no token: give a --path, or a URL, that does", without.path);
    Ok(())
}
