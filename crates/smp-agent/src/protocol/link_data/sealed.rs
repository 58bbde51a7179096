//! The encryption of a link's data.

use rand::CryptoRng;
use smp_protocol::encoding::put_short_array;
use smp_protocol::{
    DecodeError, EncodeError, LinkData, NONCE_SIZE, Nonce, OpenError, Reader, SIGNATURE_SIZE,
};
use thiserror::Error;

use super::owner::{check_owners, signature};
use super::{FixedLinkData, LinkSecrets, LinkSigningKey, OwnersError, UserLinkData};
use crate::protocol::{LinkKey, ShortLink};

/// Length that the fixed part is padded to before its encryption, in bytes.
pub const PADDED_FIXED_LINK_DATA: usize = 2008;

/// Length that the user part is padded to before its encryption, in bytes.
pub const PADDED_USER_LINK_DATA: usize = 13784;

/// The nonces of both parts. They are random, and stand in front of what they encrypt.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct LinkNonces {
    /// Of the fixed part.
    pub fixed: Nonce,
    /// Of the user part.
    pub user: Nonce,
}

impl LinkNonces {
    /// Two random nonces.
    #[must_use]
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut nonces = Self {
            fixed: [0; NONCE_SIZE],
            user: [0; NONCE_SIZE],
        };
        rng.fill_bytes(&mut nonces.fixed);
        rng.fill_bytes(&mut nonces.user);
        nonces
    }
}

impl std::fmt::Debug for LinkNonces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LinkNonces")
    }
}

/// Makes the data of a new link, and the link's key. `root` is the private half of the fixed part's
/// root key.
///
/// # Errors
/// [`EncodeError`] if a part does not fit its padding, if the parts are of two kinds of link, or if
/// `root` is another key.
pub fn seal_link(
    fixed: &FixedLinkData,
    user: &UserLinkData,
    root: &LinkSigningKey,
    nonces: &LinkNonces,
) -> Result<(LinkKey, LinkData), EncodeError> {
    if root.verifying_key() != fixed.root_key {
        return Err(EncodeError("root key"));
    }
    if user.is_invitation() != fixed.request.is_invitation() {
        return Err(EncodeError("user link data"));
    }
    let mut bytes = Vec::with_capacity(PADDED_FIXED_LINK_DATA);
    fixed.encode(&mut bytes)?;
    let key = LinkKey::of_fixed_data(&bytes);
    let secrets = secrets(&key, user.is_invitation());
    let fixed = seal(
        &secrets,
        &bytes,
        root,
        &nonces.fixed,
        PADDED_FIXED_LINK_DATA,
    )?;
    let user = seal_user(&secrets, user, root, &nonces.user)?;
    Ok((key, LinkData { fixed, user }))
}

/// Makes a new user part for the link with this key. `signer` is the root key or, for an address,
/// an owner's.
///
/// # Errors
/// [`EncodeError`] if it does not fit its padding.
pub fn seal_user_data(
    key: &LinkKey,
    user: &UserLinkData,
    signer: &LinkSigningKey,
    nonce: &Nonce,
) -> Result<Vec<u8>, EncodeError> {
    seal_user(&secrets(key, user.is_invitation()), user, signer, nonce)
}

