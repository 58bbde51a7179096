//! Who may do what: each command's party, and the check of its authorization.
//!
//! A command on a queue that is not there costs what one on a queue that is costs: its
//! authorization is checked with a key that nobody has (document, "Error responses").

use std::collections::HashMap;
use std::sync::Arc;

use smp_protocol::{
    AuthPublicKey, Authorization, BoxKey, Command, CorrId, DhPrivateKey, EntityId, ErrorType,
    KEY_SIZE, SessionKey, SignedBytes, Transmission, verify, verify_dummy,
};

use super::Relay;
use crate::store::{Lookup, QueueId, QueueRecord, Store};

/// In what capacity a command is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Party {
    /// With the recipient's id and one of the recipient's keys.
    Recipient,
    /// With the sender's id.
    Sender,
    /// With the link's id.
    Link,
    /// With the notifier's id and key.
    Notifier,
}

/// What a verified command is about.
pub(crate) enum Target {
    /// A queue that is yet to be made.
    New,
    /// A queue that is there.
    Queue(Arc<QueueRecord>, Party),
}

/// Keys agreed between the session's key and queues' keys: the agreement costs more than all the
/// rest of an authenticator's check, and most commands of a session are about few queues.
pub(crate) struct KeyCache {
    private: Option<DhPrivateKey>,
    agreed: HashMap<[u8; KEY_SIZE], BoxKey>,
    checks: usize,
}

impl KeyCache {
    /// Keys kept. Then the cache begins anew.
    const LIMIT: usize = 128;

    /// A cache for the session's own key, which there is from version 7 on.
    pub(crate) fn new(private: Option<DhPrivateKey>) -> Self {
        Self {
            private,
            agreed: HashMap::new(),
            checks: 0,
        }
    }

    /// The session's own key.
    pub(crate) fn private(&self) -> Option<&DhPrivateKey> {
        self.private.as_ref()
    }

    /// How many keys were tried since this was last asked.
    pub(crate) fn take_checks(&mut self) -> usize {
        std::mem::take(&mut self.checks)
    }

    /// Whether `proof` was made with the private half of `key`.
    pub(crate) fn verify(&mut self, key: &AuthPublicKey, proof: &Proof<'_>) -> bool {
        self.checks += 1;
        let (AuthPublicKey::X25519(public), Authorization::Authenticator(_)) =
            (key, proof.authorization)
        else {
            return proof.verify(key, self.session_key());
        };
        if let Some(agreed) = self.agreed.get(public) {
            let holds = proof.verify(key, SessionKey::Agreed(agreed));
            if !holds {
                // As slow as every other wrong proof: what others proved here stays unknown.
                std::hint::black_box(self.session_key().agree(key));
            }
            return holds;
        }
        let Some(agreed) = self.session_key().agree(key) else {
            return proof.verify(key, self.session_key());
        };
        let holds = proof.verify(key, SessionKey::Agreed(&agreed));
        // Only what was proved is kept: else a second wrong proof would be faster than the first,
        // and tell that the queue exists.
        if holds {
            if self.agreed.len() >= Self::LIMIT {
                self.agreed.clear();
            }
            self.agreed.insert(*public, agreed);
        }
        holds
    }

    /// Spends the time of a check whose result is known: refused.
    pub(crate) fn verify_dummy(&self, proof: &Proof<'_>) {
        verify_dummy(
            self.session_key(),
            proof.authorization,
            &proof.corr_id,
            &proof.signed,
        );
    }

    fn session_key(&self) -> SessionKey<'_> {
        match &self.private {
            Some(private) => SessionKey::Private(private),
            None => SessionKey::None,
        }
    }
}

/// An authorization with what it is of.
pub(crate) struct Proof<'a> {
    pub(crate) authorization: &'a Authorization,
    pub(crate) corr_id: CorrId,
    pub(crate) signed: SignedBytes<'a>,
}

