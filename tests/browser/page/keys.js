import { base64url, fromBase64url } from './bytes.js';

const X25519 = { name: 'X25519' };
const SPKI_PREFIX = 'MCowBQYDK2VuAyEA';

/** A new X25519 key pair: `privateKey`, and `sent`, the public key as chat messages carry it. */
export async function newKeyPair() {
  const { privateKey, publicKey } = await crypto.subtle.generateKey(X25519, true, ['deriveBits']);
  return { privateKey, sent: base64url(new Uint8Array(await crypto.subtle.exportKey('spki', publicKey))) };
}

/** Whether `text` is an X25519 public key as chat messages carry it: padded base64url of 44 bytes of DER. */
export function isSentKey(text) {
  return typeof text === 'string' && text.startsWith(SPKI_PREFIX) && /^[\w-]{59}=$/.test(text);
}

/**
 * The 32-byte media key of a call: the bare X25519 result in version 1, in version 2 derived from it with HKDF-SHA512.
 * @param {{version: number, callId: string, privateKey: CryptoKey, peerKey: string}} inputs
 */
export async function mediaKey({ version, callId, privateKey, peerKey }) {
  const publicKey = await crypto.subtle.importKey('spki', fromBase64url(peerKey), X25519, false, []);
  const dh = await crypto.subtle.deriveBits({ ...X25519, public: publicKey }, privateKey, 256);
  if (version === 1) return new Uint8Array(dh);
  const material = await crypto.subtle.importKey('raw', dh, 'HKDF', false, ['deriveBits']);
  const info = new TextEncoder().encode('SimpleXCallMediaKey');
  const derivation = { name: 'HKDF', hash: 'SHA-512', salt: fromBase64url(callId), info };
  return new Uint8Array(await crypto.subtle.deriveBits(derivation, material, 256));
}
