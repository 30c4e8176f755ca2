//! What was asked for: by flags, and by questions where there is a terminal.

use std::{net::SocketAddr, path::PathBuf, str::FromStr as _};

use anyhow::{Context as _, ensure};
use clap::ValueEnum as _;
use dialoguer::{Confirm, Input, Select};

use super::{
    Arguments, Provider, Tenants,
    issuer::{self, Keys},
};
use crate::gateway::config::Address;

const CLAIM: &str = "tenants";
const DOMAIN: &str = "app.example.com";
const UPSTREAM: &str = "127.0.0.1:8080";
const OUT: &str = "gateway";

/// Everything that the files depend on.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) issuer: String,
    pub(super) audiences: Vec<String>,
    pub(super) keys: Keys,
    pub(super) algorithms: Vec<String>,
    pub(super) tenants: Tenants,
    pub(super) domain: String,
    pub(super) proof: Proof,
    pub(super) upstream: Address,
    pub(super) listen: SocketAddr,
    pub(super) out: PathBuf,
}

/// How a token says whose it is.
#[derive(Clone, Debug)]
pub(super) enum Proof {
    /// A claim with a list of ids.
    Claim(String),
    Provider(Provider),
}

impl Plan {
    pub(super) fn has_tenants(&self) -> bool {
        self.tenants != Tenants::None
    }

    /// The modules that the gateway runs.
    pub(super) fn modules(&self) -> impl Iterator<Item = portcullis_modules::Module> {
        let guard = self.has_tenants().then_some(portcullis_modules::TENANT_GUARD);
        [portcullis_modules::JWT_AUTH].into_iter().chain(guard)
    }
}

/// The plan of the flags alone.
///
/// # Errors
///
/// The issuer or its audience is missing, or its keys are not what they must be.
pub(super) fn of(arguments: &Arguments) -> anyhow::Result<Plan> {
    let issuer = arguments.issuer.clone();
    let issuer = issuer.context("`--issuer`: say who signs your tokens (their `iss`, to the letter)")?;
    ensure!(
        !arguments.audience.is_empty(),
        "`--audience`: say what tokens for your service have as `aud`; without it a token for another service would do"
    );
    let tenants = arguments.tenants.unwrap_or(Tenants::None);
    ensure!(
        tenants != Tenants::Subdomain || arguments.domain.is_some(),
        "`--domain`: say whose subdomains are tenants, such as {DOMAIN}"
    );
    let upstream = arguments.upstream.clone().map_or_else(|| Address::from_str(UPSTREAM), Ok)?;
    let domain = arguments.domain.clone().unwrap_or_default();
    finish(arguments, issuer, arguments.audience.clone(), tenants, domain, proof(arguments), upstream)
}

fn proof(arguments: &Arguments) -> Proof {
    match arguments.provider {
        Some(provider) => Proof::Provider(provider),
        None => Proof::Claim(arguments.tenant_claim.clone().unwrap_or_else(|| CLAIM.into())),
    }
}

fn finish(
    arguments: &Arguments,
    issuer: String,
    audiences: Vec<String>,
    tenants: Tenants,
    domain: String,
    proof: Proof,
    upstream: Address,
) -> anyhow::Result<Plan> {
    ensure!(!issuer.trim().is_empty(), "the issuer is empty");
    ensure!(audiences.iter().all(|audience| !audience.is_empty()), "an audience is empty");
    let (keys, algorithms) = issuer::find(&issuer, arguments)?;
    let out = arguments.out.clone().unwrap_or_else(|| OUT.into());
    let Arguments { listen, .. } = *arguments;
    Ok(Plan { issuer, audiences, keys, algorithms, tenants, domain, proof, upstream, listen, out })
}

/// The plan of the flags, and of answers where there is none.
///
/// # Errors
///
/// As [`of`], and where the terminal cannot be read.
pub(super) fn ask(arguments: &Arguments) -> anyhow::Result<Plan> {
    let text = |question: &str, default: &str| -> anyhow::Result<String> {
        let input = Input::<String>::new().with_prompt(question);
        let input = if default.is_empty() { input } else { input.default(default.into()) };
        Ok(input.interact_text()?)
    };
    // Whoever gave the two that have no default is asked nothing.
    if arguments.issuer.is_some() && !arguments.audience.is_empty() {
        return of(arguments);
    }
    let issuer = match &arguments.issuer {
        Some(issuer) => issuer.clone(),
        None => text("Who signs your tokens? Their `iss`, to the letter", "")?,
    };
    let audiences = if arguments.audience.is_empty() {
        vec![text("What is `aud` in tokens for your service?", "")?]
    } else {
        arguments.audience.clone()
    };
    let tenants = match arguments.tenants {
        Some(tenants) => tenants,
        None => {
            let choices = Tenants::value_variants();
            let said = |choice: &Tenants| {
                let value = choice.to_possible_value();
                value.map_or_else(String::new, |value| {
                    let help = value.get_help().map(ToString::to_string).unwrap_or_default();
                    format!("{}: {help}", value.get_name())
                })
            };
            let items: Vec<_> = choices.iter().map(said).collect();
            let question = "Where do requests name the customer (tenant)?";
            choices[Select::new().with_prompt(question).items(&items).default(0).interact()?]
        }
    };
    let domain = match (&arguments.domain, tenants) {
        (Some(domain), _) => domain.clone(),
        (None, Tenants::Subdomain) => text("Whose subdomains are tenants?", DOMAIN)?,
        (None, _) => String::new(),
    };
    let is_said = arguments.provider.is_some() || arguments.tenant_claim.is_some();
    let proof = if tenants == Tenants::None || is_said {
        proof(arguments)
    } else {
        Proof::Claim(text("Which claim lists the ids of the caller's tenants?", CLAIM)?)
    };
    let upstream = match &arguments.upstream {
        Some(upstream) => upstream.clone(),
        None => text("Where is your service?", UPSTREAM)?.parse()?,
    };
    let plan = finish(arguments, issuer, audiences, tenants, domain, proof, upstream)?;
    let question = format!("Write it into `{}`?", plan.out.display());
    ensure!(Confirm::new().with_prompt(question).default(true).interact()?, "nothing was written");
    Ok(plan)
}
