//! Witnesses on stores in memory.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use wardroom_clock::ManualClock;
use wardroom_store::{Batch, Catalogue, Store};

use super::{Cosignature, Fault, Looked, Shown, Taken, witness_of};
use crate::{
    Act, AuditLog, AuditSettings, Checkpoint, KeyKind, Note, NoteKey, NoteSigner, Origin, Record, TABLES,
    checkpoint::origin_of, log::PERIOD_MS, tree::leaf_hash,
};

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;
const LOG: &str = "a.example";
const WITNESS: &str = "b.example";

struct Site {
    store: Store,
    clock: Arc<ManualClock>,
    audit: AuditLog,
}

impl Site {
    async fn new(name: &str) -> Self {
        Self::on(Store::in_memory(Catalogue::new(&[TABLES]).unwrap()), name).await
    }

    async fn on(store: Store, name: &str) -> Self {
        let clock = Arc::new(ManualClock::new(2_000 * PERIOD_MS));
        let audit = AuditLog::open(store.clone(), clock.clone(), AuditSettings::new(name)).await.unwrap();
        Self { store, clock, audit }
    }

    /// Adds records, and makes a checkpoint of them.
    async fn grow(&self, count: usize) {
        let mut batch = Batch::default();
        for _ in 0..count {
            self.audit.add(&mut batch, Record::by(Act::EventSend, Origin::default()).room("!r"));
        }
        self.store.commit(batch).await.unwrap();
        self.seal().await;
    }

    async fn seal(&self) {
        self.audit.catch_up().await.unwrap();
        self.clock.advance_ms(60_000);
        self.audit.inner().unwrap().checkpoint(false).await.unwrap();
    }

    async fn shown(&self, from: Option<u64>) -> Shown {
        self.audit.show(from).await.unwrap().unwrap()
    }

    async fn checkpoints(&self) -> usize {
        self.audit.checkpoints(None, 1_000).await.unwrap().len()
    }
}

/// A witness looks at a log and gives it what it cosigned.
async fn round(log: &Site, witness: &Site) -> Looked {
    let from = witness.audit.cosigned_of(LOG).await.unwrap();
    let looked = witness.audit.look_at(LOG, &log.shown(from).await, None).await.unwrap();
    if let Looked::Cosigned(said) = &looked {
        assert_eq!(log.audit.take_cosignature(WITNESS, said, None).await.unwrap(), Taken::Kept);
        witness.audit.delivered(LOG, said.size).await.unwrap();
    }
    looked
}

fn size(looked: &Looked) -> u64 {
    match looked {
        Looked::Cosigned(said) => said.size,
        other => panic!("{other:?}"),
    }
}

/// What a log that is no Wardroom's shows.
fn made_up(signer: &NoteSigner, size: u64, root: u8, proof: Vec<String>) -> Shown {
    let checkpoint = Checkpoint { origin: origin_of(LOG), size, root: leaf_hash(&[root]), previous: None };
    Shown { key: signer.key().to_string(), checkpoint: checkpoint.signed(signer).to_string(), proof }
}

#[tokio::test]
async fn what_continues_is_cosigned_and_anybody_can_check_it() {
    let (log, witness) = (Site::new(LOG).await, Site::new(WITNESS).await);
    log.grow(5).await;
    assert_eq!(size(&round(&log, &witness).await), 5);
    assert_eq!(round(&log, &witness).await, Looked::NothingNew);
    // One record tells the log of it.
    log.grow(1_300).await;
    let seen = size(&round(&log, &witness).await);
    assert!(seen > 1_305, "{seen}");
    let key = NoteKey::parse(&log.audit.witness_keys().await.unwrap()[0]).unwrap();
    assert_eq!((key.kind, &*key.name), (KeyKind::Witness, "b.example/wardroom/witness"));
    assert_eq!(key, witness.audit.witness_key().unwrap());
    assert_ne!(key.public(), witness.audit.key().unwrap().public(), "each key signs one kind of thing");
    let notes = log.audit.checkpoints(None, 100).await.unwrap();
    let cosigned: Vec<u64> =
        notes.iter().filter(|(_, note)| Note::parse(note).unwrap().names(&key)).map(|n| n.0).collect();
    assert_eq!(cosigned, [5, seen]);
    for (_, note) in notes.iter().filter(|(size, _)| cosigned.contains(size)) {
        let note = Note::parse(note).unwrap();
        assert!(key.check(&note).unwrap().is_some_and(|seconds| seconds > 1_000_000));
        assert!(log.audit.key().unwrap().check(&note).is_ok());
    }
    assert_eq!(log.audit.newest_checkpoint().await.unwrap().unwrap().1, notes.last().unwrap().1);
    assert_eq!(log.audit.cosigned_by(5).await.unwrap()[0].0, WITNESS);
    assert_eq!(witness.audit.watched().await.unwrap()[0].cosigned().unwrap().0, seen);
}

