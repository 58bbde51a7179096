/** The strings and numbers that SMP is made of, and keys as SubjectPublicKeyInfo. */
import { ProtocolError } from './box.mjs';

export const EMPTY = Buffer.alloc(0);
const SPKI_LENGTH = 44;
const SPKI_HEAD = { x25519: Buffer.from('302a300506032b656e032100', 'hex'), ed25519: Buffer.from('302a300506032b6570032100', 'hex') };

export const concat = (...parts) => Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(part) : part)));

export function u8(value) {
  if (!(value >= 0 && value <= 0xff)) throw new RangeError(`${value} is not one byte`);
  return Buffer.from([value]);
}

export function u16(value) {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(value);
  return bytes;
}

export function i64(value) {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64BE(BigInt(value));
  return bytes;
}

/** u8 length ‖ bytes */
export function short(bytes) {
  const buffer = concat(bytes);
  return concat(u8(buffer.length), buffer);
}

/** u16 length ‖ bytes */
export function large(bytes) {
  return concat(u16(bytes.length), bytes);
}

/** `0`, or `1` and the encoded value. */
export function maybe(value, encode) {
  return value === null || value === undefined ? Buffer.from('0') : concat('1', encode(value));
}

export function spki({ kind, publicKey }) {
  return concat(SPKI_HEAD[kind], publicKey);
}

/** A key as commands carry it: u8 length ‖ SPKI. */
export function encodedKey(key) {
  return short(spki(key));
}

export function fromSpki(der) {
  const kind = Object.keys(SPKI_HEAD).find((name) => der.length === SPKI_LENGTH && der.subarray(0, 12).equals(SPKI_HEAD[name]));
  if (kind === undefined) throw new ProtocolError(`no X25519 or Ed25519 key: ${der.toString('hex')}`);
  return { kind, publicKey: der.subarray(12) };
}

/** Reads from the front; every method throws ProtocolError where the bytes do not allow it. */
export class Reader {
  #bytes;
  #at = 0;

  constructor(bytes) {
    this.#bytes = Buffer.from(bytes);
  }

  take(length) {
    if (length > this.left) throw new ProtocolError(`${length} bytes should follow, ${this.left} are there`);
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  get left() {
    return this.#bytes.length - this.#at;
  }

  u8 = () => this.take(1)[0];
  u16 = () => this.take(2).readUInt16BE();
  i64 = () => Number(this.take(8).readBigInt64BE());
  short = () => this.take(this.u8());
  large = () => this.take(this.u16());
  rest = () => this.take(this.left);
  key = () => fromSpki(this.short());
  x25519 = () => {
    const { kind, publicKey } = this.key();
    if (kind !== 'x25519') throw new ProtocolError(`an ${kind} key where an X25519 key should be`);
    return publicKey;
  };

  /** One of the letters in `letters`. */
  letter(letters) {
    const letter = String.fromCharCode(this.u8());
    if (!letters.includes(letter)) throw new ProtocolError(`${JSON.stringify(letter)} where one of ${letters} should be`);
    return letter;
  }

  maybe(read) {
    return this.letter('01') === '1' ? read() : null;
  }

  list(count, read) {
    return Array.from({ length: count }, read);
  }

  end(what) {
    if (this.left > 0) throw new ProtocolError(`${this.left} bytes too many after ${what}`);
  }
}
