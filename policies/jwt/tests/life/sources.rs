//! Several sources for one issuer: failover, the last resort, and discovery.

use portcullis_jwt::{
    jwks::{self, KeySet},
    life::{
        Allow, Answer, Effect, Failure, KeyState, LifeConfig, Phase, Refusal, Source, discovery_addresses,
    },
};

use crate::{
    keys::set,
    rig::{LONG, Rig, address, config},
};

fn two_sources() -> LifeConfig {
    let mut config = config();
    config.sources.push(Source::Keys(address("https://mirror/jwks")));
    config
}

#[test]
fn the_second_source_is_asked_at_once_when_the_first_fails_and_the_first_is_preferred_again() {
    let mut rig = Rig::new(two_sources());
    rig.need(1, "a");
    assert_eq!(rig.fail().source, 0);
    let fetch = rig.answer(200, &[], &set(&[("a", 1)]));
    assert_eq!((fetch.source, fetch.address.as_str()), (1, "https://mirror/jwks"));
    assert_eq!(rig.woken(), [1]);
    rig.pass_to_fetch();
    assert_eq!(rig.fetch().unwrap().source, 0);
}

#[test]
fn validators_of_one_source_are_not_sent_to_another() {
    let mut rig = Rig::new(two_sources());
    rig.tick();
    rig.answer(200, &[("etag", "\"one\"")], &set(&[("a", 1)]));
    rig.pass_to_fetch();
    rig.fail();
    let fetch = rig.fetch().unwrap();
    assert_eq!(fetch.source, 1);
    assert!(fetch.headers.iter().all(|(name, _)| *name != "if-none-match"));
}

#[test]
fn the_inline_set_is_the_last_resort_only() {
    let document = set(&[("inline", 9)]);
    let inline = KeySet::parse(document.as_bytes(), jwks::Origin::Inline, &jwks::Limits::default()).unwrap();
    let mut rig = Rig::new(LifeConfig { inline: Some(inline), ..two_sources() });
    rig.need(1, "a");
    assert!(matches!(rig.life.key_set(rig.now), KeyState::Pending));
    rig.fail();
    assert_eq!(rig.kids().len(), 0);
    rig.fail();
    assert_eq!((rig.kids(), rig.phase()), (vec!["inline".to_string()], Phase::LastResort));
    let generation = rig.life.generation(rig.now);
    rig.pass_to_fetch();
    rig.answer(200, &[], &set(&[("a", 1)]));
    assert_eq!((rig.kids(), rig.phase()), (vec!["a".to_string()], Phase::Fresh));
    assert_ne!(rig.life.generation(rig.now), generation);
}

#[test]
fn inline_keys_without_a_source_are_simply_the_keys() {
    let document = set(&[("inline", 9)]);
    let inline = KeySet::parse(document.as_bytes(), jwks::Origin::Inline, &jwks::Limits::default()).unwrap();
    let mut config = config();
    config.sources.clear();
    let mut rig = Rig::new(LifeConfig { inline: Some(inline), ..config });
    rig.tick();
    assert_eq!((rig.kids().len(), rig.phase(), rig.life.next_wake()), (1, Phase::Fresh, None));
    assert_eq!(rig.need(1, "b"), Answer::Refused(Refusal::Checked));
    assert_eq!(rig.effects, []);
}

fn discovered() -> LifeConfig {
    let addresses = discovery_addresses("https://idp", Allow::default()).unwrap();
    LifeConfig { sources: addresses.into_iter().map(Source::Discovery).collect(), ..config() }
}

const DOCUMENT: &str = r#"{"issuer":"https://idp","jwks_uri":"https://keys.idp/jwks"}"#;

#[test]
fn an_issuer_is_looked_up_before_its_keys_are_fetched() {
    let mut rig = Rig::new(discovered());
    rig.need(1, "a");
    let fetch = rig.answer(200, &[], DOCUMENT);
    assert_eq!(fetch.address.as_str(), "https://idp/.well-known/openid-configuration");
    let fetch = rig.answer(200, LONG, &set(&[("a", 1)]));
    assert_eq!(fetch.address.as_str(), "https://keys.idp/jwks");
    assert_eq!(rig.woken(), [1]);
    // The address is known now: a rotation costs one fetch.
    rig.need(2, "b");
    assert_eq!(rig.answer(200, LONG, &set(&[("b", 1)])).address.as_str(), "https://keys.idp/jwks");
    assert_eq!(rig.woken(), [2]);
}

#[test]
fn the_second_form_of_discovery_is_tried_where_the_first_is_not_found() {
    let mut rig = Rig::new(discovered());
    rig.tick();
    rig.answer(404, &[], "");
    let fetch = rig.answer(200, &[], DOCUMENT);
    assert_eq!(fetch.address.as_str(), "https://idp/.well-known/oauth-authorization-server");
    rig.answer(200, &[], &set(&[("a", 1)]));
    assert_eq!(rig.kids(), ["a"]);
}

#[test]
fn a_discovery_document_of_another_issuer_leads_nowhere() {
    let mut rig = Rig::new(discovered());
    rig.tick();
    rig.answer(200, &[], &DOCUMENT.replace("https://idp\"", "https://idp/\""));
    assert_eq!(rig.count(|e| matches!(e, Effect::SourceFailed { failure: Failure::Discovery(_), .. })), 1);
    assert_eq!(rig.fetch().unwrap().source, 1);
}

#[test]
fn an_address_that_fails_is_looked_up_again() {
    let mut rig = Rig::new(discovered());
    rig.tick();
    rig.answer(200, &[], DOCUMENT);
    rig.answer(200, &[], &set(&[("a", 1)]));
    rig.pass_to_fetch();
    assert_eq!(rig.fail().address.as_str(), "https://keys.idp/jwks");
    rig.fail();
    rig.pass_to_fetch();
    let fetch = rig.answer(200, &[], &DOCUMENT.replace("keys.idp", "new.idp"));
    assert_eq!(fetch.address.as_str(), "https://idp/.well-known/openid-configuration");
    rig.pass_to_fetch();
    assert_eq!(rig.fetch().unwrap().address.as_str(), "https://new.idp/jwks");
}