impl<'a> Proof<'a> {
    /// The proof in a transmission. Without a correlation id an authenticator has no nonce.
    pub(crate) fn new(
        transmission: &'a Transmission<'_>,
        signed: SignedBytes<'a>,
    ) -> Result<Self, ErrorType> {
        let corr_id = match (transmission.corr_id, &transmission.authorization) {
            (Some(corr_id), _) => corr_id,
            (None, Authorization::None) => CorrId([0; 24]),
            (None, _) => return Err(ErrorType::Block),
        };
        Ok(Self {
            authorization: &transmission.authorization,
            corr_id,
            signed,
        })
    }

    fn verify(&self, key: &AuthPublicKey, session_key: SessionKey<'_>) -> bool {
        verify(
            key,
            session_key,
            self.authorization,
            &self.corr_id,
            &self.signed,
        )
    }
}

impl<S: Store> Relay<S> {
    /// Finds what a command is about and checks that its author may give it.
    pub(super) async fn authorize(
        &self,
        keys: &mut KeyCache,
        entity: &EntityId,
        proof: &Proof<'_>,
        command: &Command,
    ) -> Result<Target, ErrorType> {
        let Some(party) = party(command) else {
            let Command::New(new) = command else {
                return Err(ErrorType::Internal);
            };
            let holds = keys.verify(&new.auth_key, proof);
            return if holds {
                Ok(Target::New)
            } else {
                Err(ErrorType::Auth)
            };
        };
        let found = match lookup(party, entity) {
            Some(lookup) => self
                .store
                .find(lookup)
                .await
                .map_err(|error| self.store_error(&error))?,
            None => None,
        };
        let Some(record) = found else {
            keys.verify_dummy(proof);
            return Err(ErrorType::Auth);
        };
        if holds(keys, &record, party, command, proof) {
            Ok(Target::Queue(record, party))
        } else {
            Err(ErrorType::Auth)
        }
    }
}

/// Whether the authorization is the one that the queue asks for.
fn holds(
    keys: &mut KeyCache,
    record: &QueueRecord,
    party: Party,
    command: &Command,
    proof: &Proof<'_>,
) -> bool {
    match (party, command) {
        (Party::Recipient, _) => record
            .recipient_keys
            .iter()
            .fold(false, |held, key| keys.verify(key, proof) | held),
        (Party::Notifier, _) => record
            .notifier
            .as_ref()
            .is_some_and(|notifier| keys.verify(&notifier.key, proof)),
        // These bring the key themselves: whoever has its private half may secure the queue.
        (_, Command::Skey(key) | Command::Lkey(key)) => keys.verify(key, proof),
        (_, Command::Lget) => true,
        _ => match (&record.sender_key, proof.authorization) {
            (None, Authorization::None) => true,
            (Some(key), _) => keys.verify(key, proof),
            (None, _) => {
                keys.verify_dummy(proof);
                false
            }
        },
    }
}

fn party(command: &Command) -> Option<Party> {
    match command {
        Command::Sub
        | Command::Key(_)
        | Command::Rkey(_)
        | Command::Lset { .. }
        | Command::Ldel
        | Command::Nkey { .. }
        | Command::Ndel
        | Command::Get
        | Command::Ack(_)
        | Command::Off
        | Command::Del
        | Command::Que => Some(Party::Recipient),
        Command::Skey(_) | Command::Send { .. } => Some(Party::Sender),
        Command::Lkey(_) | Command::Lget => Some(Party::Link),
        Command::Nsub => Some(Party::Notifier),
        _ => None,
    }
}

fn lookup(party: Party, entity: &EntityId) -> Option<Lookup> {
    let id = QueueId::try_from(entity.as_bytes()).ok()?;
    Some(match party {
        Party::Recipient => Lookup::Recipient(id),
        Party::Sender => Lookup::Sender(id),
        Party::Link => Lookup::Link(id),
        Party::Notifier => Lookup::Notifier(id),
    })
}
