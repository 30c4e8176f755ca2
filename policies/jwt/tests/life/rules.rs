//! The rules of the machine, one by one.

use portcullis_jwt::life::{
    Answer, Cause, Counter, Effect, Event, Failure, KeyState, LifeConfig, Phase, Refusal,
};

use crate::{
    keys::{set, thumbprint},
    rig::{LONG, Rig, config, headers, seconds},
};

// --- the first fetch

#[test]
fn a_thousand_requests_at_a_cold_start_cause_one_fetch_and_none_is_refused() {
    let mut rig = Rig::new(config());
    for waiter in 0..1000 {
        assert_eq!(rig.need(waiter, "a"), Answer::Wait);
    }
    assert_eq!(rig.count(|effect| matches!(effect, Effect::Fetch(_))), 1);
    rig.answer(200, &[], &set(&[("a", 1)]));
    assert_eq!(rig.woken().len(), 1000);
    assert_eq!(rig.refused(), []);
    assert_eq!(rig.life.status(rig.now).waiting, 0);
    assert!(rig.fetch().is_none());
}

#[test]
fn a_request_that_waits_is_refused_at_its_deadline_and_not_later() {
    let mut rig = Rig::new(config());
    assert_eq!(rig.need(7, "a"), Answer::Wait);
    rig.pass(seconds(4));
    assert_eq!(rig.refused(), []);
    rig.pass(seconds(1));
    assert!(matches!(rig.refused()[..], [(7, Refusal::Unavailable { .. })]));
    assert_eq!(rig.count(|effect| *effect == Effect::Count(Counter::WaitedInVain)), 1);
}

#[test]
fn waiting_longer_by_asking_again_is_not_possible() {
    let mut rig = Rig::with_keys(config(), &set(&[("a", 1)]), LONG);
    let since = rig.now;
    rig.pass(seconds(10));
    let need = portcullis_jwt::life::Need {
        kid: Some("b"),
        bad_signature: false,
        judged_with: rig.life.generation(rig.now),
        waiter: 1,
        since,
    };
    let answer = rig.life.need(rig.now, 0, need, &mut rig.effects);
    assert!(matches!(answer, Answer::Refused(Refusal::Unavailable { .. })));
    assert_eq!(rig.life.status(rig.now).waiting, 0);
}

#[test]
fn a_request_that_goes_away_leaves_nothing_behind() {
    let mut rig = Rig::new(config());
    rig.need(1, "a");
    rig.need(2, "a");
    rig.event(Event::Gone { waiter: 1 });
    assert_eq!(rig.life.status(rig.now).waiting, 1);
    rig.answer(200, &[], &set(&[("a", 1)]));
    assert_eq!(rig.woken(), [2]);
}

#[test]
fn too_many_waiting_requests_are_refused_and_the_others_wait_on() {
    let mut rig = Rig::new(LifeConfig { max_waiting: 3, ..config() });
    for waiter in 0..3 {
        assert_eq!(rig.need(waiter, "a"), Answer::Wait);
    }
    assert!(matches!(rig.need(3, "a"), Answer::Refused(Refusal::TooManyWaiting { .. })));
    rig.answer(200, &[], &set(&[("a", 1)]));
    assert_eq!(rig.woken(), [0, 1, 2]);
}

// --- rotation

#[test]
fn a_token_of_a_new_key_waits_for_one_fetch_and_is_judged_again() {
    let mut rig = Rig::with_keys(config(), &set(&[("a", 1)]), LONG);
    rig.pass(seconds(100));
    for waiter in 0..50 {
        assert_eq!(rig.need(waiter, "b"), Answer::Wait);
    }
    let fetch = rig.answer(200, LONG, &set(&[("b", 2)]));
    assert_eq!(fetch.cause, Cause::Asked);
    assert!(fetch.headers.contains(&("cache-control", "no-cache".into())));
    assert_eq!(rig.woken().len(), 50);
    assert_eq!(rig.kids(), ["b"]);
}

#[test]
fn a_key_that_was_dropped_is_gone_at_once_and_said_to_be() {
    let mut rig = Rig::with_keys(config(), &set(&[("a", 1), ("c", 3)]), LONG);
    let generation = rig.life.generation(rig.now);
    rig.need(1, "b");
    rig.answer(200, LONG, &set(&[("b", 2), ("c", 3)]));
    assert_ne!(rig.life.generation(rig.now), generation);
    assert!(!rig.ready().unwrap().has_thumbprint(&thumbprint(1)));
    let named = |effect: &Effect| match effect {
        Effect::KeyAppeared(name) => Some(format!("+{name}")),
        Effect::KeyGone(name) => Some(format!("-{name}")),
        _ => None,
    };
    let names: Vec<String> = rig.effects.iter().filter_map(named).collect();
    assert_eq!(names.len(), 2);
    assert!(names[0].starts_with("+`b` (sha256:") && names[1].starts_with("-`a` (sha256:"), "{names:?}");
}