#[tokio::test]
async fn two_that_witness_each_other_come_to_rest() {
    let (a, b) = (Site::new(LOG).await, Site::new(WITNESS).await);
    a.grow(3).await;
    b.grow(3).await;
    let both = async || {
        round(&a, &b).await;
        let from = a.audit.cosigned_of(WITNESS).await.unwrap();
        if let Looked::Cosigned(said) = a.audit.look_at(WITNESS, &b.shown(from).await, None).await.unwrap() {
            b.audit.take_cosignature(LOG, &said, None).await.unwrap();
            a.audit.delivered(WITNESS, said.size).await.unwrap();
        }
        a.seal().await;
        b.seal().await;
    };
    for _ in 0..5 {
        both().await;
    }
    let before = (a.checkpoints().await, b.checkpoints().await);
    for _ in 0..400 {
        a.clock.advance_ms(DAY_MS / 4);
        b.clock.advance_ms(DAY_MS / 4);
        both().await;
    }
    assert_eq!((a.checkpoints().await, b.checkpoints().await), before);
    // What is recorded of it meanwhile is a record a day, and goes into the next checkpoint that something else causes.
    let size = a.audit.catch_up().await.unwrap();
    assert!(size < 3 + 2 * 101 + 10, "{size}");
    a.grow(1).await;
    assert_eq!(a.audit.newest_checkpoint().await.unwrap().unwrap().0, size + 1);
}

#[tokio::test]
async fn a_log_that_is_not_what_it_was_is_not_cosigned_and_both_checkpoints_are_kept() {
    let witness = Site::new(WITNESS).await;
    let signer = NoteSigner::new(origin_of(LOG), &[3; 32]);
    let look = async |shown: &Shown| witness.audit.look_at(LOG, shown, None).await.unwrap();
    let first = made_up(&signer, 7, 1, vec![]);
    let Looked::Cosigned(said) = look(&first).await else { panic!("the first is believed") };
    let root = STANDARD.encode(leaf_hash(&[9]));
    let fork = made_up(&signer, 7, 2, vec![]);
    assert_eq!(look(&fork).await, Looked::Faulty(Fault::Fork));
    let unproven = made_up(&signer, 8, 2, vec![root.clone(); 4]);
    assert_eq!(look(&unproven).await, Looked::Faulty(Fault::Fork));
    assert_eq!(look(&made_up(&signer, 6, 1, vec![])).await, Looked::Faulty(Fault::Rollback));
    let other = NoteSigner::new(origin_of(LOG), &[4; 32]);
    assert_eq!(look(&made_up(&other, 9, 1, vec![])).await, Looked::Faulty(Fault::KeyChanged));
    // The same again is no new evidence.
    assert_eq!(look(&fork).await, Looked::Faulty(Fault::Fork));
    let evidence = witness.audit.evidence().await.unwrap();
    assert_eq!(evidence.len(), 4);
    let shown = evidence.iter().find(|one| one.shown == fork.checkpoint).unwrap();
    let known = shown.known.as_ref().unwrap();
    let key = witness.audit.witness_key().unwrap();
    assert!(
        key.check(&Note::parse(known).unwrap()).is_ok() && signer.key().check(&Note::parse(known).unwrap()).is_ok()
    );
    let watched = witness.audit.watched().await.unwrap();
    assert_eq!((watched[0].cosigned().unwrap().0, watched[0].fault.unwrap().fault), (7, Fault::Fork));
    // The same as before is sound again, and was not delivered yet.
    assert_eq!(look(&first).await, Looked::Cosigned(said));
    // However often it lies, what is kept is bounded.
    for size in 10..60 {
        look(&made_up(&signer, size, 5, vec![])).await;
    }
    assert_eq!(witness.audit.evidence().await.unwrap().len(), 20);
    // An administrator may go on with what it is now.
    assert!(witness.audit.watch_anew(LOG, "restored from a backup").await.unwrap());
    assert!(!witness.audit.watch_anew("c.example", "never seen").await.unwrap());
    assert!(matches!(look(&made_up(&other, 2, 8, vec![])).await, Looked::Cosigned(_)));
    assert_eq!(witness.audit.evidence().await.unwrap().len(), 20);
}

