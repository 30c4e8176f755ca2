//! What tenant-guard would do with an answer: its own policy, natively.

use std::path::Path;

use anyhow::{Context as _, anyhow};
use hyper::header::{HOST, HeaderName, HeaderValue};
use portcullis_core::{Request, request::borrowed};
use portcullis_tenant::{Directory, Policy};

use super::{
    client::{Answer, Client, End},
    operation::Method,
    plan::Tenant,
};
use crate::document;

/// What a guard says about an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// The route has none.
    Nothing,
    Passes,
    /// What it would write down.
    Reports(Vec<&'static str>),
    /// Why it would not let the answer leave.
    Stops(&'static str),
}

impl Said {
    pub(super) fn text(&self) -> String {
        match self {
            Self::Nothing => "no guard".into(),
            Self::Passes => "would pass".into(),
            Self::Reports(kinds) => format!("would report {}", kinds.join(", ")),
            Self::Stops(kind) => format!("would stop ({kind})"),
        }
    }

    pub(super) const fn as_str(&self) -> &'static str {
        match self {
            Self::Nothing => "none",
            Self::Passes => "passes",
            Self::Reports(_) => "reports",
            Self::Stops(_) => "stops",
        }
    }
}

pub(super) struct Guard(Policy);

impl Guard {
    /// The guards of a tenant-guard configuration.
    ///
    /// # Errors
    ///
    /// It cannot be read or is refused, with the path in the document; no route of it has a guard.
    pub(super) fn read(file: &Path) -> anyhow::Result<Self> {
        let shown = file.display().to_string();
        let bytes = document::plugin_configuration(document::read(file)?).with_context(|| shown.clone())?;
        let policy = Policy::from_json(&bytes).map_err(|error| anyhow!("{shown}: {error}"))?;
        anyhow::ensure!(policy.has_guards(), "{shown}: no route has a `guard`, so none would say anything");
        Ok(Self(policy))
    }

    /// What it says about `answer`, to a request that is proven to be `tenant`'s.
    pub(super) fn says(
        &self,
        client: &Client,
        (method, target, headers): (Method, &str, &[(HeaderName, HeaderValue)]),
        tenant: &Tenant,
        answer: &Answer,
    ) -> Said {
        let host = headers.iter().find(|(name, _)| *name == HOST).map(|(_, value)| value);
        let host = host.unwrap_or(client.authority());
        let mut asked: Vec<(Vec<u8>, Vec<u8>)> = vec![
            (b":method".to_vec(), method.as_str().into()),
            (b":path".to_vec(), client.path(target).into_bytes()),
            (b":authority".to_vec(), host.as_bytes().to_vec()),
        ];
        let others = headers.iter().filter(|(name, _)| *name != HOST);
        asked.extend(others.map(|(name, value)| (name.as_str().into(), value.as_bytes().to_vec())));
        let asked = borrowed(&asked);
        let Some(guard) = self.0.guard_of(&Request::new(&asked), &tenant.id, tenant.slug.as_deref()) else {
            return Said::Nothing;
        };
        let mut came: Vec<(Vec<u8>, Vec<u8>)> = vec![(b":status".to_vec(), answer.status.to_string().into())];
        came.extend(answer.headers.iter().map(|(name, value)| (name.clone().into_bytes(), value.clone())));
        let came = borrowed(&came);
        let directory = self.0.listed().map(|listed| -> &dyn Directory { listed });
        if let Err(denial) = self.0.clean(&came, &guard, directory) {
            return Said::Stops(denial.code().as_str());
        }
        let ends = answer.body.is_empty() && answer.end == End::Whole;
        let Some(opening) = self.0.inspect(&guard, &came, ends, false) else { return Said::Nothing };
        let mut found = opening.found;
        if let Some(mut inspection) = opening.inspection {
            found.extend(inspection.body(&answer.body, answer.end == End::Whole).found);
        }
        if let Some(stopped) = found.iter().find(|found| found.enforced) {
            return Said::Stops(stopped.leak.as_str());
        }
        let mut kinds: Vec<_> = found.iter().map(|found| found.leak.as_str()).collect();
        kinds.dedup();
        if kinds.is_empty() { Said::Passes } else { Said::Reports(kinds) }
    }
}
