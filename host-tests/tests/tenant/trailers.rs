//! Trailers reach the upstream as well: what only the gateway may say does not come by them.

use anyhow::{Context as _, Result};
use portcullis_host::{Outcome, Piece};
use portcullis_host_tests::tenant::Hosted;

use crate::{FIXED, MODULES, corpus, ordinary};

const TRAILERS: [(&str, &str); 6] = [
    ("x-checksum", "1"),
    ("x-tenant-id", "globex"),
    ("x_tenant_user", "root"),
    ("x-tenant-roles-bin", "cm9vdA"),
    ("x-forwarded-host", "globex.app.example.com"),
    ("x-note", "caf\u{e9}"),
];

#[test]
fn trailers_lose_what_only_the_gateway_may_say() -> Result<()> {
    for (world, cases) in corpus(FIXED)? {
        let mut hosted = Hosted::load(&world, MODULES, FIXED)?;
        let (headers, trailers) = hosted.outcome(&ordinary(&cases), &TRAILERS);
        assert!(headers.is_forward(), "{}: {headers:?}", world.file);
        let Some(Outcome::Forward(pieces)) = trailers else { panic!("{}: {trailers:?}", world.file) };
        let trailers = pieces.iter().find_map(|piece| match piece {
            Piece::Trailers(trailers) => Some(trailers),
            _ => None,
        });
        let names: Vec<_> = trailers.context("no trailers")?.iter().map(|(name, _)| name.to_vec()).collect();
        assert_eq!(names, [b"x-checksum".to_vec(), b"x-note".to_vec()], "{}", world.file);
    }
    Ok(())
}

#[test]
fn the_trailers_of_a_refused_request_go_nowhere() -> Result<()> {
    for (world, cases) in corpus(FIXED)? {
        let mut hosted = Hosted::load(&world, MODULES, FIXED)?;
        let mut anonymous = ordinary(&cases);
        anonymous.token = None;
        let (headers, trailers) = hosted.outcome(&anonymous, &TRAILERS);
        assert!(headers.reply().is_some(), "{}: {headers:?}", world.file);
        assert!(!trailers.is_some_and(|trailers| trailers.is_forward()), "{}", world.file);
    }
    Ok(())
}
