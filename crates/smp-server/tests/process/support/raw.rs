//! A client that can do what no good client does.

use std::collections::VecDeque;
use std::io;
use std::time::SystemTime;

use rand::rand_core::UnwrapErr;
use rand::rngs::SysRng;
use smp_protocol::{
    AuthPrivateKey, Authorization, Block, BlockCipher, BlockWriter, ClientHello, Command, CorrId,
    DhPrivateKey, DhPublicKey, EncodeError, EntityId, Response, ServerAddress, ServerHello,
    SessionParams, SmpVersion, Transmission, Unsigned, VersionRange, authorize, empty_block,
    plain_block, plain_content, transmissions,
};
use smp_transport::{
    BlockStream, ClientHandshakeOptions, ClientTls, ClientTlsOptions, TlsStream, client_handshake,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::PATIENCE;

/// A connection after TLS, with the relay's hello.
pub(crate) struct Hello {
    pub(crate) stream: TlsStream<TcpStream>,
    hello: ServerHello,
}

impl Hello {
    pub(crate) async fn of(address: &ServerAddress) -> Self {
        let mut stream = tls(address, false).await.unwrap();
        let block = read(&mut stream).await.expect("no hello");
        let hello = ServerHello::from_block(&block).unwrap();
        Self { stream, hello }
    }

    /// Sends a hello as a good client would, after a change.
    pub(crate) async fn answer(
        &mut self,
        address: &ServerAddress,
        change: impl FnOnce(&mut ClientHello),
    ) {
        let mut hello = ClientHello {
            version: self.hello.versions.max(),
            key_hash: *address.relay.fingerprint(),
            client_key: Some(DhPrivateKey::generate(&mut UnwrapErr(SysRng)).public()),
            proxy: false,
            service: None,
        };
        change(&mut hello);
        let block = hello.to_block().unwrap();
        self.stream.write_all(&block[..]).await.unwrap();
    }

    /// Whether the relay closes the connection without another word.
    pub(crate) async fn is_closed(&mut self) -> bool {
        read(&mut self.stream).await.is_none()
    }
}

/// The next block; `None` if the relay closed the connection.
async fn read(stream: &mut TlsStream<TcpStream>) -> Option<Box<Block>> {
    let mut block = empty_block();
    let read = timeout(PATIENCE, stream.read_exact(&mut block[..])).await;
    read.expect("nothing came").ok()?;
    Some(block)
}

async fn tls(address: &ServerAddress, legacy: bool) -> io::Result<TlsStream<TcpStream>> {
    let host = address.relay.hosts()[0].to_string();
    let stream = TcpStream::connect((host.as_str(), address.relay.port_or_default())).await?;
    stream.set_nodelay(true)?;
    let options = ClientTlsOptions {
        legacy,
        ..ClientTlsOptions::default()
    };
    let tls = ClientTls::new(options).unwrap();
    let stream = tls.connect(stream, address.relay.fingerprint()).await;
    stream.map_err(io::Error::other)
}

/// A session, block by block.
pub(crate) struct Raw {
    pub(crate) stream: TlsStream<TcpStream>,
    pub(crate) params: SessionParams,
    relay_key: Option<DhPublicKey>,
    cipher: Option<BlockCipher>,
    received: VecDeque<(Option<CorrId>, Response)>,
}

impl Raw {
    pub(crate) async fn of(address: &ServerAddress) -> Self {
        Self::of_version(address, VersionRange::SUPPORTED.max()).await
    }

    pub(crate) async fn of_version(address: &ServerAddress, version: SmpVersion) -> Self {
        let legacy = version < SmpVersion::AUTH_ENCRYPTION;
        let mut stream = tls(address, legacy).await.unwrap();
        let session_id = stream.session_id().clone();
        let options = ClientHandshakeOptions {
            versions: VersionRange::new(SmpVersion(6), version).unwrap(),
            proxy: false,
            service: None,
            now: SystemTime::now(),
        };
        let (identity, rng) = (address.relay.fingerprint(), &mut UnwrapErr(SysRng));
        let mut io = BlockStream::new(&mut stream);
        let session = client_handshake(&mut io, &session_id, identity, &options, rng).await;
        let session = session.unwrap();
        assert_eq!(session.params.version, version);
        Self {
            stream,
            params: session.params,
            relay_key: session.relay_key.map(|key| key.key),
            cipher: session.cipher,
            received: VecDeque::new(),
        }
    }

    /// The bytes of a command's transmission, and the id of its answer.
    pub(crate) fn transmission(
        &self,
        entity: &EntityId,
        key: Option<&AuthPrivateKey>,
        command: &Command,
    ) -> (CorrId, Vec<u8>) {
        let corr_id = CorrId::generate(&mut UnwrapErr(SysRng));
        let version = self.params.version;
        let unsigned = Unsigned::new(&self.params, Some(&corr_id), entity, |out| {
            command.encode(version, out)
        });
        let unsigned = unsigned.unwrap();
        let authorization = match key {
            None => Authorization::None,
            Some(key) => {
                let signed = unsigned.signed_bytes(&self.params);
                authorize(key, self.relay_key.as_ref(), &corr_id, &signed).unwrap()
            }
        };
        let mut bytes = Vec::new();
        unsigned.encode(&self.params, &authorization, None, &mut bytes);
        (corr_id, bytes)
    }

    /// The next block, with these transmissions.
    pub(crate) fn block(&mut self, transmissions: &[Vec<u8>]) -> Box<Block> {
        let mut writer = BlockWriter::new();
        for transmission in transmissions {
            assert!(writer.try_push(transmission), "too much for a block");
        }
        writer.finish(self.cipher.as_mut().map(|cipher| &mut cipher.sealer))
    }

    /// The next block, with content that need not be transmissions.
    pub(crate) fn block_of(&mut self, content: &[u8]) -> Box<Block> {
        let block: Result<_, EncodeError> = match &mut self.cipher {
            Some(cipher) => cipher.seal(content),
            None => plain_block(content),
        };
        block.unwrap()
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let written = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        let written = timeout(PATIENCE, written).await;
        written.expect("the relay does not read")
    }

    /// Executes a command and returns what answers it.
    pub(crate) async fn run(
        &mut self,
        entity: &EntityId,
        key: Option<&AuthPrivateKey>,
        command: &Command,
    ) -> Response {
        let (corr_id, bytes) = self.transmission(entity, key, command);
        let block = self.block(&[bytes]);
        self.write(&block[..]).await.unwrap();
        loop {
            let (answered, response) = self.next().await.expect("the relay closed the connection");
            if answered == Some(corr_id) {
                return response;
            }
        }
    }

    /// What comes next, answer or not; `None` if the relay closed the connection.
    pub(crate) async fn next(&mut self) -> Option<(Option<CorrId>, Response)> {
        while self.received.is_empty() {
            let mut block = read(&mut self.stream).await?;
            let content = match &mut self.cipher {
                Some(cipher) => cipher.open(&mut block).unwrap(),
                None => plain_content(&block).unwrap(),
            };
            for bytes in transmissions(content).unwrap() {
                let transmission = Transmission::decode(bytes, &self.params).unwrap();
                let response = Response::decode(self.params.version, transmission.command);
                self.received
                    .push_back((transmission.corr_id, response.unwrap()));
            }
        }
        self.received.pop_front()
    }

    /// Whether the relay closes the connection; what comes before that is passed over.
    pub(crate) async fn is_closed(&mut self) -> bool {
        while self.next().await.is_some() {}
        true
    }
}
