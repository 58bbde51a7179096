//! The ratchet itself: its state, how it begins, and what it says about itself.

mod decrypt;
mod encrypt;
mod state;
#[cfg(test)]
mod tests;

use std::fmt;

use zeroize::ZeroizeOnDrop;

use crate::error::AgreementError;
use crate::initiator::InitiatorKeys;
use crate::kdf::Agreed;
use crate::kem::{KemCiphertext, KemKeyPair, KemSecret};
use crate::keys::KeySource;
use crate::message::ASSOCIATED_DATA_SIZE;
use crate::params::{E2eParams, E2eParamsRange, KemParams};
use crate::secret::{ChainKey, HeaderKey, RootKey};
use crate::skipped::SkippedKeys;
use crate::version::{E2eVersion, PqSupport};
use crate::x448::{X448PrivateKey, X448PublicKey};

pub use decrypt::Decrypted;

/// One peer's side of an end-to-end encrypted connection (document, "Double ratchet with encrypted
/// headers augmented with double PQ KEM").
///
/// It has neither clock nor store. After [`encrypt`](Self::encrypt) and
/// [`decrypt`](Self::decrypt) its [`to_bytes`](Self::to_bytes) are stored before the message goes
/// out or is acknowledged: a ratchet that falls back encrypts two messages with one key.
///
/// Everything secret in it is wiped when it is replaced or dropped. `Debug` shows nothing of it.
pub struct Ratchet {
    versions: Versions,
    associated_data: [u8; ASSOCIATED_DATA_SIZE],
    root_key: RootKey,
    own_key: X448PrivateKey,
    sending: Option<Sending>,
    receiving: Option<Receiving>,
    next_sending_header_key: HeaderKey,
    next_receiving_header_key: HeaderKey,
    /// How many messages the sending chain has (document: `Ns`).
    sent: u32,
    /// How many the one before had (document: `PN`).
    previous_count: u32,
    pq: Pq,
    /// How many receiving chains there were.
    turns: u64,
    skipped: SkippedKeys,
}

#[derive(Clone, Copy, PartialEq)]
struct Versions {
    current: E2eVersion,
    max: E2eVersion,
}

struct Sending {
    header_key: HeaderKey,
    chain_key: ChainKey,
    /// Whether it began with a KEM's secret.
    pq: bool,
    /// The newest version that each of its headers offers.
    offered: E2eVersion,
}

struct Receiving {
    header_key: HeaderKey,
    chain_key: ChainKey,
    /// The number of the next message (document: `Nr`).
    next: u32,
    /// The turn that it began with.
    turn: u64,
    /// Whether it began with a KEM's secret.
    pq: bool,
}

/// Where the KEM stands (document, "KEM state machine").
struct Pq {
    support: PqSupport,
    /// Whether a KEM is to be proposed or accepted in the next turn.
    enabled: bool,
    own: Option<OwnKem>,
}

/// What the headers of the sending chain say about the KEM.
struct OwnKem {
    pair: KemKeyPair,
    /// The answer to the peer's key.
    accepted: Option<KemCiphertext>,
}

impl OwnKem {
    fn params(&self) -> KemParams {
        let key = self.pair.public();
        match self.accepted.clone() {
            None => KemParams::Proposed(key),
            Some(ciphertext) => KemParams::Accepted { ciphertext, key },
        }
    }
}

impl Ratchet {
    /// The side of the peer that got a link. It can send at once, and its parameters go out with
    /// its first message.
    ///
    /// With [`PqSupport::On`] it accepts the KEM if `peer` proposes one, and proposes one if not.
    ///
    /// # Errors
    /// [`AgreementError`] if the peers have no version in common, or a key of the peer is weak.
    pub fn joiner(
        peer: &E2eParamsRange,
        pq: PqSupport,
        keys: &mut impl KeySource,
    ) -> Result<(Self, E2eParams), AgreementError> {
        let peer = peer.newest().ok_or(AgreementError::Version {
            min: peer.min,
            max: peer.max,
        })?;
        let own = [keys.x448(), keys.x448()];
        let ratchet_key = keys.x448();
        let (kem, secret) = join_kem(&peer, pq, keys)?;
        let params = E2eParams {
            version: peer.version,
            key_1: own[0].public(),
            key_2: own[1].public(),
            kem: kem.as_ref().map(OwnKem::params),
        };
        let pq = Pq::joining(pq, kem);
        let ratchet = Self::join([&own[0], &own[1]], ratchet_key, &peer, pq, secret.as_ref())?;
        Ok((ratchet, params))
    }

