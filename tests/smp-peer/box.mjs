/**
 * Keys, NaCl boxes and padding as SMP uses them. Every box is XSalsa20-Poly1305 under HSalsa20(secret, 0), with its tag in front,
 * whether the secret comes out of a DH exchange or of a key derivation.
 */
import { createHash, hkdfSync, randomBytes } from 'node:crypto';
import nacl from 'tweetnacl';

export const TAG_LENGTH = 16;
export const NONCE_LENGTH = 24;
/** A box without padding over a SHA-512. */
export const AUTHENTICATOR_LENGTH = TAG_LENGTH + 64;
const PAD = 0x23;
const SIGMA = Buffer.from('expand 32-byte k');

/** What a peer did that the protocol does not allow. */
export class ProtocolError extends Error {
  name = 'ProtocolError';
}

/**
 * @param {'x25519'|'ed25519'} kind
 * @param {Uint8Array} secret 32 bytes: the X25519 scalar or the Ed25519 seed
 * @returns {{kind: string, secret: Buffer, publicKey: Buffer}}
 */
export function keyPair(kind, secret = randomBytes(32)) {
  const { publicKey } = kind === 'x25519' ? nacl.box.keyPair.fromSecretKey(secret) : nacl.sign.keyPair.fromSeed(secret);
  return { kind, secret: Buffer.from(secret), publicKey: Buffer.from(publicKey) };
}

/** The raw X25519 output. */
export function agree(ours, theirPublicKey) {
  return Buffer.from(nacl.scalarMult(ours.secret, theirPublicKey));
}

export function sign(key, bytes) {
  return Buffer.from(nacl.sign.detached(bytes, nacl.sign.keyPair.fromSeed(key.secret).secretKey));
}

export function signatureHolds(publicKey, bytes, signature) {
  return signature.length === nacl.sign.signatureLength && nacl.sign.detached.verify(bytes, signature, publicKey);
}

/** @returns {Buffer} tag ‖ ciphertext */
export function seal(secret, nonce, plain) {
  return Buffer.from(nacl.secretbox(plain, nonce, boxKey(secret)));
}

/** @throws {ProtocolError} if the box was made with another key or nonce, or was changed */
export function open(secret, nonce, box, what = 'box') {
  const plain = nacl.secretbox.open(box, nonce, boxKey(secret));
  if (plain === null) throw new ProtocolError(`the ${what} does not open`);
  return Buffer.from(plain);
}

/** What authorises a command under an X25519 key: anyone who can check it could have made it. */
export function authenticator(secret, corrId, authorized) {
  return seal(secret, corrId, createHash('sha512').update(authorized).digest());
}

/** u16 length ‖ `bytes` ‖ `#`… up to `length`. */
export function pad(bytes, length) {
  if (bytes.length + 2 > length) throw new RangeError(`${bytes.length} bytes do not fit into ${length}`);
  const padded = Buffer.alloc(length, PAD);
  padded.writeUInt16BE(bytes.length);
  padded.set(bytes, 2);
  return padded;
}

/** @throws {ProtocolError} if the length does not fit, or the padding is not all `#` */
export function unpad(padded, what = 'padded string') {
  const length = padded.length < 2 ? Infinity : padded.readUInt16BE();
  if (length + 2 > padded.length) throw new ProtocolError(`the ${what} says it is ${length} bytes long, in ${padded.length}`);
  if (padded.subarray(2 + length).some((byte) => byte !== PAD)) throw new ProtocolError(`the padding of the ${what} is not #`);
  return padded.subarray(2, 2 + length);
}

export function hkdf(secret, salt, info, length) {
  return Buffer.from(hkdfSync('sha512', secret, salt, info, length));
}

/** Proxied responses use the nonce of the command from its last byte to its first. */
export function reversed(nonce) {
  return Buffer.from(nonce).reverse();
}

function boxKey(secret) {
  const key = new Uint8Array(32);
  nacl.lowlevel.crypto_core_hsalsa20(key, new Uint8Array(16), secret, SIGMA);
  return key;
}