#[test]
fn a_set_with_the_same_keys_keeps_its_generation() {
    let mut rig = Rig::with_keys(config(), &set(&[("a", 1)]), &[]);
    let generation = rig.life.generation(rig.now);
    rig.pass_to_fetch();
    rig.answer(200, &[], &set(&[("a", 1)]).replace("{\"keys", "{ \"keys"));
    assert_eq!(rig.life.generation(rig.now), generation);
    assert_eq!(rig.count(|effect| matches!(effect, Effect::KeyAppeared(_) | Effect::KeyGone(_))), 0);
}

#[test]
fn a_new_key_under_the_same_name_is_fetched_when_a_signature_fails() {
    let mut rig = Rig::with_keys(config(), &set(&[("a", 1)]), LONG);
    assert_eq!(rig.ask(1, Some("a"), true), Answer::Wait);
    rig.answer(200, LONG, &set(&[("a", 2)]));
    assert_eq!(rig.woken(), [1]);
    assert!(rig.ready().unwrap().has_thumbprint(&thumbprint(2)));
}

#[test]
fn a_forged_signature_costs_one_fetch_and_then_nothing_for_a_while() {
    let mut rig = Rig::with_keys(config(), &set(&[("a", 1)]), LONG);
    assert_eq!(rig.ask(1, Some("a"), true), Answer::Wait);
    rig.answer(200, LONG, &set(&[("a", 1)]));
    assert_eq!(rig.refused(), [(1, Refusal::Checked)]);
    for waiter in 2..1000 {
        assert_eq!(rig.ask(waiter, Some("a"), true), Answer::Refused(Refusal::Checked));
    }
    assert!(rig.fetch().is_none());
    // Tokens of a kid that nobody looked for are not judged by it.
    assert_eq!(rig.need(1000, "b"), Answer::Wait);
    // And the memory ends.
    rig.answer(200, LONG, &set(&[("a", 1)]));
    rig.pass(seconds(11));
    assert_ne!(rig.ask(1001, Some("a"), true), Answer::Refused(Refusal::Checked));
}

#[test]
fn a_kid_that_does_not_exist_is_not_looked_for_again() {
    let mut rig = Rig::with_keys(config(), &set(&[("a", 1)]), LONG);
    rig.need(1, "b");
    rig.answer(200, LONG, &set(&[("a", 1)]));
    assert_eq!(rig.refused(), [(1, Refusal::Checked)]);
    assert_eq!(rig.need(2, "b"), Answer::Refused(Refusal::Checked));
    assert_eq!(rig.need(3, "c"), Answer::Wait);
    rig.answer(200, LONG, &set(&[("a", 1), ("b", 2)]));
    assert_eq!(rig.refused(), [(3, Refusal::Checked)]);
}

#[test]
fn a_kid_that_has_existed_since_is_looked_for_again() {
    let mut rig = Rig::with_keys(LifeConfig { fetches_per_minute: 60, ..config() }, &set(&[("a", 1)]), LONG);
    for (waiter, kid, answer) in
        [(1, "b", &[("a", 1)][..]), (2, "c", &[("a", 1), ("b", 2)]), (3, "d", &[("a", 1)])]
    {
        assert_eq!(rig.need(waiter, kid), Answer::Wait);
        rig.answer(200, LONG, &set(answer));
        rig.pass(seconds(2));
    }
    assert_eq!(rig.need(4, "b"), Answer::Wait);
}

#[test]
fn a_fetch_that_began_before_the_request_came_does_not_prove_that_a_kid_is_unknown() {
    let mut rig = Rig::with_keys(config(), &set(&[("a", 1)]), LONG);
    rig.need(1, "x");
    let first = rig.fetch().unwrap();
    rig.pass(seconds(1));
    assert_eq!(rig.need(2, "b"), Answer::Wait);
    let body = set(&[("a", 1)]);
    rig.event(Event::Answered { id: first.id, status: 200, headers: headers(LONG), body: body.as_bytes() });
    assert_eq!(rig.refused(), [(1, Refusal::Checked)]);
    rig.answer(200, LONG, &set(&[("a", 1), ("b", 2)]));
    assert_eq!(rig.woken(), [2]);
}

