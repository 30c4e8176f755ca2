//! The requests of a probe, one after the other.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{IsTerminal as _, Write as _},
};

use hyper::header::{ACCEPT_ENCODING, HeaderName, HeaderValue};
use tokio::time::Instant;

use super::{
    client::{Answer, Client, End},
    guarded::Guard,
    judge::{Belongings, Sign, Twice, is_echo, made_up, says},
    operation::{Filled, Operation},
    outcome::{Call, Probed, Verdict},
    plan::{Plan, Tenant},
};

pub(super) struct Probe<'p> {
    pub(super) plan: &'p Plan,
    pub(super) client: Client,
    pub(super) guard: Option<Guard>,
    pub(super) deadline: Instant,
    /// Whether answers come through a gateway that cuts what it must not let leave.
    pub(super) behind_guard: bool,
}

/// One request that was sent, and what came.
struct Asked {
    filled: Filled,
    headers: Vec<(HeaderName, HeaderValue)>,
    answer: Result<Answer, String>,
}

/// Codes of our gateway for answers that it did not let leave.
const STOPS: [&str; 2] = ["TENANT_RESPONSE_LEAK", "TENANT_RESPONSE_REFUSED"];

impl Probe<'_> {
    pub(super) async fn all(&self) -> Vec<Probed> {
        let shown = std::io::stderr().is_terminal();
        let mut probed = Vec::new();
        for operation in &self.plan.operations {
            if shown {
                eprint!("\r{} of {} operations", probed.len(), self.plan.operations.len());
                // A line that is not shown is no reason to stop.
                let _ = std::io::stderr().flush();
            }
            let skipped = self.plan.skip.get(&operation.name).cloned();
            let calls = if skipped.is_none() { self.operation(operation).await } else { Vec::new() };
            probed.push(Probed { operation: operation.name.clone(), calls, skipped });
        }
        if shown {
            eprint!("\r\u{1b}[K");
        }
        probed
    }

    async fn operation(&self, operation: &Operation) -> Vec<Call> {
        let [one, two] = &self.plan.tenants;
        let pairs = [(one, two), (two, one)];
        let first = [self.own(operation, one).await, self.own(operation, two).await];
        let is_good = |asked: &Asked| {
            asked.answer.as_ref().is_ok_and(|answer| answer.is_success() && answer.end == End::Whole)
        };
        if !first.iter().all(is_good) {
            // Without an answer of each there is nothing to compare with; what came may leak all the same.
            let mut calls = Vec::new();
            for ((tenant, other), asked) in pairs.into_iter().zip(first) {
                let belongings = Belongings::new(other, tenant, None);
                calls.push(self.judge(operation, (tenant, tenant, other), asked, &belongings).await);
            }
            return calls;
        }
        let crosses = first[0].filled != first[1].filled;
        let mut crossed = Vec::new();
        for (tenant, other) in pairs.into_iter().filter(|_| crosses) {
            crossed.push(self.ask(operation, tenant, &self.values(other)).await);
        }
        let second = [self.own(operation, one).await, self.own(operation, two).await];
        let twice = |n: usize| {
            let answer = |all: &[Asked; 2]| all.get(n).and_then(|asked| asked.answer.as_ref().ok().cloned());
            let first = answer(&first)?;
            // One that is not answered again has no clock to be told apart from.
            Some(Twice { second: answer(&second).unwrap_or_else(|| first.clone()), first })
        };
        let (Some(ones), Some(twos)) = (twice(0), twice(1)) else { return Vec::new() };
        let belongs_to_two = Belongings::new(two, one, Some((&twos, &ones)));
        let belongs_to_one = Belongings::new(one, two, Some((&ones, &twos)));
        let mut calls = Vec::new();
        for ((tenant, other), (asked, belongings)) in
            pairs.into_iter().zip(first.into_iter().zip([&belongs_to_two, &belongs_to_one]))
        {
            calls.push(self.judge(operation, (tenant, tenant, other), asked, belongings).await);
        }
        for ((tenant, other), (asked, belongings)) in
            pairs.into_iter().zip(crossed.into_iter().zip([&belongs_to_two, &belongs_to_one]))
        {
            calls.push(self.judge(operation, (tenant, other, other), asked, belongings).await);
        }
        calls
    }

    fn values(&self, tenant: &Tenant) -> BTreeMap<String, String> {
        let mut values = self.plan.shared.clone();
        values.extend(tenant.parameters.clone());
        values
    }

    async fn own(&self, operation: &Operation, tenant: &Tenant) -> Asked {
        self.ask(operation, tenant, &self.values(tenant)).await
    }

    /// Sends one request as `caller` with these values.
    async fn ask(&self, operation: &Operation, caller: &Tenant, values: &BTreeMap<String, String>) -> Asked {
        let (filled, headers) = match self.prepare(operation, caller, values) {
            Ok(prepared) => prepared,
            Err(why) => {
                let filled = Filled { target: String::new(), headers: Vec::new(), sent: BTreeMap::new() };
                return Asked { filled, headers: Vec::new(), answer: Err(why) };
            }
        };
        let answer = if Instant::now() >= self.deadline {
            Err("not asked: --max-time is over".into())
        } else {
            let asked = self.client.ask(operation.method, &filled.target, &headers, self.deadline).await;
            asked.map_err(|error| format!("{error:#}"))
        };
        Asked { filled, headers, answer }
    }

    fn prepare(
        &self,
        operation: &Operation,
        caller: &Tenant,
        values: &BTreeMap<String, String>,
    ) -> Result<(Filled, Vec<(HeaderName, HeaderValue)>), String> {
        let value = |name: &str| values.get(name).cloned();
        let missing = |name: &str| format!("no value for `{name}`: give one in `parameters`");
        let mut filled = operation.fill(value).map_err(|name| missing(&name))?;
        for (name, template) in &self.plan.headers {
            let text = template.fill(value, str::to_owned).map_err(missing)?;
            for name in template.names() {
                filled.sent.extend(value(name).map(|value| (name.to_owned(), value)));
            }
            filled.headers.push((name.as_str().to_owned(), text));
        }
        let mut headers = vec![
            // What is compressed cannot be looked into.
            (ACCEPT_ENCODING, HeaderValue::from_static("identity")),
            // What an upstream with an echo says back.
            (HeaderName::from_static("x-request-id"), HeaderValue::from_static("portcullis-probe")),
        ];
        for (name, value) in &filled.headers {
            let pair = name.parse::<HeaderName>().ok().zip(value.parse::<HeaderValue>().ok());
            headers.push(pair.ok_or_else(|| format!("the header `{name}` cannot be sent"))?);
        }
        // The caller's own come last: they say who it is, whatever it asks for.
        for (name, value) in &caller.headers {
            headers.retain(|(own, _)| own != name);
            headers.push((name.clone(), value.clone()));
        }
        Ok((filled, headers))
    }

    /// What an answer to `caller`, who asked for what is `owner`'s, has of what is `other`'s.
    async fn judge(
        &self,
        operation: &Operation,
        (caller, owner, other): (&Tenant, &Tenant, &Tenant),
        asked: Asked,
        belongings: &Belongings<'_>,
    ) -> Call {
        let call = |status, verdict, guard| Call {
            caller: caller.id.clone(),
            asked_for: owner.id.clone(),
            status,
            verdict,
            guard,
        };
        let Asked { filled, headers, answer } = asked;
        let answer = match answer {
            Ok(answer) => answer,
            Err(why) => return call(None, Verdict::NotJudged(why), None),
        };
        let request = (operation.method, filled.target.as_str(), headers.as_slice());
        let guard = self.guard.as_ref().map(|guard| guard.says(&self.client, request, caller, &answer));
        let mut signs = belongings.signs_in(&answer, &filled.sent);
        if is_echo(&signs, &filled.sent, other) && self.echoes(operation, caller, other, &signs).await {
            signs.clear();
        }
        let is_own = caller.id == owner.id;
        let verdict = if !signs.is_empty() {
            Verdict::Leaked(signs)
        } else if let Some(code) = answer.code().filter(|code| STOPS.contains(&code.as_str())) {
            Verdict::Stopped(code)
        } else if let Some(why) = self.unreadable(&answer) {
            if answer.end == End::Broken && self.behind_guard {
                Verdict::Stopped(why)
            } else {
                Verdict::NotJudged(why)
            }
        } else if is_own && !answer.is_success() {
            let code = answer.code().map(|code| format!(" {code}")).unwrap_or_default();
            Verdict::NotJudged(format!("its own are not answered with 2xx{code}"))
        } else {
            Verdict::Clean
        };
        call(Some(answer.status), verdict, guard)
    }

    /// Why nobody can say that nothing is in an answer.
    fn unreadable(&self, answer: &Answer) -> Option<String> {
        let coding =
            answer.header("content-encoding").filter(|coding| !coding.eq_ignore_ascii_case(b"identity"));
        match answer.end {
            _ if coding.is_some() && !answer.body.is_empty() => {
                Some("encoded, though nobody asked for it".into())
            }
            End::Whole => None,
            End::TooLong => Some(format!("longer than --max-body, {} bytes", self.client.limits.body)),
            End::Broken => Some("cut before its end".into()),
            End::Late => Some("did not end in time".into()),
        }
    }

    /// Whether the service says any value back, also one that nobody has.
    async fn echoes(
        &self,
        operation: &Operation,
        caller: &Tenant,
        other: &Tenant,
        signs: &BTreeSet<Sign>,
    ) -> bool {
        let mut values = self.values(other);
        let named = |name: &str, value: &str| {
            signs.iter().any(|sign| match sign {
                Sign::Tenant => value == other.id,
                Sign::Parameter(parameter) => parameter == name,
                _ => false,
            })
        };
        let mut changed = Vec::new();
        for (name, value) in &mut values {
            if named(name, value) {
                let Some(another) = made_up(value) else { return false };
                changed.push(another.clone());
                *value = another;
            }
        }
        let asked = self.ask(operation, caller, &values).await;
        asked
            .answer
            .is_ok_and(|answer| answer.is_success() && changed.iter().all(|value| says(&answer, value)))
    }
}
