//! Every block, with its encryption, in both directions.

use hkdf::Hkdf;
use serde_json::Value;
use sha2::{Digest, Sha256, Sha512};
use smp_protocol::{
    Block, BlockCipher, BlockError, BlockOpener, BlockSealer, BlockWriter, BoxKey, DhPrivateKey,
    DhSecret, empty_block, plain_content, transmissions,
};

use crate::golden::{base64, hex, number};
use crate::session::{RecordedBlock, Session, array, sessions};

/// Most blocks that were left out of a recording between two others.
const MAX_GAP: usize = 200;

#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    blocks: usize,
    whole: usize,
    transmissions: usize,
    encrypted: usize,
    from_client: usize,
    left_out: usize,
}

#[test]
fn every_block_is_made_again_and_taken_apart_again() {
    let mut counts = Counts::default();
    for session in sessions() {
        if session.params.block_encryption {
            check_encrypted(&session, &mut counts);
        } else {
            assert!(session.value["block_encryption"].is_null());
            for block in &session.blocks {
                let made = writer(block).finish(None);
                check_wire(block, &made, &mut counts);
                check_content(block, plain_content(&made).unwrap());
            }
        }
    }
    let expected = Counts {
        blocks: 571,
        whole: 2,
        transmissions: 581,
        encrypted: 400,
        from_client: 260,
        left_out: 508,
    };
    assert_eq!(counts, expected);
}

fn check_encrypted(session: &Session, counts: &mut Counts) {
    let recorded = &session.value["block_encryption"];
    let secret = DhSecret::from_bytes(&array(&recorded["dh_secret"]));
    let private = &session.value["client_hello"]["client_dh_private"];
    let private = DhPrivateKey::from_bytes(&array(private));
    let agreed = DhSecret::agree(&private, &session.relay_key.unwrap()).unwrap();
    assert_eq!(agreed.as_bytes(), secret.as_bytes());

    let id = &session.params.session_id;
    let client = BlockCipher::client(id, &secret);
    let server = BlockCipher::server(id, &secret);
    let mut directions = [
        Direction {
            sealer: server.sealer,
            opener: client.opener,
            chain: array(&recorded["first_32_bytes_server_to_client_chain_key"]),
        },
        Direction {
            sealer: client.sealer,
            opener: server.opener,
            chain: array(&recorded["next_32_bytes_client_to_server_chain_key"]),
        },
    ];
    for block in &session.blocks {
        let direction = &mut directions[usize::from(block.from_client)];
        counts.left_out += direction.catch_up(&array(&block.value["encryption"]["chain_key"]));
        direction.check_key(&block.value["encryption"]);
        let made = writer(block).finish(Some(&mut direction.sealer));
        check_wire(block, &made, counts);
        let mut made_to_open = made.clone();
        check_content(block, direction.opener.open(&mut made_to_open).unwrap());
        check_box(block, &made);
        counts.encrypted += 1;
    }
}

struct Direction {
    sealer: BlockSealer,
    opener: BlockOpener,
    /// The chain of the next block, by this test's own derivation.
    chain: [u8; 32],
}

impl Direction {
    /// Goes over the blocks that were not recorded.
    fn catch_up(&mut self, chain: &[u8; 32]) -> usize {
        for left_out in 0..MAX_GAP {
            if self.chain == *chain {
                return left_out;
            }
            self.step();
            let _ = self.sealer.seal(&[]).unwrap();
            assert_eq!(
                self.opener.open(&mut empty_block()),
                Err(BlockError::Forged)
            );
        }
        panic!("the chain does not come to the recorded one")
    }

    fn check_key(&mut self, recorded: &Value) {
        let (key, nonce) = self.step();
        assert_eq!(
            (key, nonce),
            (array(&recorded["key"]), array(&recorded["nonce"]))
        );
    }

    fn step(&mut self) -> ([u8; 32], [u8; 24]) {
        let mut out = [0; 88];
        Hkdf::<Sha512>::new(None, &self.chain)
            .expand(b"SimpleXSbChain", &mut out)
            .unwrap();
        self.chain = out[..32].try_into().unwrap();
        (
            out[32..64].try_into().unwrap(),
            out[64..].try_into().unwrap(),
        )
    }
}

fn writer(block: &RecordedBlock) -> BlockWriter {
    let (mut writer, mut other) = (BlockWriter::new(), BlockWriter::new());
    for recorded in &block.transmissions {
        assert!(writer.try_push(&recorded.bytes));
        let append = |out: &mut Vec<u8>| {
            out.extend_from_slice(&recorded.bytes);
            Ok::<(), ()>(())
        };
        assert_eq!(other.try_push_with(append), Ok(true));
    }
    assert_eq!(writer.count(), number(&block.value["count"]));
    assert_eq!(writer.clone().finish(None), other.finish(None));
    writer
}

fn check_wire(block: &RecordedBlock, made: &Block, counts: &mut Counts) {
    assert_eq!(Sha256::digest(made)[..], hex(&block.value["block_sha256"]));
    if let Some(whole) = block.value.get("block_b64") {
        assert_eq!(made[..], base64(whole));
        counts.whole += 1;
    }
    counts.blocks += 1;
    counts.transmissions += block.transmissions.len();
    counts.from_client += usize::from(block.from_client);
}

fn check_content(block: &RecordedBlock, content: &[u8]) {
    assert_eq!(content.len(), number(&block.value["plain_len"]));
    let all = transmissions(content).unwrap();
    assert!(
        all.eq(block
            .transmissions
            .iter()
            .map(|recorded| &recorded.bytes[..]))
    );
}

/// The recorded key alone opens the block, too.
fn check_box(block: &RecordedBlock, made: &Block) {
    let encryption = &block.value["encryption"];
    let key = BoxKey::from_bytes(&array(&encryption["key"]));
    let content = key.open_padded(&array(&encryption["nonce"]), made).unwrap();
    check_content(block, &content);
}