#[test]
fn a_token_without_kid_waits_for_keys_that_fit() {
    let mut rig = Rig::with_keys(config(), &set(&[("a", 1)]), LONG);
    assert_eq!(rig.ask(1, None, true), Answer::Wait);
    rig.answer(200, LONG, &set(&[("a", 1), ("b", 2)]));
    assert_eq!(rig.woken(), [1]);
    assert_eq!(rig.ask(1, None, true), Answer::Wait);
    rig.answer(200, LONG, &set(&[("a", 1), ("b", 2)]));
    assert_eq!(rig.refused(), [(1, Refusal::Checked)]);
}

#[test]
fn a_request_that_was_judged_with_older_keys_is_judged_again() {
    let mut rig = Rig::with_keys(config(), &set(&[("a", 1)]), LONG);
    let need = |judged_with| portcullis_jwt::life::Need {
        kid: Some("b"),
        bad_signature: false,
        judged_with,
        waiter: 1,
        since: rig.now,
    };
    let mut effects = Vec::new();
    assert_eq!(rig.life.need(rig.now, 0, need(None), &mut effects), Answer::Ready);
    assert_eq!(effects, []);
}

#[test]
fn a_name_that_no_set_can_hold_costs_nothing() {
    let mut rig = Rig::with_keys(config(), &set(&[("a", 1)]), LONG);
    assert_eq!(rig.need(1, &"k".repeat(10_000)), Answer::Refused(Refusal::Checked));
    assert!(rig.fetch().is_none());
}

// --- the bound

#[test]
fn random_kids_cause_no_more_than_the_stated_number_of_fetches() {
    let mut rig = Rig::with_keys(config(), &set(&[("a", 1)]), LONG);
    let mut starts = Vec::new();
    let mut waited = 0;
    for tenth in 0..600_u32 {
        for request in 0..30 {
            let answer = rig.need(tenth * 30 + request, &format!("random-{tenth}-{request}"));
            waited += usize::from(answer == Answer::Wait);
        }
        if rig.count(|effect| matches!(effect, Effect::Fetch(_))) > 0 {
            starts.push(tenth);
            rig.answer(200, LONG, &set(&[("a", 1)]));
        }
        assert!(rig.ready().is_some_and(|set| set.by_kid("a").count() == 1));
        rig.pass(std::time::Duration::from_millis(100));
    }
    // The cold start was the first of the minute; then two at once, and one after 20 seconds.
    assert_eq!(starts, [0, 1, 200]);
    assert!(waited > 0);
}

#[test]
fn requests_that_the_bound_makes_hopeless_are_told_when_to_come_again() {
    let mut rig = Rig::with_keys(config(), &set(&[("a", 1)]), LONG);
    for waiter in 0..2 {
        rig.need(waiter, &format!("x{waiter}"));
        rig.answer(200, LONG, &set(&[("a", 1)]));
    }
    let answer = rig.need(9, "b");
    assert_eq!(answer, Answer::Refused(Refusal::Unavailable { retry_after: seconds(20) }));
    rig.pass(seconds(16));
    assert_eq!(rig.need(9, "b"), Answer::Wait);
    rig.pass(seconds(4));
    rig.answer(200, LONG, &set(&[("b", 1)]));
    assert_eq!(rig.woken(), [9]);
}

#[test]
fn refreshing_leaves_a_fetch_for_a_rotation() {
    let mut rig = Rig::with_keys(config(), &set(&[("a", 1)]), &[]);
    rig.pass_to_fetch();
    // The issuer is down: all retries of this minute are used up.
    let mut retries = 0;
    for _ in 0..20 {
        if rig.count(|effect| matches!(effect, Effect::Fetch(_))) > 0 {
            rig.fail();
            retries += 1;
        }
        rig.pass(seconds(1));
    }
    assert_eq!(retries, 3);
    // It is back and has rotated.
    assert_eq!(rig.need(1, "b"), Answer::Wait);
    rig.pass(seconds(4));
    rig.answer(200, &[], &set(&[("b", 2)]));
    assert_eq!(rig.woken(), [1]);
}

// --- life