/// Decrypts what a server has for a link, and checks that it is what the link's maker and owners
/// wrote: the fixed part by its hash and the root key's signature, the user part by a signature of
/// the root key or, for an address, of an owner.
///
/// # Errors
/// [`LinkError`], each of which means that nothing of the data may be used.
pub fn open_link(
    link: &ShortLink,
    data: &LinkData,
) -> Result<(FixedLinkData, UserLinkData), LinkError> {
    let secrets = LinkSecrets::of(link);
    let fixed = open(&secrets, &data.fixed)?;
    let signed = Signed::read(&fixed)?;
    if LinkKey::of_fixed_data(signed.data) != link.key {
        return Err(LinkError::Hash);
    }
    let fixed = FixedLinkData::decode(signed.data)?;
    if !fixed.root_key.verify(signed.data, &signed.signature) {
        return Err(LinkError::FixedSignature);
    }
    let user = open(&secrets, &data.user)?;
    let signed = Signed::read(&user)?;
    let user = UserLinkData::decode(signed.data)?;
    let is_invitation = link.is_invitation();
    if fixed.request.is_invitation() != is_invitation || user.is_invitation() != is_invitation {
        return Err(LinkError::Kind);
    }
    check_owners(&fixed.root_key, user.owners())?;
    let owners = user.owners().iter().map(|owner| &owner.key);
    let is_by_owner = std::iter::once(&fixed.root_key)
        .chain(owners)
        .any(|key| key.verify(signed.data, &signed.signature));
    if !is_by_owner {
        return Err(LinkError::UserSignature);
    }
    Ok((fixed, user))
}

fn secrets(key: &LinkKey, is_invitation: bool) -> LinkSecrets {
    if is_invitation {
        // The id is for asking the server, and no part of the encryption.
        LinkSecrets::invitation(smp_protocol::EntityId::EMPTY.into(), key)
    } else {
        LinkSecrets::contact(key)
    }
}

fn seal_user(
    secrets: &LinkSecrets,
    user: &UserLinkData,
    signer: &LinkSigningKey,
    nonce: &Nonce,
) -> Result<Vec<u8>, EncodeError> {
    let mut bytes = Vec::with_capacity(PADDED_USER_LINK_DATA);
    user.encode(&mut bytes)?;
    seal(secrets, &bytes, signer, nonce, PADDED_USER_LINK_DATA)
}

fn seal(
    secrets: &LinkSecrets,
    data: &[u8],
    signer: &LinkSigningKey,
    nonce: &Nonce,
    padded: usize,
) -> Result<Vec<u8>, EncodeError> {
    let mut signature = Vec::with_capacity(1 + SIGNATURE_SIZE);
    put_short_array(&mut signature, &signer.sign(data));
    let parts = [&signature, data];
    let sealed = secrets.key().seal_padded_parts(nonce, &parts, padded)?;
    Ok([nonce.as_slice(), &sealed].concat())
}

fn open(secrets: &LinkSecrets, part: &[u8]) -> Result<Vec<u8>, LinkError> {
    let (nonce, sealed) = part
        .split_first_chunk::<NONCE_SIZE>()
        .ok_or(OpenError::Forged)?;
    Ok(secrets.key().open_padded(nonce, sealed)?)
}

/// A part of the data behind its signature.
struct Signed<'a> {
    signature: [u8; SIGNATURE_SIZE],
    data: &'a [u8],
}

impl<'a> Signed<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        Ok(Self {
            signature: signature(&mut reader)?,
            data: reader.take_rest(),
        })
    }
}

/// Why the data of a link is not to be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LinkError {
    /// It was not encrypted with the link's key: the server shows something else.
    #[error("the data of the link cannot be decrypted: {0}")]
    Sealed(#[from] OpenError),
    /// The fixed part is not the one that the link was made for.
    #[error("the data is of another link")]
    Hash,
    /// The root key has not signed the fixed part.
    #[error("the fixed part is not signed by the root key")]
    FixedSignature,
    /// Neither the root key nor an owner has signed the user part.
    #[error("the user part is signed neither by the root key nor by an owner")]
    UserSignature,
    /// The owners are not to be trusted.
    #[error("the owners are wrong: {0}")]
    Owners(#[from] OwnersError),
    /// The link, the fixed part and the user part are of two kinds.
    #[error("an invitation and an address are mixed up")]
    Kind,
    /// A part is no such data. The link's maker may have a program that is newer, or wrong.
    #[error("the data of the link is wrong: {0}")]
    Malformed(#[from] DecodeError),
}