#[tokio::test]
async fn nonsense_is_refused_and_leaves_nothing() {
    let witness = Site::new(WITNESS).await;
    let signer = NoteSigner::new(origin_of(LOG), &[3; 32]);
    let good = made_up(&signer, u64::MAX / 2, 1, vec![]);
    let wrong_name = NoteSigner::new(origin_of("c.example"), &[3; 32]);
    let witness_key = signer.key().for_kind(KeyKind::Witness).to_string();
    for shown in [
        Shown::default(),
        Shown { key: "x".repeat(1 << 20), ..good.clone() },
        Shown { checkpoint: format!("{}{}", good.checkpoint, "\u{2014} x AAAAAAAA\n".repeat(1_000)), ..good.clone() },
        Shown { key: wrong_name.key().to_string(), ..good.clone() },
        Shown { key: witness_key, ..good.clone() },
        Shown { checkpoint: good.checkpoint.replace("audit\n9", "audit\n8"), ..good.clone() },
        Shown { checkpoint: "a\n18446744073709551616\nAAAA\n\n\u{2014} a AAAAAAAA\n".to_owned(), ..good.clone() },
    ] {
        let looked = witness.audit.look_at(LOG, &shown, None).await.unwrap();
        assert!(matches!(looked, Looked::Unreadable(_)), "{looked:?}");
    }
    assert!(witness.audit.watched().await.unwrap().is_empty());
    assert!(matches!(witness.audit.look_at(LOG, &good, None).await.unwrap(), Looked::Cosigned(_)));
    let hash = STANDARD.encode([7; 32]);
    for (size, proof) in [
        (u64::MAX, vec![hash.clone(); 63]),
        (u64::MAX, vec![hash.clone(); 128]),
        (u64::MAX / 2 + 1, vec![hash.clone()]),
        (u64::MAX / 2 + 1, vec![]),
    ] {
        let looked = witness.audit.look_at(LOG, &made_up(&signer, size, 1, proof), None).await.unwrap();
        assert_eq!(looked, Looked::Faulty(Fault::Fork));
    }
    for proof in [vec![hash.clone(); 129], vec!["AAAA".to_owned()], vec!["no base64".to_owned()]] {
        let looked = witness.audit.look_at(LOG, &made_up(&signer, u64::MAX, 1, proof), None).await.unwrap();
        assert!(matches!(looked, Looked::Unreadable(_)), "{looked:?}");
    }
}

#[tokio::test]
async fn a_witness_that_died_gives_the_same_signature_again() {
    let (log, witness) = (Site::new(LOG).await, Site::new(WITNESS).await);
    log.grow(4).await;
    let said = witness.audit.look_at(LOG, &log.shown(None).await, None).await.unwrap();
    let again = Site::on(witness.store.clone(), WITNESS).await;
    again.clock.advance_ms(3_600_000);
    assert_eq!(again.audit.look_at(LOG, &log.shown(Some(4)).await, None).await.unwrap(), said);
    assert_eq!(round(&log, &again).await, said);
    assert_eq!(round(&log, &again).await, Looked::NothingNew);
    // After a while it says once more that nothing changed; a clock that went back makes no older signature.
    again.clock.set_ms(1_000_000_000_000);
    log.clock.advance_ms(1);
    let Looked::Cosigned(anew) = round(&log, &again).await else { panic!("it is cosigned anew") };
    let seconds = log.audit.cosigned_by(4).await.unwrap()[0].1;
    assert!(seconds >= 2_000 * PERIOD_MS / 1_000, "{seconds}");
    assert_eq!(anew.size, 4);
}

