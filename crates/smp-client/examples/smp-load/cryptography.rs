//! What the cryptography of one message costs a relay on this machine, and nothing else.
//!
//! A message is five blocks: SEND and ACK come in, the answers to both and MSG go out. Each is a
//! TLS record and, inside it, an encrypted block. Both commands have authenticators whose keys were
//! agreed before, and the message is encrypted for its recipient.

use std::time::Instant;

use openssl::symm::{Cipher, decrypt_aead, encrypt_aead};
use smp_protocol::{
    Authorization, BLOCK_SIZE, BlockCipher, BlockWriter, BoxKey, CorrId, DhSecret, EntityId,
    MessageFlags, MessageId, ReceivedMessage, SessionId, SessionParams, SmpVersion, Unsigned,
};

const ROUNDS: u32 = 500;

/// Blocks of a message that come in and that go out.
const BLOCKS_IN: usize = 2;
const BLOCKS_OUT: usize = 3;

pub(crate) fn microseconds_per_message(size: usize) -> anyhow::Result<f64> {
    // The best of several: whatever else runs can only add.
    let mut best = f64::INFINITY;
    for _ in 0..5 {
        let sum = tls()? + blocks()? + authenticators(size)? + delivery(size)?;
        best = best.min(sum);
    }
    Ok(best)
}

fn time<T>(mut work: impl FnMut() -> anyhow::Result<T>) -> anyhow::Result<f64> {
    let start = Instant::now();
    for _ in 0..ROUNDS {
        std::hint::black_box(work()?);
    }
    Ok(start.elapsed().as_secs_f64() * 1e6 / f64::from(ROUNDS))
}

/// TLS_CHACHA20_POLY1305_SHA256.
fn tls() -> anyhow::Result<f64> {
    let (cipher, key, nonce) = (Cipher::chacha20_poly1305(), [1; 32], [2; 12]);
    let plain = vec![3; BLOCK_SIZE];
    let mut tag = [0; 16];
    let sealed = encrypt_aead(cipher, &key, Some(&nonce), &[], &plain, &mut tag)?;
    let out = time(|| {
        Ok(encrypt_aead(
            cipher,
            &key,
            Some(&nonce),
            &[],
            &plain,
            &mut [0; 16],
        )?)
    })?;
    let within = time(|| {
        Ok(decrypt_aead(
            cipher,
            &key,
            Some(&nonce),
            &[],
            &sealed,
            &tag,
        )?)
    })?;
    Ok(out * BLOCKS_OUT as f64 + within * BLOCKS_IN as f64)
}

/// Blocks inside TLS, from version 11 on.
fn blocks() -> anyhow::Result<f64> {
    let secret = DhSecret::from_bytes(&[4; 32]);
    let session = SessionId::new(&[5; 32])?;
    let mut client = BlockCipher::client(&session, &secret);
    let mut server = BlockCipher::server(&session, &secret);
    let mut sealed = Vec::new();
    let out = time(|| {
        sealed.push(BlockWriter::new().finish(Some(&mut client.sealer)));
        Ok(())
    })?;
    let mut sealed = sealed.into_iter();
    let within = time(|| {
        if let Some(mut block) = sealed.next() {
            server.opener.open(&mut block)?;
        }
        Ok(())
    })?;
    Ok(out * BLOCKS_OUT as f64 + within * BLOCKS_IN as f64)
}

/// SEND's and ACK's.
fn authenticators(size: usize) -> anyhow::Result<f64> {
    let params = SessionParams::new(SmpVersion::NAMES, SessionId::new(&[5; 32])?);
    let (key, corr_id) = (BoxKey::from_bytes(&[6; 32]), CorrId([7; 24]));
    let entity = EntityId::from([8; 24]);
    let mut sum = 0.0;
    for length in [size + "SEND F ".len(), "ACK ".len() + 25] {
        let command = vec![9; length];
        let unsigned = Unsigned::new(&params, Some(&corr_id), &entity, |out| {
            out.extend_from_slice(&command);
            anyhow::Ok(())
        })?;
        let signed = unsigned.signed_bytes(&params);
        sum += time(|| Ok(Authorization::authenticate(&key, &corr_id, &signed)))?;
    }
    Ok(sum)
}

/// The message on its way to its recipient.
fn delivery(size: usize) -> anyhow::Result<f64> {
    let (key, id, body) = (
        BoxKey::from_bytes(&[6; 32]),
        MessageId([7; 24]),
        vec![8; size],
    );
    let flags = MessageFlags::default();
    let message = ReceivedMessage::Message {
        timestamp: 0,
        flags,
        body: &body,
    };
    time(|| Ok(message.seal_for_recipient(&key, &id)?))
}
