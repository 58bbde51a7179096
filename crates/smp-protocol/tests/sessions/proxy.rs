//! Commands through a proxy: what the client seals, and the relay's answers.

use serde_json::Value;
use sha2::{Digest, Sha256};
use smp_protocol::{
    CertificateChain, CorrId, DhPrivateKey, DhPublicKey, FORWARDED_SIZE, Fingerprint,
    ForwardSecret, ProxySessionId, SessionId, SessionParams, SignedKey, SmpVersion, VersionRange,
};

use crate::authorizations::{self, check};
use crate::golden::{Recorded, base64, hex, list, number};
use crate::session::{Session, array, sessions};

#[test]
fn every_forwarded_command_and_its_answer_are_made_again() {
    let sessions = sessions();
    let session = sessions
        .iter()
        .find(|session| session.value["name"] == "v19 proxy client")
        .unwrap();
    let relay = Relay::read(session);
    let mut counts = authorizations::Counts::default();
    let (mut commands, mut answers) = (0, 0);
    let mut secret = None;
    for recorded in session.blocks.iter().flat_map(|block| &block.transmissions) {
        match recorded.tag() {
            "PFWD" => {
                secret = Some(relay.check_command(recorded, &mut counts));
                commands += 1;
            }
            "PRES" => {
                relay.check_answer(recorded, &secret.take().unwrap(), &mut counts);
                answers += 1;
            }
            _ => {}
        }
    }
    assert_eq!((commands, answers), (3, 3));
    assert_eq!((counts.authenticators, counts.none), (3, 3));
    assert_eq!(counts.refused, 3 * (640 + 2));
}

/// What the client knows of the relay behind the proxy, from `PKEY`.
struct Relay {
    session: ProxySessionId,
    versions: VersionRange,
    key: DhPublicKey,
}

impl Relay {
    fn read(session: &Session) -> Self {
        let mut all = session.blocks.iter().flat_map(|block| &block.transmissions);
        let asked = all.next().unwrap();
        assert_eq!(asked.tag(), "PRXY");
        let answer = all.next().unwrap();
        let decoded = answer.decoded();
        let key = DhPublicKey(array(&decoded["relay_dh_public"]));
        let signed = SignedKey::from_der(&base64(&decoded["signed_key_der_b64"])).unwrap();
        assert_eq!(signed.dh_key().unwrap(), key);
        let chain = list(decoded, "certificates_der_b64")
            .iter()
            .map(base64)
            .collect();
        let chain = CertificateChain::new(chain).unwrap();
        assert_eq!(
            chain.fingerprint(),
            Fingerprint(array(&asked.decoded()["key_hash"]))
        );
        let [min, max] = ["version_min", "version_max"].map(|key| version(&decoded[key]));
        let versions = VersionRange::new(min, max).unwrap();
        // The proxy that was recorded shows less than ours does.
        assert!(versions.max() < VersionRange::PROXIED.max());
        assert_eq!(versions.min(), VersionRange::PROXIED.min());
        Self {
            session: ProxySessionId::new(&hex(&decoded["session_id"])).unwrap(),
            versions,
            key,
        }
    }

    fn params(&self) -> SessionParams {
        SessionParams::new(self.versions.max(), SessionId::from(self.session.0.clone()))
    }

    fn check_command(
        &self,
        recorded: &Recorded,
        counts: &mut authorizations::Counts,
    ) -> ForwardSecret {
        let decoded = recorded.decoded();
        assert_eq!(version(&decoded["forward_version"]), self.params().version);
        assert_eq!(hex(&recorded.value["entity_id"]), self.session.as_bytes());
        let corr_id = CorrId(array(&recorded.value["corr_id"]));
        assert_eq!(corr_id.0, array(&decoded["nonce"]));
        let private = DhPrivateKey::from_bytes(&array(&decoded["command_dh_private"]));
        assert_eq!(
            private.public(),
            DhPublicKey(array(&decoded["command_dh_public"]))
        );
        let secret = ForwardSecret::agree(&private, &self.key, &corr_id).unwrap();

        let inner = &decoded["inner_transmission"];
        assert_eq!(inner["corr_id"], recorded.value["corr_id"]);
        let transmission = hex(&inner["bytes"]);
        let sealed = secret.seal_command(&transmission).unwrap();
        assert_eq!(
            (sealed.len(), sealed.len()),
            (FORWARDED_SIZE, number(&decoded["encrypted_len"]))
        );
        assert_eq!(
            Sha256::digest(&sealed)[..],
            hex(&decoded["encrypted_sha256"])
        );
        assert!(recorded.command.ends_with(&sealed));
        let mut opened = sealed;
        assert_eq!(secret.open_command(&mut opened).unwrap(), transmission);
        check(
            &transmission,
            inner,
            &self.params(),
            Some(&self.key),
            counts,
        );
        secret
    }

    fn check_answer(
        &self,
        recorded: &Recorded,
        secret: &ForwardSecret,
        counts: &mut authorizations::Counts,
    ) {
        let decoded = recorded.decoded();
        let inner = &decoded["inner_transmission"];
        let transmission = hex(&inner["bytes"]);
        let sealed = secret.seal_response(&transmission).unwrap();
        assert_eq!(sealed.len(), number(&decoded["encrypted_len"]));
        assert_eq!(
            Sha256::digest(&sealed)[..],
            hex(&decoded["encrypted_sha256"])
        );
        let mut body = recorded.command.strip_prefix(b"PRES ").unwrap().to_vec();
        assert_eq!(body, sealed);
        assert!(secret.open_command(&mut body).is_err());
        assert_eq!(secret.open_response(&mut body).unwrap(), transmission);
        check(
            &transmission,
            inner,
            &self.params(),
            Some(&self.key),
            counts,
        );
    }
}

fn version(value: &Value) -> SmpVersion {
    SmpVersion(u16::try_from(value.as_u64().unwrap()).unwrap())
}
