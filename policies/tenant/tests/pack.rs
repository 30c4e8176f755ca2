//! The packed directory: that it says what the list says, costs the same for every name, changes
//! little where little changes, and survives any bytes.

use std::{
    borrow::Cow,
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
};

use portcullis_tenant::{
    Directory, Domain, Freshness, Listed, Member, Membership, Record, Slug, State, TenantId, Unreadable,
    directory::pack::{
        self, InMemory, Manifest, Options, Pack, PackError, PackedDirectory, Pages, Part, Seed,
    },
};
use sha2::{Digest as _, Sha256};

const SEED: Seed = Seed(*b"0123456789abcdef");

/// A sequence that is the same in each run (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}

fn record(number: usize) -> Record {
    let domains = if number.is_multiple_of(3) { vec![format!("shop{number}.example")] } else { Vec::new() };
    let members = (0..number % 4).map(|n| Membership {
        issuer: "main".into(),
        subject: format!("user-{number}-{n}"),
        roles: vec![["owner", "reader", "billing"][n].into()],
    });
    Record {
        id: TenantId::new(format!("org_{number:08}")).unwrap(),
        slugs: vec![
            Slug::new(format!("tenant-{number}")).unwrap(),
            Slug::new(format!("old-{number}")).unwrap(),
        ],
        domains: domains.into_iter().map(|name| Domain::new(name).unwrap()).collect(),
        state: State::ALL[number % 5],
        plan: (!number.is_multiple_of(7)).then(|| ["free", "team", "enterprise"][number % 3].into()),
        region: Some(["eu", "us"][number % 2].into()),
        fields: BTreeMap::from([("name".into(), format!("Tenant № {number}"))]),
        issuers: vec!["main".into()],
        members: members.collect(),
    }
}

fn list(records: Vec<Record>) -> Listed {
    Listed::new("tenants", records, &BTreeSet::new()).unwrap()
}

fn packed(count: usize) -> (Listed, Pack) {
    let listed = list((0..count).map(record).collect());
    let pack = pack::pack(&listed, Options { version: 1, seed: SEED }, None).unwrap();
    (listed, pack)
}

fn agree(listed: &Listed, packed: &impl Directory, number: usize) {
    let (id, slug) = (format!("org_{number:08}"), format!("old-{number}"));
    assert_eq!(packed.by_id(&id), listed.by_id(&id), "{id}");
    assert_eq!(packed.by_slug(&slug), listed.by_slug(&slug), "{slug}");
    assert_eq!(packed.by_id(&slug), listed.by_id(&slug));
    assert_eq!(packed.by_slug(&id), listed.by_slug(&id));
    let domain = format!("shop{number}.example");
    assert_eq!(packed.by_domain(&domain), listed.by_domain(&domain), "{domain}");
    for (issuer, subject) in [
        ("main", format!("user-{number}-1")),
        ("other", format!("user-{number}-1")),
        ("main", "user-1-0".into()),
    ] {
        let member = Member { issuer, subject: &subject };
        assert_eq!(packed.roles(&id, member), listed.roles(&id, member), "{id} {issuer} {subject}");
    }
}

#[test]
fn it_says_what_the_list_says() {
    for count in [0, 1, 10, 5_000] {
        let (listed, pack) = packed(count);
        let memory = InMemory::new(pack).unwrap();
        let names: u64 = (0..count).map(|number| if number.is_multiple_of(3) { 3 } else { 2 }).sum();
        let members: u64 = (0..count).map(|number| number as u64 % 4).sum();
        assert_eq!(memory.verify(), Ok(pack::Summary { tenants: count as u64, names, members }));
        for number in (0..count).chain([count, count + 1, 9_999_999]) {
            agree(&listed, &memory.directory(), number);
        }
        let nobody = memory.directory();
        for name in ["", "a", "\0", "tenant-1\0", &"x".repeat(100_000)] {
            assert_eq!(nobody.by_id(name), Ok(None));
            assert_eq!(nobody.by_slug(name), Ok(None));
            assert_eq!(nobody.by_domain(name), Ok(None));
            let member = Member { issuer: name, subject: name };
            assert_eq!(nobody.roles("org_00000001", member), Ok(None));
        }
    }
}

/// Pages that count how often they are read.
struct Counted<'m>(PackedDirectory<'m, &'m InMemory>, Cell<usize>);

