//! A raw client.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use rand::rngs::StdRng;
use smp_protocol::{
    AuthPrivateKey, Authorization, Block, BlockCipher, BlockWriter, BoxKey, Command, CorrId,
    DhPublicKey, EncodeError, EntityId, Fingerprint, Response, SIGNATURE_SIZE, SessionParams,
    SmpVersion, Transmission, Unsigned, authorize, plain_block, plain_content, transmissions,
};
use smp_transport::{BlockIo, BlockStream, ClientSession, ServiceSession};
use tokio::io::DuplexStream;
use tokio::time::{Instant, timeout};

use super::PATIENCE;
use super::queue::{Opened, Queue};

/// A client with its session.
pub(crate) struct Client {
    pub(crate) io: BlockStream<DuplexStream>,
    pub(crate) params: SessionParams,
    /// What the relay's authenticators are made with, from version 7 on.
    pub(crate) session_key: Option<DhPublicKey>,
    /// What a proxy shares with the relay.
    pub(crate) forward_key: Option<BoxKey>,
    /// What the relay calls this service, and what signs its commands.
    pub(crate) service: Option<ServiceSession>,
    pub(crate) rng: StdRng,
    fingerprint: Option<Fingerprint>,
    cipher: Option<BlockCipher>,
    /// Blocks that came while others were written.
    unread: VecDeque<Box<Block>>,
    received: VecDeque<Received>,
    places: usize,
    /// Blocks that came in.
    pub(crate) blocks: usize,
    /// The words of all commands and answers so far, behind `>` and `<`.
    pub(crate) transcript: Vec<String>,
}

/// What the relay sent.
#[derive(Clone)]
pub(crate) struct Received {
    pub(crate) corr_id: Option<CorrId>,
    pub(crate) entity: EntityId,
    pub(crate) response: Response,
    /// The response as it was sent.
    pub(crate) bytes: Vec<u8>,
    /// Its place among all that came.
    pub(crate) place: usize,
    /// When it was read.
    pub(crate) at: Instant,
}

impl Client {
    pub(super) fn new(
        io: BlockStream<DuplexStream>,
        session: ClientSession,
        fingerprint: Option<Fingerprint>,
        rng: StdRng,
    ) -> Self {
        let ClientSession {
            params,
            relay_key,
            cipher,
            service,
            ..
        } = session;
        Self {
            io,
            params,
            session_key: relay_key.as_ref().map(|key| key.key),
            forward_key: relay_key.map(|key| BoxKey::from(key.secret)),
            service,
            rng,
            fingerprint,
            cipher,
            unread: VecDeque::new(),
            received: VecDeque::new(),
            places: 0,
            blocks: 0,
            transcript: Vec::new(),
        }
    }

    pub(crate) fn version(&self) -> SmpVersion {
        self.params.version
    }

    pub(crate) fn corr_id(&mut self) -> CorrId {
        CorrId::generate(&mut self.rng)
    }

    /// Executes a command and returns what answers it.
    pub(crate) async fn run(
        &mut self,
        entity: impl Into<EntityId>,
        key: Option<&AuthPrivateKey>,
        command: Command,
    ) -> Response {
        let corr_id = self.corr_id();
        self.run_with(corr_id, &entity.into(), key, command).await
    }

    /// As [`Self::run`], with this correlation id.
    pub(crate) async fn run_with(
        &mut self,
        corr_id: CorrId,
        entity: &EntityId,
        key: Option<&AuthPrivateKey>,
        command: Command,
    ) -> Response {
        let bytes = self.transmission(&corr_id, entity, key, &command);
        self.send(&[bytes]).await;
        let received = self.received_for(&corr_id).await;
        assert_eq!(
            received.entity, *entity,
            "an answer is about what its command is about"
        );
        received.response
    }

    /// As [`Self::run`], with any bytes for a command.
    pub(crate) async fn run_bytes(
        &mut self,
        entity: impl Into<EntityId>,
        key: Option<&AuthPrivateKey>,
        command: &[u8],
    ) -> Response {
        let (corr_id, entity) = (self.corr_id(), entity.into());
        let bytes = self.transmission_of(&corr_id, &entity, key, command);
        self.send(&[bytes]).await;
        self.answer(&corr_id).await
    }

    /// Executes a command of a queue's recipient.
    pub(crate) async fn manage(&mut self, queue: &Queue, command: Command) -> Response {
        self.run(queue.recipient(), Some(&queue.key), command).await
    }

