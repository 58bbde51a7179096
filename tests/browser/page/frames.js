import { randomBytes } from './bytes.js';

const IV_BYTES = 12;
const CLEAR_BYTES = { key: 10, delta: 3 };

/** Imports 32 bytes as the AES-256-GCM key of both directions. */
export function frameKey(bytes) {
  return crypto.subtle.importKey('raw', bytes, 'AES-GCM', false, ['encrypt', 'decrypt']);
}

/**
 * Encrypts one encoded frame: clear header ‖ ciphertext ‖ tag ‖ IV, or clear header ‖ IV where nothing is left to encrypt.
 * @param {CryptoKey} key
 * @param {Uint8Array} frame
 * @param {string|undefined} type `key`, `delta` or `empty` of a video frame, undefined for audio
 * @param {Uint8Array} iv 12 bytes, random outside tests
 */
export async function encryptFrame(key, frame, type, iv = randomBytes(IV_BYTES)) {
  const clear = frame.subarray(0, clearBytes(type));
  const plain = frame.subarray(clear.length);
  const sealed = plain.length === 0 ? [] : new Uint8Array(await crypto.subtle.encrypt({ name: 'AES-GCM', iv }, key, plain));
  const out = new Uint8Array(clear.length + sealed.length + IV_BYTES);
  out.set(clear);
  out.set(sealed, clear.length);
  out.set(iv, clear.length + sealed.length);
  return out;
}

/** Reverses {@link encryptFrame}; throws where the frame is not authentic. Accepts an empty ciphertext with and without tag. */
export async function decryptFrame(key, frame, type) {
  if (frame.length < IV_BYTES) throw new Error(`a frame of ${frame.length} bytes has no room for its IV`);
  const iv = frame.subarray(frame.length - IV_BYTES);
  const clear = frame.subarray(0, clearBytes(type));
  const sealed = frame.subarray(clear.length, Math.max(clear.length, frame.length - IV_BYTES));
  const plain = sealed.length === 0 ? [] : new Uint8Array(await crypto.subtle.decrypt({ name: 'AES-GCM', iv }, key, sealed));
  const out = new Uint8Array(clear.length + plain.length);
  out.set(clear);
  out.set(plain, clear.length);
  return out;
}

function clearBytes(type) {
  return CLEAR_BYTES[type] ?? 1;
}
