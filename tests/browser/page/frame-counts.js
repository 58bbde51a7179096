import { decryptFrame, encryptFrame } from './frames.js';

/** What happened to the frames of one medium: `empty` of them had no bytes before encryption. */
export function noFrames() {
  return { encrypted: 0, decrypted: 0, failed: 0, empty: 0 };
}

/**
 * A stream that encrypts or decrypts encoded frames and counts them. A frame that fails is dropped.
 * @param {'encrypt'|'decrypt'} operation
 * @param {CryptoKey} key
 * @param {ReturnType<typeof noFrames>} counts
 */
export function frameTransform(operation, key, counts) {
  const change = operation === 'encrypt' ? encryptFrame : decryptFrame;
  return new TransformStream({
    async transform(frame, controller) {
      const bytes = new Uint8Array(frame.data);
      if (bytes.length === 0) counts.empty += 1;
      try {
        frame.data = (await change(key, bytes, frame.type)).buffer;
      } catch {
        counts.failed += 1;
        return;
      }
      counts[`${operation}ed`] += 1;
      controller.enqueue(frame);
    },
  });
}
