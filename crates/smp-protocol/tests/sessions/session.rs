//! A recorded session with what its parts have in common.

use serde_json::Value;
use sha2::{Digest, Sha256};
use smp_protocol::{
    BoxKey, DhPrivateKey, DhPublicKey, DhSecret, EntityId, MessageFlags, MessageId,
    ReceivedMessage, SessionId, SessionParams, SmpVersion,
};

use crate::golden::{self, Recorded, hex, list};

const FILES: [&str; 4] = [
    include_str!("../vectors/smp_v6_v10.json"),
    include_str!("../vectors/smp_v11_v18.json"),
    include_str!("../vectors/smp_v19.json"),
    include_str!("../vectors/smp_proxy.json"),
];

pub(crate) struct Session {
    /// As the file has it.
    pub(crate) value: Value,
    pub(crate) params: SessionParams,
    /// The relay's key from its hello.
    pub(crate) relay_key: Option<DhPublicKey>,
    pub(crate) blocks: Vec<RecordedBlock>,
    /// The keys of the queues that were created here: recipient's id, sender's id, secret.
    pub(crate) queues: Vec<(EntityId, EntityId, DhSecret)>,
}

pub(crate) struct RecordedBlock {
    /// As the file has it.
    pub(crate) value: Value,
    pub(crate) from_client: bool,
    pub(crate) transmissions: Vec<Recorded>,
}

/// All sessions, with all bytes of all transmissions.
pub(crate) fn sessions() -> Vec<Session> {
    let mut recorded = golden::transmissions().into_iter();
    let mut all = Vec::new();
    for file in FILES {
        let file: Value = serde_json::from_str(file).unwrap();
        for value in list(&file, "sessions") {
            all.push(read(value, &mut recorded));
        }
    }
    assert!(recorded.next().is_none());
    complete(&mut all);
    all
}

fn read(value: &Value, recorded: &mut impl Iterator<Item = Recorded>) -> Session {
    let version = SmpVersion(u16::try_from(value["smp_version"].as_u64().unwrap()).unwrap());
    let id = SessionId::new(&hex(&value["session_id"])).unwrap();
    let relay_key = &value["server_hello"]["decoded"]["server_dh_public"];
    let relay_key = relay_key.is_string().then(|| DhPublicKey(array(relay_key)));
    let mut blocks = Vec::new();
    for block in list(value, "blocks") {
        let mut transmissions = Vec::new();
        for transmission in list(block, "transmissions") {
            transmissions.push(recorded.next().unwrap());
            if transmission["decoded"].get("inner_transmission").is_some() {
                recorded.next().unwrap();
            }
        }
        let from_client = block["from"] == "client";
        blocks.push(RecordedBlock {
            value: block.clone(),
            from_client,
            transmissions,
        });
    }
    let queues = queues(&blocks);
    let params = SessionParams::new(version, id);
    Session {
        value: value.clone(),
        params,
        relay_key,
        blocks,
        queues,
    }
}

fn queues(blocks: &[RecordedBlock]) -> Vec<(EntityId, EntityId, DhSecret)> {
    let all = || blocks.iter().flat_map(|block| &block.transmissions);
    let answers = all().filter(|recorded| recorded.tag() == "IDS");
    let queue = |ids: &Recorded| {
        let same =
            |new: &&Recorded| new.tag() == "NEW" && new.value["corr_id"] == ids.value["corr_id"];
        let new = all().find(same).unwrap();
        let private =
            DhPrivateKey::from_bytes(&array(&new.decoded()["recipient_dh_key"]["private"]));
        let public = DhPublicKey::from_spki(&hex(&ids.decoded()["server_dh_spki"])).unwrap();
        let [recipient, sender] =
            ["rcv_id", "snd_id"].map(|key| EntityId::new(&hex(&ids.decoded()[key])).unwrap());
        (
            recipient,
            sender,
            DhSecret::agree(&private, &public).unwrap(),
        )
    };
    answers.map(queue).collect()
}

/// One message was recorded without its key: the key of its queue, the senders' bodies and the
/// seconds around it give it back.
fn complete(all: &mut [Session]) {
    let sent: Vec<(EntityId, Vec<u8>)> = all
        .iter()
        .flat_map(|session| &session.blocks)
        .flat_map(|block| &block.transmissions)
        .filter(|recorded| recorded.tag() == "SEND")
        .map(|recorded| {
            let entity = EntityId::new(&hex(&recorded.value["entity_id"])).unwrap();
            (entity, recorded.command.clone())
        })
        .collect();
    for session in all {
        let queues = session.queues.clone();
        let missing = session
            .blocks
            .iter_mut()
            .flat_map(|block| &mut block.transmissions);
        for recorded in missing.filter(|recorded| !recorded.whole) {
            let recipient = hex(&recorded.value["entity_id"]);
            let (_, sender, secret) = queues
                .iter()
                .find(|(id, ..)| id.as_bytes() == recipient)
                .unwrap();
            let bodies = sent
                .iter()
                .filter(|(entity, _)| entity == sender)
                .map(|(_, body)| body);
            let body = find_message(recorded, &BoxKey::from(secret), bodies);
            let start = recorded.bytes.len() - body.len();
            recorded.bytes.splice(start.., body.iter().copied());
            let start = recorded.command.len() - body.len();
            recorded.command.splice(start.., body);
            assert_eq!(
                Sha256::digest(&recorded.bytes)[..],
                hex(&recorded.value["bytes"]["sha256"])
            );
            recorded.whole = true;
        }
    }
}

fn find_message<'a>(
    recorded: &Recorded,
    key: &BoxKey,
    bodies: impl Iterator<Item = &'a Vec<u8>>,
) -> Vec<u8> {
    let id = MessageId(array(&recorded.decoded()["msg_id"]));
    let digest = hex(&recorded.decoded()["enc_body"]["sha256"]);
    for command in bodies {
        let flags = MessageFlags {
            notification: command[5] == b'T',
        };
        let body = &command[7..];
        // The other messages of this session are of these seconds.
        for timestamp in 1_795_464_190..1_795_464_240 {
            let message = ReceivedMessage::Message {
                timestamp,
                flags,
                body,
            };
            let sealed = message.seal_for_recipient(key, &id).unwrap();
            if Sha256::digest(&sealed)[..] == digest {
                return sealed;
            }
        }
    }
    panic!("no message has this digest")
}

pub(crate) fn array<const N: usize>(value: &Value) -> [u8; N] {
    hex(value).try_into().unwrap()
}