    /// The joiner's side when both peers have sent each other parameters to make a new ratchet
    /// (agent protocol, "Ratchet synchronization"). Whose [`InitiatorKeys::hash`] is the larger one
    /// joins; the other peer calls [`Self::initiator`] with the same parameters.
    ///
    /// # Errors
    /// [`AgreementError`] if the peer's version is not spoken here, a key is weak or our own, or it
    /// accepts a KEM instead of proposing one.
    pub fn joiner_with(
        own: &InitiatorKeys,
        peer: &E2eParams,
        pq: PqSupport,
        keys: &mut impl KeySource,
    ) -> Result<Self, AgreementError> {
        check_version(peer)?;
        if matches!(peer.kem, Some(KemParams::Accepted { .. })) {
            return Err(AgreementError::KemState);
        }
        let ratchet_key = keys.x448();
        let kem = (pq == PqSupport::On && peer.version.has_kem()).then(|| OwnKem {
            pair: own.kem.clone().unwrap_or_else(|| keys.kem_pair()),
            accepted: None,
        });
        let pq = Pq::joining(pq, kem);
        Self::join([&own.key_1, &own.key_2], ratchet_key, peer, pq, None)
    }

    fn join(
        own: [&X448PrivateKey; 2],
        ratchet_key: X448PrivateKey,
        peer: &E2eParams,
        pq: Pq,
        kem: Option<&KemSecret>,
    ) -> Result<Self, AgreementError> {
        let [own_1, own_2] = own;
        refuse_own_keys([own_1.public(), own_2.public()], peer)?;
        let agreements = [
            own_2.agree(&peer.key_1)?,
            own_1.agree(&peer.key_2)?,
            own_2.agree(&peer.key_2)?,
        ];
        let agreed = Agreed::derive(&agreements, kem);
        let step = agreed.root_key.step(&ratchet_key.agree(&peer.key_2)?, kem);
        Ok(Self {
            versions: Versions::beginning(peer.version),
            associated_data: associated_data(&own_1.public(), &peer.key_1),
            root_key: step.root_key,
            own_key: ratchet_key,
            sending: Some(Sending {
                header_key: agreed.header_key,
                chain_key: step.chain_key,
                pq: kem.is_some(),
                offered: E2eVersion::CURRENT,
            }),
            receiving: None,
            next_sending_header_key: step.next_header_key,
            next_receiving_header_key: agreed.next_header_key,
            sent: 0,
            previous_count: 0,
            pq,
            turns: 0,
            skipped: SkippedKeys::default(),
        })
    }

    /// The side of the peer that made the link, once the joiner's parameters have come. It sends
    /// after the joiner's first message, not before.
    ///
    /// A KEM that `own` proposed and the joiner has accepted is used, whatever `pq` says: the keys
    /// depend on it already.
    ///
    /// # Errors
    /// [`AgreementError`] if the peer's version is not spoken here, a key is weak or our own, or it
    /// accepts a KEM that `own` has not proposed.
    pub fn initiator(
        own: &InitiatorKeys,
        peer: &E2eParams,
        pq: PqSupport,
    ) -> Result<Self, AgreementError> {
        check_version(peer)?;
        refuse_own_keys([own.key_1.public(), own.key_2.public()], peer)?;
        let accepted = peer.kem.as_ref().and_then(KemParams::ciphertext);
        let (pair, secret) = match (accepted, &own.kem) {
            (None, _) => (None, None),
            (Some(_), None) => return Err(AgreementError::KemState),
            (Some(ciphertext), Some(pair)) => (Some(pair), Some(pair.decapsulate(ciphertext))),
        };
        let agreements = [
            own.key_1.agree(&peer.key_2)?,
            own.key_2.agree(&peer.key_1)?,
            own.key_2.agree(&peer.key_2)?,
        ];
        let agreed = Agreed::derive(&agreements, secret.as_ref());
        Ok(Self {
            versions: Versions::beginning(peer.version),
            associated_data: associated_data(&peer.key_1, &own.key_1.public()),
            root_key: agreed.root_key,
            own_key: own.key_2.clone(),
            sending: None,
            receiving: None,
            next_sending_header_key: agreed.next_header_key,
            next_receiving_header_key: agreed.header_key,
            sent: 0,
            previous_count: 0,
            pq: Pq::initiating(pq, pair.cloned()),
            turns: 0,
            skipped: SkippedKeys::default(),
        })
    }

    /// Both peers' first keys, which every message is bound to: the joiner's, then the
    /// initiator's. Compared out of band they prove that nobody is between the two.
    #[must_use]
    pub fn associated_data(&self) -> &[u8] {
        &self.associated_data
    }