impl Pages for &Counted<'_> {
    fn page(&self, number: u32) -> Result<Cow<'_, [u8]>, Unreadable> {
        self.1.set(self.1.get() + 1);
        self.0.pages.page(number)
    }
}

#[test]
fn a_name_that_is_there_costs_as_many_pages_as_one_that_is_not() {
    let (_, pack) = packed(5_000);
    let memory = InMemory::new(pack).unwrap();
    let counted = Counted(memory.directory(), Cell::new(0));
    let directory =
        PackedDirectory { manifest: counted.0.manifest, pages: &counted, freshness: Freshness::Current };
    let cost = |look: &dyn Fn()| {
        counted.1.set(0);
        look();
        counted.1.get()
    };
    for (id, slug, domain) in
        [("org_00000003", "tenant-3", "shop3.example"), ("org_x", "nobody", "no.example"), ("", "", "")]
    {
        assert_eq!(cost(&|| drop(directory.by_id(id))), 2, "{id}");
        assert_eq!(cost(&|| drop(directory.by_slug(slug))), 2, "{slug}");
        assert_eq!(cost(&|| drop(directory.by_domain(domain))), 2, "{domain}");
    }
}

#[test]
fn one_changed_tenant_changes_few_parts() {
    let (_, before) = packed(40_000);
    let parts = before.parts.len();
    assert!(parts >= 16, "{parts}");
    let changed = |before: &Pack, after: &Pack| {
        before.parts.iter().zip(&after.parts).filter(|(before, after)| before != after).count()
    };
    let again = |records: Vec<Record>| {
        let options = Options { version: 2, seed: Seed([7; 16]) };
        pack::pack(&list(records), options, Some(&before.manifest)).unwrap()
    };
    let mut records: Vec<Record> = (0..40_000).map(record).collect();
    assert_eq!(changed(&before, &again(records.clone())), 0);
    records[17].state = State::Suspended;
    records[17].plan = Some("a plan that nobody had".into());
    assert_eq!(changed(&before, &again(records.clone())), 1);
    // One id and two slugs.
    records.push(record(40_000));
    let after = again(records);
    assert_eq!(after.parts.len(), parts);
    assert!((1..=4).contains(&changed(&before, &after)));
    let memory = InMemory::new(after).unwrap();
    let directory = memory.directory();
    let found = directory.by_slug("tenant-40000").unwrap().unwrap();
    assert_eq!((&*found.id, found.slug.as_deref()), ("org_00040000", Some("tenant-40000")));
    let suspended = directory.by_id("org_00000017").unwrap().unwrap();
    assert_eq!((suspended.state, suspended.plan), (State::Suspended, Some("a plan that nobody had")));
}

#[test]
fn a_tenant_takes_less_than_two_hundred_bytes() {
    let (_, pack) = packed(40_000);
    let bytes: usize = pack.parts.iter().map(Vec::len).sum();
    // Two slugs, a third of a domain, one and a half members.
    assert!(bytes / 40_000 < 200, "{}", bytes / 40_000);
    assert!(pack.manifest.write().len() < 8 * 1024);
}

#[test]
fn what_the_form_has_no_room_for_is_refused_by_name() {
    let pack = |change: &dyn Fn(&mut Record)| {
        let mut record = record(3);
        change(&mut record);
        pack::pack(&list(vec![record]), Options { version: 1, seed: SEED }, None)
    };
    let slugs = |count: usize| (0..count).map(|n| Slug::new(format!("s{n}")).unwrap()).collect::<Vec<_>>();
    for (change, reason) in [
        (&|record: &mut Record| record.slugs = slugs(65) as _, "65 slugs; 64 is the most"),
        (
            &|record: &mut Record| drop(record.fields.insert("x".into(), "v".repeat(1025))),
            "the field `x` is longer than 1024 bytes",
        ),
        (
            &|record: &mut Record| record.plan = Some(String::new()),
            "`` is empty, longer than 128 bytes or has a NUL",
        ),
        (
            &|record: &mut Record| record.plan = Some("a\0b".into()),
            "`a\\0b` is empty, longer than 128 bytes or has a NUL",
        ),
        (
            &|record: &mut Record| record.members[0].subject = "s".repeat(256),
            "a member's subject is empty or longer than 255 bytes",
        ),
        (
            &|record: &mut Record| {
                record.fields = (0..20).map(|n| (format!("f{n}"), "v".repeat(1000))).collect();
            },
            "its names and fields take 20134 bytes; 16384 is the most",
        ),
    ] as [(&dyn Fn(&mut Record), &str); 6]
    {
        let refused = pack(change).unwrap_err();
        assert_eq!(refused, PackError::Tenant { id: "org_00000003".into(), reason: reason.into() });
    }
    let records =
        (0..5000).map(|number| Record { plan: Some(format!("p{number}")), ..record(number) }).collect();
    let refused = pack::pack(&list(records), Options { version: 1, seed: SEED }, None);
    assert_eq!(refused, Err(PackError::TooManyWords));
}

