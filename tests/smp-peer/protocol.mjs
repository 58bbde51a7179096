/** What goes over the wire of an SMP session: hellos, blocks and their encryption, batches, transmissions and their authorization. */
import { agree, authenticator, hkdf, NONCE_LENGTH, open, pad, ProtocolError, seal, sign, TAG_LENGTH, unpad } from './box.mjs';
import { concat, EMPTY, encodedKey, large, Reader, short, u16, u8 } from './encoding.mjs';

export const BLOCK_LENGTH = 16384;
export const CORR_ID_LENGTH = 24;

/** The first version with a feature. */
export const SINCE = {
  authenticators: 7,
  proxy: 8,
  senderSecures: 9,
  deleted: 10,
  blockEncryption: 11,
  proxyFlag: 14,
  links: 15,
  services: 16,
  notifierInNew: 17,
  names: 20,
};

/** The longest body of SEND. */
export function maxBody(version) {
  if (version >= 11) return 16048;
  return version >= 9 ? 16064 : 16088;
}

/**
 * @param {Buffer} text a relay's hello without padding
 * @returns {{min: number, max: number, sessionId: Buffer, chain: Buffer[], signedKey: Buffer|null}} bytes after these are for later versions
 */
export function parseServerHello(text) {
  const reader = new Reader(text);
  const [min, max, sessionId] = [reader.u16(), reader.u16(), reader.short()];
  if (max < SINCE.authenticators) return { min, max, sessionId, chain: [], signedKey: null };
  const chain = reader.list(reader.u8(), reader.large);
  return { min, max, sessionId, chain, signedKey: reader.large() };
}

/** `key` is the client's X25519 key for this session; it is left out below v7. */
export function clientHello({ version, keyHash, key }) {
  return concat(
    u16(version),
    short(keyHash),
    version >= SINCE.authenticators ? encodedKey(key) : EMPTY,
    version >= SINCE.proxyFlag ? 'F' : EMPTY,
    version >= SINCE.services ? '0' : EMPTY,
  );
}

/** The chain keys that a session begins with. */
export function firstChains(sessionId, secret) {
  const bytes = hkdf(secret, sessionId, 'SimpleXSbChainInit', 64);
  return { toClient: bytes.subarray(0, 32), toServer: bytes.subarray(32) };
}

/** One direction of a session: pads blocks and, from v11 on, encrypts each with the next key of a chain. */
export class Direction {
  #chain;

  /** @param {Buffer|null} chain null below v11 */
  constructor(chain) {
    this.#chain = chain;
  }

  wrap(text) {
    return this.protect(pad(text, this.textLength));
  }

  /** Of a block that is padded already, rightly or not. */
  protect(padded) {
    if (this.#chain === null) return padded;
    const { key, nonce } = this.#next();
    return seal(key, nonce, padded);
  }

  unwrap(block) {
    if (this.#chain === null) return unpad(block, 'block');
    const { key, nonce } = this.#next();
    return unpad(open(key, nonce, block, 'block'), 'block');
  }

  /** Of a padded text, its u16 length included. */
  get textLength() {
    return this.#chain === null ? BLOCK_LENGTH : BLOCK_LENGTH - TAG_LENGTH;
  }

  #next() {
    const bytes = hkdf(this.#chain, EMPTY, 'SimpleXSbChain', 32 + 32 + NONCE_LENGTH);
    this.#chain = bytes.subarray(0, 32);
    return { key: bytes.subarray(32, 64), nonce: bytes.subarray(64) };
  }
}

export function encodeBatch(items) {
  return concat(u8(items.length), ...items.map(large));
}

export function decodeBatch(text) {
  const reader = new Reader(text);
  const count = reader.u8();
  if (count === 0) throw new ProtocolError('a block without transmissions');
  const items = reader.list(count, reader.large);
  reader.end('the last transmission');
  return items;
}

/**
 * @param {{version: number, sessionId: Buffer, serverKey: Buffer|null}} session where the command is verified
 * @param {object} sent `key` authorises it, or is null
 */
export function encodeTransmission(session, { corrId, entityId, command, key = null }) {
  const body = concat(short(corrId), short(entityId), command);
  const authorized = concat(short(session.sessionId), body);
  const authorization = key === null ? EMPTY : authorize(session, key, corrId, authorized);
  const service = session.version >= SINCE.services && authorization.length > 0 ? '0' : EMPTY;
  return concat(short(authorization), service, session.version < SINCE.authenticators ? authorized : body);
}

/** Of a relay, which authorises nothing. */
export function decodeTransmission({ version, sessionId }, bytes) {
  const reader = new Reader(bytes);
  if (reader.short().length > 0) throw new ProtocolError('a relay authorised its transmission');
  if (version < SINCE.authenticators && !reader.short().equals(sessionId))
    throw new ProtocolError('a transmission with another session id');
  const corrId = reader.short();
  if (corrId.length !== 0 && corrId.length !== CORR_ID_LENGTH) throw new ProtocolError(`a correlation id of ${corrId.length} bytes`);
  return { corrId, entityId: reader.short(), body: reader.rest() };
}

function authorize({ serverKey }, key, corrId, authorized) {
  return key.kind === 'ed25519' ? sign(key, authorized) : authenticator(agree(key, serverKey), corrId, authorized);
}