    /// Executes a command of a service on one queue, signed by the service as well.
    pub(crate) async fn run_as_service(
        &mut self,
        entity: impl Into<EntityId>,
        key: &AuthPrivateKey,
        command: Command,
    ) -> Response {
        let (corr_id, entity) = (self.corr_id(), entity.into());
        let bytes = self.service_transmission(&corr_id, &entity, key, &command);
        self.send(&[bytes]).await;
        self.answer(&corr_id).await
    }

    /// The bytes of a command's transmission.
    pub(crate) fn transmission(
        &mut self,
        corr_id: &CorrId,
        entity: &EntityId,
        key: Option<&AuthPrivateKey>,
        command: &Command,
    ) -> Vec<u8> {
        let mut bytes = Vec::new();
        command.encode(self.version(), &mut bytes).unwrap();
        self.transmission_of(corr_id, entity, key, &bytes)
    }

    /// As [`Self::transmission`], with any bytes for a command.
    pub(crate) fn transmission_of(
        &mut self,
        corr_id: &CorrId,
        entity: &EntityId,
        key: Option<&AuthPrivateKey>,
        command: &[u8],
    ) -> Vec<u8> {
        self.transcript.push(format!(">{}", word(command)));
        let unsigned = self.unsigned(corr_id, entity, command);
        let signed = unsigned.signed_bytes(&self.params);
        let authorization = match key {
            Some(key) => authorize(key, self.session_key.as_ref(), corr_id, &signed).unwrap(),
            None => Authorization::None,
        };
        self.authorized(corr_id, entity, &authorization, None, command)
    }

    /// The bytes of a transmission that the service signs as well.
    pub(crate) fn service_transmission(
        &self,
        corr_id: &CorrId,
        entity: &EntityId,
        key: &AuthPrivateKey,
        command: &Command,
    ) -> Vec<u8> {
        let mut bytes = Vec::new();
        command.encode(self.version(), &mut bytes).unwrap();
        let unsigned = self.unsigned(corr_id, entity, &bytes);
        let signed = unsigned.signed_bytes(&self.params);
        let service = self.service.as_ref().expect("this client is no service");
        let Ok(Authorization::Signature(signature)) =
            authorize(&service.key, None, corr_id, &signed)
        else {
            panic!("services sign");
        };
        let fingerprint = self.fingerprint.as_ref().unwrap();
        let signed = signed.with_service(fingerprint.as_bytes());
        let authorization = authorize(key, self.session_key.as_ref(), corr_id, &signed).unwrap();
        self.authorized(corr_id, entity, &authorization, Some(&signature), &bytes)
    }

    /// The bytes of a transmission with this authorization, right or wrong.
    pub(crate) fn authorized(
        &self,
        corr_id: &CorrId,
        entity: &EntityId,
        authorization: &Authorization,
        service_signature: Option<&[u8; SIGNATURE_SIZE]>,
        command: &[u8],
    ) -> Vec<u8> {
        let mut out = Vec::new();
        let unsigned = self.unsigned(corr_id, entity, command);
        unsigned.encode(&self.params, authorization, service_signature, &mut out);
        out
    }

    fn unsigned(&self, corr_id: &CorrId, entity: &EntityId, command: &[u8]) -> Unsigned {
        let write = |out: &mut Vec<u8>| {
            out.extend_from_slice(command);
            Ok::<_, EncodeError>(())
        };
        Unsigned::new(&self.params, Some(corr_id), entity, write).unwrap()
    }

    /// Sends transmissions in one block.
    pub(crate) async fn send(&mut self, transmissions: &[Vec<u8>]) {
        let block = self.block(transmissions);
        self.write(block).await;
    }

    /// A block with these transmissions, to be sent next.
    pub(crate) fn block(&mut self, transmissions: &[Vec<u8>]) -> Box<Block> {
        let mut writer = BlockWriter::new();
        for transmission in transmissions {
            assert!(writer.try_push(transmission));
        }
        let sealer = self.cipher.as_mut().map(|cipher| &mut cipher.sealer);
        writer.finish(sealer)
    }

    /// Sends content that need not be transmissions.
    pub(crate) async fn send_content(&mut self, content: &[u8]) {
        let block = match &mut self.cipher {
            Some(cipher) => cipher.sealer.seal(content).unwrap(),
            None => plain_block(content).unwrap(),
        };
        self.write(block).await;
    }

    /// What answers the command with this id; what else came is kept.
    pub(crate) async fn answer(&mut self, corr_id: &CorrId) -> Response {
        self.received_for(corr_id).await.response
    }

