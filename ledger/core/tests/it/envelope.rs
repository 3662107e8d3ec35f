//! The envelope: what is written is read back, and nothing else is one.

use crate::samples::{self, of};
use ledger_core::ids::*;
use ledger_core::record::{ActorKind, Columns, Given};
use ledger_core::{Actor, AnnexDigest, Record, Timestamp};
use proptest::prelude::*;

/// A record with anything in it that may stand there.
fn any_record() -> impl Strategy<Value = Record> {
    let micros = || -62_135_596_800_000_000..=253_402_300_799_999_999_i64;
    let n_samples = samples::all().len();
    let texts = ("[ -~é]{1,60}", "[A-Za-z]{1,60}");
    let rest = (any::<[u8; 16]>(), micros(), micros(), 0..16_u8, any::<Vec<u8>>());
    (0..n_samples, any::<u64>(), any::<u64>(), texts, rest).prop_map(
        |(
            sample,
            position,
            version,
            (actor, type_name),
            (id, occurred, recorded, flags, payload),
        )| {
            let id = EventId::from_bytes(id);
            let given = Given { digest: [flags; 8], events: 1 + u32::from(flags) };
            Record {
                position: Position(position),
                stream: samples::all().swap_remove(sample).1,
                version: Version(version),
                event_id: id,
                type_name,
                occurred_at: Timestamp::from_micros(occurred),
                recorded_at: Timestamp::from_micros(recorded),
                actor: Actor { kind: ActorKind::ALL[usize::from(flags) % 3], id: actor },
                correlation_id: (flags & 1 != 0).then_some(id),
                causation_id: (flags & 2 != 0).then_some(id),
                given: (flags & 4 != 0).then_some(given),
                payload,
                annex_digest: (flags & 8 != 0).then_some(AnnexDigest([flags; 32])),
                annex: None,
            }
        },
    )
}

proptest! {
    #[test]
    fn an_envelope_reads_back_and_every_changed_byte_is_another_record(
        record in any_record(), at in any::<prop::sample::Index>(), bit in 0..8_u8,
    ) {
        let envelope = record.envelope();
        let read = Record::from_envelope(&envelope, record.payload.clone());
        prop_assert_eq!(read.as_ref(), Ok(&record));
        let mut changed = envelope.clone();
        let at = at.index(changed.len());
        changed[at] ^= 1 << bit;
        if let Ok(other) = Record::from_envelope(&changed, record.payload.clone()) {
            prop_assert_ne!(&other, &record);
            prop_assert_eq!(other.envelope(), changed);
        }
    }

    #[test]
    fn no_bytes_make_reading_an_envelope_panic(mut bytes in any::<Vec<u8>>()) {
        bytes.splice(..0, *b"LDG1");
        if let Ok(columns) = Columns::parse(&bytes) {
            let mut again = Vec::new();
            columns.put_envelope(&mut again);
            prop_assert_eq!(again, bytes);
        }
    }

    #[test]
    fn an_envelope_that_was_cut_is_none(record in any_record(), at in any::<prop::sample::Index>()) {
        let envelope = record.envelope();
        let cut = &envelope[..at.index(envelope.len())];
        prop_assert!(Record::from_envelope(cut, record.payload.clone()).is_err());
        let long = [&*envelope, &[0]].concat();
        prop_assert!(Record::from_envelope(&long, record.payload).is_err());
    }
}

#[test]
fn a_payload_that_is_another_one_is_refused() {
    let columns = |record: &Record| Record::from_envelope(&record.envelope(), b"{ }".to_vec());
    let (_, stream, event) = samples::all().swap_remove(0);
    let record = Record {
        position: Position(1),
        stream,
        version: Version(1),
        event_id: of(&samples::id(1)),
        type_name: event.type_name().to_owned(),
        occurred_at: Timestamp::from_micros(0),
        recorded_at: Timestamp::from_micros(0),
        actor: Actor { kind: ActorKind::Node, id: "n".to_owned() },
        correlation_id: None,
        causation_id: None,
        given: None,
        payload: event.encode(),
        annex_digest: None,
        annex: None,
    };
    let refused = columns(&record).map_err(|error| error.to_string());
    assert_eq!(
        refused,
        Err("payload: it does not have the digest that the envelope names".to_owned())
    );
}