#[test]
fn the_life_of_a_set_is_what_its_headers_say_within_the_clamps() {
    for (pairs, fresh) in [
        (vec![], 300),
        (vec![("cache-control", "max-age=600")], 600),
        (vec![("cache-control", "max-age=600"), ("age", "60")], 540),
        (vec![("cache-control", "max-age=31536000")], 900),
        (vec![("cache-control", "max-age=0")], 60),
        (vec![("cache-control", "no-store, max-age=600")], 60),
    ] {
        let mut rig = Rig::with_keys(config(), &set(&[("a", 1)]), &pairs);
        let begin = rig.now;
        assert_eq!(rig.phase(), Phase::Fresh);
        let refresh = rig.life.next_wake().unwrap().saturating_since(begin);
        let ahead = seconds(30).min(seconds(fresh) / 4);
        assert!(
            refresh > seconds(fresh) - ahead * 2 && refresh < seconds(fresh) - ahead,
            "{pairs:?} {refresh:?}"
        );
        rig.pass(refresh);
        assert_eq!(rig.phase(), Phase::RefreshAhead);
        assert_eq!(rig.fetch().unwrap().cause, Cause::Due);
        rig.pass(seconds(fresh) - refresh);
        assert_eq!(rig.phase(), Phase::Stale);
        rig.pass(seconds(3599));
        assert_eq!((rig.phase(), rig.kids().len()), (Phase::Stale, 1));
        rig.pass(seconds(1));
        assert_eq!((rig.phase(), rig.kids().len()), (Phase::Expired, 0));
        assert!(matches!(rig.life.key_set(rig.now), KeyState::Unavailable));
        assert_eq!(rig.life.generation(rig.now), None);
    }
}

#[test]
fn the_time_of_a_slow_answer_counts_for_the_life_of_the_set() {
    let mut rig = Rig::new(config());
    rig.tick();
    rig.pass(seconds(4));
    rig.answer(200, &[], &set(&[("a", 1)]));
    rig.pass(seconds(295));
    assert_eq!(rig.phase(), Phase::RefreshAhead);
    rig.pass(seconds(1));
    assert_eq!(rig.phase(), Phase::Stale);
}