#[test]
fn a_manifest_is_read_as_it_was_written_and_nothing_else_is() {
    let (_, pack) = packed(40_000);
    let text = pack.manifest.write();
    assert_eq!(Manifest::read(text.as_bytes()).as_ref(), Ok(&pack.manifest));
    let read = |text: &str| Manifest::read(text.as_bytes()).map(|_| ()).unwrap_err().to_string();
    for (from, to, error) in [
        (
            "portcullis-tenants/1",
            "portcullis-tenants/2",
            "`format`: this reader knows `portcullis-tenants/1` only",
        ),
        ("\"seed\": \"30", "\"seed\": \"3g", "`seed`: not 32 hexadecimal digits"),
        ("\"sha256\": \"", "\"sha256\": \"F", "`parts[0].sha256`: not 64 lower-case hexadecimal digits"),
        (
            "\"words\": [",
            "\"words\": [\"\", ",
            "`words`: more than 4096, or one that is empty, longer than 128 bytes or has a NUL",
        ),
        ("\"page_bits\": 1", "\"page_bits\": 99", "`page_bits`: not a number from 0 to 18"),
        ("\"page_bits\": 1", "\"page_bits\": 0, \"x\": 1", "`x`: unknown field"),
    ] {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text, "{from}");
        let found = read(&changed);
        assert!(found.starts_with(error), "{found}");
    }
    let one_less = text.replacen(&text[text.find("    {").unwrap()..=text.find(",\n    {").unwrap()], "", 1);
    assert_eq!(
        read(&one_less),
        "`parts`: their number is not a power of two up to 1024 and the number of pages"
    );
    assert_eq!(read(&" ".repeat(pack::MAX_MANIFEST + 1)), "`.`: longer than 524288 bytes");
}

#[test]
fn a_part_that_is_not_the_named_one_is_refused() {
    let (_, pack) = packed(300);
    let part = &pack.parts[0];
    assert!(Part::check(part, &pack.manifest, 0).is_ok());
    assert!(Part::check(part, &pack.manifest, pack.parts.len()).is_err());
    for length in 0..part.len() {
        assert!(Part::check(&part[..length], &pack.manifest, 0).is_err(), "{length}");
    }
    for at in 0..part.len() {
        let mut part = part.clone();
        part[at] ^= 1;
        assert!(Part::check(&part, &pack.manifest, 0).is_err(), "{at}");
    }
}

/// The manifest that names `part` as its only one.
fn naming(manifest: &Manifest, part: &[u8]) -> Manifest {
    let old = manifest.parts()[0];
    let sha256: String = Sha256::digest(part).iter().map(|byte| format!("{byte:02x}")).collect();
    let text = manifest.write().replace(&old.hex(), &sha256);
    let text = text.replace(&format!("\"bytes\": {}", old.bytes), &format!("\"bytes\": {}", part.len()));
    Manifest::read(text.as_bytes()).unwrap()
}