    /// As [`Self::answer`], with all that came with it.
    pub(crate) async fn received_for(&mut self, corr_id: &CorrId) -> Received {
        self.take(|received| received.corr_id == Some(*corr_id))
            .await
    }

    /// The next that answers no command.
    pub(crate) async fn event(&mut self) -> (EntityId, Response) {
        let received = self.take(|received| received.corr_id.is_none()).await;
        (received.entity, received.response)
    }

    /// As [`Self::event`], with all that came with it, if there is one within this time.
    pub(crate) async fn event_within(&mut self, limit: Duration) -> Option<Received> {
        let event = self.wait_for(|received| received.corr_id.is_none());
        timeout(limit, event).await.ok()
    }

    /// Forgets what was said of this queue before this place and answers no command.
    pub(crate) fn forget_events(&mut self, entity: &EntityId, before: usize) {
        self.received.retain(|received| {
            received.corr_id.is_some() || received.entity != *entity || received.place >= before
        });
    }

    /// Reads what comes for this long, and keeps it.
    pub(crate) async fn rest(&mut self, time: Duration) {
        let _ = timeout(time, self.wait_for(|_| false)).await;
    }

    /// The next that came, answer or not.
    pub(crate) async fn next(&mut self) -> Received {
        self.take(|_| true).await
    }

    /// The next that answers no command is a message of this queue.
    pub(crate) async fn message(&mut self, queue: &Queue) -> Opened {
        let (entity, response) = self.event().await;
        assert_eq!(entity, queue.recipient().into());
        queue.open(&response)
    }

    /// Acknowledges a message of a queue.
    pub(crate) async fn ack(&mut self, queue: &Queue, message: &Opened) -> Response {
        self.manage(queue, Command::Ack(message.id)).await
    }

    /// Whether nothing comes.
    pub(crate) async fn silent(&mut self) -> bool {
        timeout(PATIENCE, self.wait_for(|_| true)).await.is_err()
    }

    /// Whether the relay closed the connection.
    pub(crate) async fn closed(&mut self) -> bool {
        matches!(
            timeout(PATIENCE, self.io.read_block()).await,
            Ok(Ok(None) | Err(_))
        )
    }

    /// Writes a block, and reads meanwhile: a relay that writes does not read.
    async fn write(&mut self, block: Box<Block>) {
        self.io.queue(block);
        let written = poll_fn(|cx| {
            loop {
                if let Poll::Ready(written) = self.io.poll_flush_blocks(cx) {
                    return Poll::Ready(written);
                }
                match self.io.poll_read_block(cx) {
                    Poll::Ready(Ok(Some(block))) => self.unread.push_back(block),
                    Poll::Ready(_) => panic!("the relay closed the connection"),
                    Poll::Pending => return Poll::Pending,
                }
            }
        });
        written.await.unwrap();
    }

    async fn take(&mut self, wanted: impl Fn(&Received) -> bool) -> Received {
        timeout(PATIENCE, self.wait_for(wanted))
            .await
            .expect("no answer in time")
    }

    async fn wait_for(&mut self, wanted: impl Fn(&Received) -> bool) -> Received {
        loop {
            while let Some(block) = self.unread.pop_front() {
                self.read(block);
            }
            if let Some(at) = self.received.iter().position(&wanted) {
                return self.received.remove(at).unwrap();
            }
            let block = self.io.read_block().await.unwrap();
            self.read(block.expect("the relay closed the connection"));
        }
    }

    fn read(&mut self, mut block: Box<Block>) {
        self.blocks += 1;
        let content = match &mut self.cipher {
            Some(cipher) => cipher.opener.open(&mut block).unwrap(),
            None => plain_content(&block).unwrap(),
        };
        for bytes in transmissions(content).unwrap() {
            let transmission = Transmission::decode(bytes, &self.params).unwrap();
            assert_eq!(
                transmission.authorization,
                Authorization::None,
                "relays sign nothing"
            );
            let response = Response::decode(self.params.version, transmission.command).unwrap();
            let command = transmission.command;
            self.transcript.push(match response {
                Response::Err(_) => format!("<{}", str::from_utf8(command).unwrap()),
                _ => format!("<{}", word(command)),
            });
            self.places += 1;
            self.received.push_back(Received {
                corr_id: transmission.corr_id,
                entity: transmission.entity,
                response,
                bytes: transmission.command.to_vec(),
                place: self.places,
                at: Instant::now(),
            });
        }
    }
}

fn word(command: &[u8]) -> &str {
    let end = command
        .iter()
        .position(|byte| *byte == b' ')
        .unwrap_or(command.len());
    str::from_utf8(&command[..end]).unwrap_or("?")
}
