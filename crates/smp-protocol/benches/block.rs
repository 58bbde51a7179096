//! The costs of a block: encryption, reading, and the authorization of a command in it.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use smp_protocol::{
    AuthKeyKind, AuthPrivateKey, Authorization, BLOCK_SIZE, BlockCipher, BlockWriter, BoxKey,
    CorrId, DhPrivateKey, DhSecret, EntityId, MAX_TRANSMISSION, MessageFlags, MessageId,
    ReceivedMessage, SessionId, SessionKey, SessionParams, SmpVersion, Unsigned, authorize,
    transmissions, verify, verify_dummy,
};

const CORR_ID: CorrId = CorrId([6; 24]);

/// As long as a `SEND` between agents, and as short as most commands.
const COMMANDS: [(&str, usize); 2] = [("SEND", 16_050), ("SUB", 3)];

fn boxes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("box");
    group.throughput(Throughput::Bytes(BLOCK_SIZE as u64));
    let (key, nonce) = (BoxKey::from_bytes(&[1; 32]), [2; 24]);
    group.bench_function("seal a block in place", |bencher| {
        let mut block = [3; BLOCK_SIZE];
        bencher.iter(|| key.seal_in_place(&nonce, black_box(&mut block)));
    });
    let mut sealed = [3; BLOCK_SIZE];
    key.seal_in_place(&nonce, &mut sealed);
    group.bench_function("open a block in place", |bencher| {
        bencher.iter_batched_ref(
            || Box::new(sealed),
            |block| {
                key.open_in_place(&nonce, &mut block[..])
                    .map(|plain| plain.len())
            },
            BatchSize::SmallInput,
        );
    });
    group.bench_function("seal a message for its recipient", |bencher| {
        let (body, flags) = (vec![4; 16_000], MessageFlags { notification: true });
        let message = ReceivedMessage::Message {
            timestamp: 1,
            flags,
            body: &body,
        };
        bencher.iter(|| message.seal_for_recipient(&key, &MessageId([5; 24])));
    });
    group.finish();
}

fn blocks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("block");
    group.throughput(Throughput::Bytes(BLOCK_SIZE as u64));
    let (id, secret) = (session().session_id, DhSecret::from_bytes(&[2; 32]));
    let transmission = [7; MAX_TRANSMISSION];
    group.bench_function("write and encrypt", |bencher| {
        let mut cipher = BlockCipher::server(&id, &secret);
        bencher.iter(|| {
            let mut writer = BlockWriter::new();
            assert!(writer.try_push(black_box(&transmission)));
            writer.finish(Some(&mut cipher.sealer))
        });
    });
    group.bench_function("write without encryption", |bencher| {
        bencher.iter(|| {
            let mut writer = BlockWriter::new();
            assert!(writer.try_push(black_box(&transmission)));
            writer.finish(None)
        });
    });
    group.bench_function("decrypt and read", |bencher| {
        let mut sealer = BlockCipher::server(&id, &secret).sealer;
        let mut opener = BlockCipher::client(&id, &secret).opener;
        let content = [&[1, 0x3f, 0xeb][..], &transmission].concat();
        bencher.iter_batched_ref(
            || sealer.seal(&content).ok(),
            |block| {
                let block = block.as_mut()?;
                let content = opener.open(block).ok()?;
                transmissions(content).ok().map(Iterator::count)
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

fn authorizations(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("verify");
    let (params, server) = (session(), DhPrivateKey::from_bytes(&[8; 32]));
    for (name, length) in COMMANDS {
        let unsigned = command(&params, length);
        let signed = unsigned.signed_bytes(&params);
        for kind in [AuthKeyKind::Ed25519, AuthKeyKind::X25519] {
            let key = AuthPrivateKey::from_bytes(kind, &[9; 32]);
            let made = authorize(&key, Some(&server.public()), &CORR_ID, &signed);
            let made = made.unwrap_or(Authorization::None);
            let (public, private) = (key.public(), SessionKey::Private(&server));
            assert!(verify(&public, private, &made, &CORR_ID, &signed));
            group.bench_function(format!("{name}, {kind:?}"), |bencher| {
                bencher.iter(|| verify(&public, private, black_box(&made), &CORR_ID, &signed));
            });
            group.bench_function(format!("{name}, {kind:?}, no such queue"), |bencher| {
                bencher.iter(|| verify_dummy(private, black_box(&made), &CORR_ID, &signed));
            });
            if let Some(agreed) = private.agree(&public) {
                let agreed = SessionKey::Agreed(&agreed);
                group.bench_function(format!("{name}, {kind:?}, secret kept"), |bencher| {
                    bencher.iter(|| verify(&public, agreed, black_box(&made), &CORR_ID, &signed));
                });
            }
        }
    }
    group.finish();
}

fn session() -> SessionParams {
    let id = SessionId::from(EntityId::from([1; 24]));
    SessionParams::new(SmpVersion::NAMES, id)
}

fn command(params: &SessionParams, length: usize) -> Unsigned {
    let entity = EntityId::from([5; 24]);
    let made = Unsigned::new(params, Some(&CORR_ID), &entity, |out| {
        out.resize(out.len() + length, 7);
        Ok::<(), std::convert::Infallible>(())
    });
    match made {
        Ok(unsigned) => unsigned,
        Err(never) => match never {},
    }
}

criterion_group!(benches, boxes, blocks, authorizations);
criterion_main!(benches);