#[test]
fn a_part_of_any_bytes_makes_no_tenant_of_another_name_and_never_panics() {
    let rounds: usize = std::env::var("PORTCULLIS_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(5_000);
    let (listed, pack) = packed(40);
    assert_eq!(pack.parts.len(), 1, "one part, so that the whole of it is mutated");
    let (mut random, mut taken) = (Random(11), 0);
    for round in 0..rounds {
        let mut part = pack.parts[0].clone();
        for _ in 0..=random.below(3) {
            let at = random.below(part.len());
            match random.below(5) {
                0 => part[at] = random.next() as u8,
                1 => part[at] = [0, 0xff, 0x7f, 1][random.below(4)],
                2 => part[at] ^= 1 << random.below(8),
                3 => part.truncate(at.max(1)),
                _ => {
                    let more: Vec<u8> = (0..random.below(40)).map(|_| random.next() as u8).collect();
                    part.splice(at..at, more);
                }
            }
        }
        let manifest = naming(&pack.manifest, &part);
        if Part::check(&part, &manifest, 0).is_err() {
            continue;
        }
        taken += 1;
        let memory = InMemory::new(Pack { manifest, parts: vec![part] }).unwrap();
        let directory = memory.directory();
        for number in 0..42 {
            // What is found under a name has the name, whatever else was changed about it.
            let (id, slug) = (format!("org_{number:08}"), format!("old-{number}"));
            if let Ok(Some(found)) = directory.by_id(&id) {
                assert_eq!(found.id, id, "round {round}");
            }
            if let Ok(Some(found)) = directory.by_slug(&slug) {
                assert_eq!(
                    Some(found.id.into_owned()),
                    listed.by_slug(&slug).unwrap().map(|own| own.id.into_owned()),
                    "round {round}"
                );
            }
        }
    }
    assert!(taken > 0, "no mutation was taken: the look-ups were not tried");
}

#[test]
fn a_manifest_of_any_bytes_never_panics() {
    let (_, pack) = packed(40);
    let text = pack.manifest.write().into_bytes();
    let mut random = Random(5);
    for length in 0..text.len() {
        let _ = Manifest::read(&text[..length]);
    }
    for _ in 0..20_000 {
        let mut text = text.clone();
        for _ in 0..=random.below(3) {
            let at = random.below(text.len());
            text[at] = [random.next() as u8, b'9', b'0', b'"', b'f'][random.below(5)];
        }
        if let Ok(manifest) = Manifest::read(&text) {
            let _ = Part::check(&pack.parts[0], &manifest, 0);
            let memory = PackedDirectory {
                manifest: &manifest,
                pages: Any(&pack.parts[0]),
                freshness: Freshness::Current,
            };
            let _ = memory.by_slug("tenant-1");
            let _ = memory.roles("org_00000001", Member { issuer: "main", subject: "user-1-0" });
        }
    }
}

/// Pages that are anything.
struct Any<'b>(&'b [u8]);

impl Pages for Any<'_> {
    fn page(&self, number: u32) -> Result<Cow<'_, [u8]>, Unreadable> {
        let start = (number as usize).min(self.0.len());
        Ok(Cow::Borrowed(&self.0[start..]))
    }
}

#[test]
fn words_of_the_previous_edition_that_leave_no_room_are_left_behind() {
    let records: Vec<Record> =
        (0..4080).map(|number| Record { plan: Some(format!("p{number}")), ..record(number) }).collect();
    let first = pack::pack(&list(records), Options { version: 1, seed: SEED }, None).unwrap();
    let others: Vec<Record> =
        (0..200).map(|number| Record { plan: Some(format!("q{number}")), ..record(number) }).collect();
    let options = Options { version: 2, seed: Seed([9; 16]) };
    let second = pack::pack(&list(others.clone()), options, Some(&first.manifest)).unwrap();
    assert_eq!(second, pack::pack(&list(others), options, None).unwrap());
}

/// The figures of the documentation; run with `PORTCULLIS_TENANTS=1000000` for all of them.
#[test]
fn many_tenants_are_packed_and_found() {
    let count = std::env::var("PORTCULLIS_TENANTS").ok().and_then(|n| n.parse().ok()).unwrap_or(20_000_usize);
    let (listed, pack) = packed(count);
    let bytes: usize = pack.parts.iter().map(Vec::len).sum();
    let pages: usize = pack.parts.iter().map(|part| u16::from_be_bytes([part[4], part[5]]) as usize).sum();
    println!(
        "{count} tenants: {} parts, {pages} pages, {} bytes a tenant, manifest {} bytes, largest part {} bytes",
        pack.parts.len(),
        bytes / count,
        pack.manifest.write().len(),
        pack.parts.iter().map(Vec::len).max().unwrap(),
    );
    let memory = InMemory::new(pack).unwrap();
    for number in (0..count).step_by(997) {
        agree(&listed, &memory.directory(), number);
    }
}