#[test]
fn a_refresh_is_conditional_and_304_prolongs_the_life() {
    let validators = [("etag", "\"v1\""), ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT")];
    let mut rig = Rig::with_keys(config(), &set(&[("a", 1)]), &validators);
    rig.pass_to_fetch();
    let fetch = rig.answer(304, &[("cache-control", "max-age=600")], "");
    assert!(fetch.headers.contains(&("if-none-match", "\"v1\"".into())));
    assert!(fetch.headers.contains(&("if-modified-since", "Sun, 06 Nov 1994 08:49:37 GMT".into())));
    rig.pass(seconds(500));
    assert_eq!((rig.phase(), rig.kids().len()), (Phase::Fresh, 1));
    // Who waits for a key does not ask conditionally.
    rig.need(1, "b");
    let fetch = rig.answer(304, &[], "");
    assert!(fetch.headers.iter().all(|(name, _)| !name.starts_with("if-")));
    assert_eq!(
        rig.count(|e| matches!(e, Effect::SourceFailed { failure: Failure::NotModifiedUnasked, .. })),
        1
    );
}

#[test]
fn a_clock_that_goes_back_does_not_bring_an_expired_set_back() {
    let mut rig = Rig::with_keys(config(), &set(&[("a", 1)]), &[]);
    let begin = rig.now;
    rig.pass(seconds(4000));
    assert_eq!(rig.phase(), Phase::Expired);
    rig.effects.clear();
    rig.now = begin;
    rig.tick();
    assert_eq!((rig.phase(), rig.kids().len(), rig.life.generation(begin)), (Phase::Expired, 0, None));
    assert_eq!(rig.count(|effect| matches!(effect, Effect::PhaseChanged { .. })), 0);
}

// --- bad answers and failures

#[test]
fn an_answer_that_is_no_key_set_keeps_the_last_good_one() {
    let cases: [(u16, &str, &str); 11] = [
        (200, "", "empty"),
        (200, "<html>", "html"),
        (200, "{\"keys\":[{", "truncated"),
        (200, "{\"keys\":[]}", "no_keys"),
        (
            200,
            "{\"keys\":[{\"kty\":\"oct\",\"k\":\"c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IHNlY3JldA\"}]}",
            "all_left_out",
        ),
        (200, "{\"keys\":{}}", "keys_not_an_array"),
        (500, "oops", "status"),
        (204, "", "status"),
        (301, "", "redirect"),
        (302, "{\"keys\":[]}", "redirect"),
        (304, "", "not_modified_unasked"),
    ];
    for (code, body, label) in cases {
        let mut rig = Rig::with_keys(config(), &set(&[("a", 1)]), &[]);
        let generation = rig.life.generation(rig.now);
        rig.pass_to_fetch();
        rig.answer(code, &[], body);
        let found = rig.effects.iter().find_map(|effect| match effect {
            Effect::SourceFailed { source: 0, failure } => Some(failure.clone()),
            _ => None,
        });
        assert_eq!(found.as_ref().map(Failure::label), Some(label), "{body}");
        assert!(!found.unwrap().to_string().is_empty());
        assert_eq!((rig.kids(), rig.life.generation(rig.now)), (vec!["a".to_string()], generation));
    }
    let mut rig = Rig::with_keys(config(), &set(&[("a", 1)]), &[]);
    rig.pass_to_fetch();
    rig.answer(200, &[], &format!("{}{}", set(&[("b", 1)]), " ".repeat(300_000)));
    assert_eq!(rig.kids(), ["a"]);
}

#[test]
fn failures_are_retried_with_growing_pauses_and_never_faster_than_the_bound() {
    let mut rig = Rig::new(config());
    rig.tick();
    let begin = rig.now;
    let mut starts = Vec::new();
    while rig.now.saturating_since(begin) < seconds(3600) {
        if rig.count(|effect| matches!(effect, Effect::Fetch(_))) > 0 {
            starts.push(rig.now.saturating_since(begin));
            rig.fail();
        }
        let next = rig.life.next_wake().unwrap();
        rig.now = next;
        rig.tick();
    }
    assert!(starts.windows(5).all(|five| five[4] - five[0] >= seconds(60)));
    assert!(starts[1] < seconds(1) && starts[2] < seconds(3));
    let late: Vec<_> = starts.windows(2).map(|pair| pair[1] - pair[0]).skip(10).collect();
    assert!(late.iter().all(|pause| *pause >= seconds(30) && *pause <= seconds(60)), "{late:?}");
}

#[test]
fn a_fetch_whose_outcome_is_never_reported_is_given_up() {
    let mut rig = Rig::new(config());
    rig.tick();
    let lost = rig.fetch().unwrap();
    rig.pass(seconds(6));
    assert_eq!(rig.count(|e| matches!(e, Effect::SourceFailed { failure: Failure::Timeout, .. })), 1);
    rig.pass(seconds(1));
    let body = set(&[("late", 1)]);
    rig.event(Event::Answered { id: lost.id, status: 200, headers: headers(&[]), body: body.as_bytes() });
    assert_eq!(rig.count(|effect| *effect == Effect::Count(Counter::LateAnswer)), 1);
    assert_eq!(rig.kids().len(), 0);
    rig.answer(200, &[], &set(&[("a", 1)]));
    assert_eq!(rig.kids(), ["a"]);
}

#[test]
fn an_issuer_that_is_down_for_an_hour_costs_known_keys_nothing_and_is_noticed_when_it_is_back() {
    let mut rig = Rig::with_keys(config(), &set(&[("a", 1)]), &[]);
    let begin = rig.now;
    while rig.now.saturating_since(begin) < seconds(3600) {
        rig.pass(seconds(1));
        if rig.count(|effect| matches!(effect, Effect::Fetch(_))) > 0 {
            rig.fail();
        }
        assert_eq!(rig.kids(), ["a"]);
    }
    // What nobody can know is 503, not 401.
    assert!(matches!(rig.need(1, "b"), Answer::Wait | Answer::Refused(Refusal::Unavailable { .. })));
    rig.effects.clear();
    rig.event(Event::Gone { waiter: 1 });
    while rig.now.saturating_since(begin) < seconds(4000) {
        rig.pass(seconds(1));
        if rig.count(|effect| matches!(effect, Effect::Fetch(_))) > 0 {
            rig.fail();
        }
    }
    assert_eq!(rig.phase(), Phase::Expired);
    let answer = rig.need(2, "a");
    assert!(matches!(answer, Answer::Wait | Answer::Refused(Refusal::Unavailable { .. })), "{answer:?}");
    let back = rig.now;
    while rig.kids().is_empty() {
        rig.pass(seconds(1));
        if rig.count(|effect| matches!(effect, Effect::Fetch(_))) > 0 {
            rig.answer(200, &[], &set(&[("a", 1)]));
        }
        assert!(rig.now.saturating_since(back) <= seconds(61), "one pause is at most a minute");
    }
}

#[test]
fn a_busy_issuer_may_ask_for_a_longer_pause() {
    let mut rig = Rig::new(config());
    rig.tick();
    rig.answer(503, &[("retry-after", "40")], "");
    assert_eq!(rig.life.next_wake().unwrap().saturating_since(rig.now), seconds(40));
}