    /// The version that messages are sent in.
    #[must_use]
    pub fn version(&self) -> E2eVersion {
        self.versions.current
    }

    /// Whether there is a chain to send with: always at the joiner, and at the initiator from the
    /// joiner's first message on.
    #[must_use]
    pub fn can_send(&self) -> bool {
        self.sending.is_some()
    }

    /// Whether a KEM may be used, so that headers are large and bodies must be smaller.
    #[must_use]
    pub fn support(&self) -> PqSupport {
        self.pq.support
    }

    /// Whether a KEM is proposed or accepted in the next turn.
    #[must_use]
    pub fn pq_enabled(&self) -> bool {
        self.pq.enabled
    }

    /// Whether the chain that is sent with began with a KEM's secret.
    #[must_use]
    pub fn pq_sending(&self) -> bool {
        self.sending.as_ref().is_some_and(|chain| chain.pq)
    }

    /// Whether the chain that is received with began with a KEM's secret.
    #[must_use]
    pub fn pq_receiving(&self) -> bool {
        self.receiving.as_ref().is_some_and(|chain| chain.pq)
    }

    /// Asks for a KEM in a ratchet that began without one. It takes two messages of the peer until
    /// keys depend on it: the proposal is made in the next turn. Before [`E2eVersion::V3`] the wish
    /// alone is kept.
    pub fn enable_pq(&mut self) {
        self.pq.enabled = true;
        if self.versions.current.has_kem() {
            self.pq.support = PqSupport::On;
        }
    }
}

impl Versions {
    fn beginning(version: E2eVersion) -> Self {
        Self {
            current: version,
            max: E2eVersion::CURRENT,
        }
    }

    /// What is spoken after the peer has said what it can: never less than before.
    fn after(self, peer_max: E2eVersion) -> Self {
        Self {
            current: self.current.max(peer_max.min(self.max)),
            ..self
        }
    }
}

impl Pq {
    fn joining(support: PqSupport, own: Option<OwnKem>) -> Self {
        Self {
            support,
            enabled: support == PqSupport::On,
            own,
        }
    }

    /// The pair is kept if the joiner has accepted it: its first header has the secret once more.
    fn initiating(support: PqSupport, accepted: Option<KemKeyPair>) -> Self {
        let on = support == PqSupport::On || accepted.is_some();
        Self {
            support: if on { PqSupport::On } else { PqSupport::Off },
            enabled: on,
            own: accepted.map(|pair| OwnKem {
                pair,
                accepted: None,
            }),
        }
    }
}

/// A joiner's answer to the peer's KEM, or its own proposal.
fn join_kem(
    peer: &E2eParams,
    pq: PqSupport,
    keys: &mut impl KeySource,
) -> Result<(Option<OwnKem>, Option<KemSecret>), AgreementError> {
    if pq == PqSupport::Off || !peer.version.has_kem() {
        return Ok((None, None));
    }
    let (accepted, secret) = match &peer.kem {
        None => (None, None),
        Some(KemParams::Proposed(key)) => {
            let (ciphertext, secret) = keys.encapsulate(key);
            (Some(ciphertext), Some(secret))
        }
        Some(KemParams::Accepted { .. }) => return Err(AgreementError::KemState),
    };
    let pair = keys.kem_pair();
    Ok((Some(OwnKem { pair, accepted }), secret))
}

fn check_version(peer: &E2eParams) -> Result<(), AgreementError> {
    if (E2eVersion::OLDEST..=E2eVersion::CURRENT).contains(&peer.version) {
        Ok(())
    } else {
        Err(AgreementError::Version {
            min: peer.version,
            max: peer.version,
        })
    }
}

fn refuse_own_keys(own: [X448PublicKey; 2], peer: &E2eParams) -> Result<(), AgreementError> {
    if [peer.key_1, peer.key_2].iter().any(|key| own.contains(key)) {
        Err(AgreementError::OwnKeys)
    } else {
        Ok(())
    }
}

fn associated_data(
    joiner: &X448PublicKey,
    initiator: &X448PublicKey,
) -> [u8; ASSOCIATED_DATA_SIZE] {
    let mut data = [0; ASSOCIATED_DATA_SIZE];
    let (first, second) = data.split_at_mut(ASSOCIATED_DATA_SIZE / 2);
    first.copy_from_slice(joiner.as_bytes());
    second.copy_from_slice(initiator.as_bytes());
    data
}

impl fmt::Debug for Ratchet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ratchet")
    }
}

impl ZeroizeOnDrop for Ratchet {}