#[tokio::test]
async fn cosignatures_are_taken_from_who_made_them() {
    let (log, witness) = (Site::new(LOG).await, Site::new(WITNESS).await);
    log.grow(4).await;
    let Looked::Cosigned(said) = witness.audit.look_at(LOG, &log.shown(None).await, None).await.unwrap() else {
        panic!("the first is believed")
    };
    let take = async |server: &str, said: &Cosignature| log.audit.take_cosignature(server, said, None).await.unwrap();
    let other = NoteSigner::new(witness_of(WITNESS), &[8; 32]);
    let other_key = other.key().for_kind(KeyKind::Witness).to_string();
    let text = Note::parse(&log.shown(None).await.checkpoint).unwrap().text;
    for wrong in [
        Cosignature { size: 5, ..said.clone() },
        Cosignature { size: u64::MAX, ..said.clone() },
        Cosignature { key: log.audit.key().unwrap().to_string(), ..said.clone() },
        Cosignature { key: "k".repeat(100_000), ..said.clone() },
        Cosignature { cosignature: other.cosign(&text, 5), ..said.clone() },
        Cosignature { cosignature: other.cosign("other\n", 5), key: other_key.clone(), ..said.clone() },
        Cosignature { cosignature: format!("{}\n{}", said.cosignature, said.cosignature), ..said.clone() },
        Cosignature { cosignature: String::new(), ..said.clone() },
    ] {
        let taken = take(WITNESS, &wrong).await;
        assert!(matches!(taken, Taken::Refused(_)), "{taken:?}: {wrong:?}");
    }
    assert!(matches!(take("c.example", &said).await, Taken::Refused(_)), "the key of another server");
    assert_eq!(take(WITNESS, &said).await, Taken::Kept);
    assert_eq!(take(WITNESS, &said).await, Taken::Kept);
    let changed = Cosignature { cosignature: other.cosign(&text, 5), key: other_key.clone(), ..said.clone() };
    assert_eq!(take(WITNESS, &changed).await, Taken::KeyChanged);
    // Unless an administrator, or the configuration, says that it is right.
    let key = NoteKey::parse(&other_key).unwrap();
    assert_eq!(log.audit.take_cosignature(WITNESS, &changed, Some(&key)).await.unwrap(), Taken::Kept);
    assert_eq!(log.audit.witness_keys().await.unwrap(), [said.key.clone(), other_key]);
    assert!(log.audit.forget_witness_key(WITNESS, "moved").await.unwrap());
    assert_eq!(take(WITNESS, &said).await, Taken::Kept);
}

#[tokio::test]
async fn a_day_without_witnesses_is_noticed() {
    let (log, witness) = (Site::new(LOG).await, Site::new(WITNESS).await);
    log.grow(4).await;
    assert_eq!(log.audit.unwitnessed_ms(&[]).await.unwrap(), 0);
    log.audit.expect_witnesses(&[WITNESS]).await.unwrap();
    log.clock.advance_ms(DAY_MS);
    log.audit.expect_witnesses(&[WITNESS]).await.unwrap();
    assert_eq!(log.audit.unwitnessed_ms(&[WITNESS]).await.unwrap(), DAY_MS);
    round(&log, &witness).await;
    assert_eq!(log.audit.unwitnessed_ms(&[WITNESS, "c.example"]).await.unwrap(), 0);
    // Nothing new, but still there.
    witness.clock.advance_ms(DAY_MS / 2);
    log.clock.advance_ms(DAY_MS / 2);
    assert_eq!(size(&round(&log, &witness).await), 4);
    assert_eq!(log.audit.unwitnessed_ms(&[WITNESS]).await.unwrap(), 0);
}
