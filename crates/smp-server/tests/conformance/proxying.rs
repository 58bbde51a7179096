//! "Proxying sender commands".

mod forward;
mod proxy;

use crate::prelude::*;

/// One command for a relay, encrypted so that the proxy cannot read it.
struct Sealed {
    params: SessionParams,
    secret: ForwardSecret,
    corr_id: CorrId,
    entity: EntityId,
    /// What PFWD and RFWD say of it.
    version: SmpVersion,
    key: DhPublicKey,
    body: Vec<u8>,
}

/// The session of proxy and relay as the proxy's clients know it.
#[derive(Clone)]
struct Route {
    session_id: SessionId,
    key: DhPublicKey,
}

impl Route {
    /// The session of a raw proxy.
    fn of(proxy: &Client) -> Self {
        Self {
            session_id: proxy.params.session_id.clone(),
            key: proxy.session_key.unwrap(),
        }
    }

    /// A command of a client of this version.
    fn seal(
        &self,
        client: &mut Client,
        version: u16,
        entity: impl Into<EntityId>,
        key: Option<&AuthPrivateKey>,
        command: &Command,
    ) -> Sealed {
        let mut bytes = Vec::new();
        command.encode(SmpVersion(version), &mut bytes).unwrap();
        self.seal_bytes(client, version, entity, key, &bytes)
    }

    fn seal_bytes(
        &self,
        client: &mut Client,
        version: u16,
        entity: impl Into<EntityId>,
        key: Option<&AuthPrivateKey>,
        command: &[u8],
    ) -> Sealed {
        let (corr_id, entity) = (client.corr_id(), entity.into());
        let params = SessionParams::new(SmpVersion(version), self.session_id.clone());
        let write = |out: &mut Vec<u8>| {
            out.extend_from_slice(command);
            Ok::<_, EncodeError>(())
        };
        let unsigned = Unsigned::new(&params, Some(&corr_id), &entity, write).unwrap();
        let signed = unsigned.signed_bytes(&params);
        let authorization = key.map_or(Authorization::None, |key| {
            authorize(key, Some(&self.key), &corr_id, &signed).unwrap()
        });
        let mut inner = Vec::new();
        unsigned.encode(&params, &authorization, None, &mut inner);
        self.seal_transmission(client, params, corr_id, entity, &inner)
    }

    fn seal_transmission(
        &self,
        client: &mut Client,
        params: SessionParams,
        corr_id: CorrId,
        entity: EntityId,
        transmission: &[u8],
    ) -> Sealed {
        let private = DhPrivateKey::generate(&mut client.rng);
        let secret = ForwardSecret::agree(&private, &self.key, &corr_id).unwrap();
        let body = secret.seal_command(transmission).unwrap();
        let (version, key) = (params.version, private.public());
        Sealed {
            params,
            secret,
            corr_id,
            entity,
            version,
            key,
            body,
        }
    }
}

impl Sealed {
    /// What the relay answered, out of PRES or RRES.
    fn open(&self, mut body: Vec<u8>) -> Response {
        let (corr_id, entity, response) = self.open_all(&mut body);
        assert_eq!(corr_id, Some(self.corr_id));
        assert_eq!(entity, self.entity);
        response
    }

    fn open_all(&self, body: &mut [u8]) -> (Option<CorrId>, EntityId, Response) {
        let bytes = self.secret.open_response(body).unwrap();
        let transmission = Transmission::decode(bytes, &self.params).unwrap();
        assert_eq!(transmission.authorization, Authorization::None);
        let response = Response::decode(self.params.version, transmission.command).unwrap();
        (transmission.corr_id, transmission.entity, response)
    }

    /// RFWD, as a proxy makes it.
    fn rfwd(&self, proxy: &Client, corr_id: &CorrId) -> Command {
        let forwarded = ForwardedTransmission {
            corr_id: self.corr_id,
            version: self.version,
            key: self.key,
            body: &self.body,
        };
        Command::Rfwd(forwarded.seal(proxy.forward_key.as_ref().unwrap(), corr_id))
    }

    /// PFWD, as a client makes it.
    fn pfwd(&self) -> Command {
        Command::Pfwd {
            version: self.version,
            key: self.key,
            body: self.body.clone(),
        }
    }
}
