import { frameTransform, noFrames } from './frame-counts.js';
import { frameKey } from './frames.js';

/**
 * Frame encryption of a call by one of the two interfaces that browsers have for it. Both need a peer connection made with
 * `encodedInsertableStreams: true`: without it Chromium sends and accepts frames that no transform has seen if the transform
 * is attached later than in the task that made the sender or receiver.
 * @param {'script'|'streams'} transform
 * @param {Uint8Array} key 32 bytes
 * @returns {Promise<{protect(transceiver: RTCRtpTransceiver): void, counts(): Promise<object>, close(): void}>}
 */
export function protection(transform, key) {
  return transform === 'script' ? scriptTransforms(key) : encodedStreams(key);
}

/** RTCRtpScriptTransform: frames are changed in a worker. */
async function scriptTransforms(key) {
  const worker = new Worker('transform-worker.js', { type: 'module' });
  const ask = (question) =>
    new Promise((resolve, reject) => {
      worker.onmessage = ({ data }) => resolve(data);
      worker.onerror = ({ message }) => reject(new Error(`frame transform worker: ${message}`));
      worker.postMessage(question);
    });
  await ask({ key });
  return {
    protect({ sender, receiver }) {
      const medium = receiver.track.kind;
      sender.transform = new RTCRtpScriptTransform(worker, { operation: 'encrypt', medium });
      receiver.transform = new RTCRtpScriptTransform(worker, { operation: 'decrypt', medium });
    },
    counts: () => ask({}),
    close: () => worker.terminate(),
  };
}

/** createEncodedStreams: frames are changed in the page. */
async function encodedStreams(keyBytes) {
  const key = await frameKey(keyBytes);
  const counts = { audio: noFrames(), video: noFrames() };
  const pipe = (end, operation, medium) => {
    const { readable, writable } = end.createEncodedStreams();
    // Closing the connection breaks the pipe, which is no error.
    readable.pipeThrough(frameTransform(operation, key, counts[medium])).pipeTo(writable).catch(() => {});
  };
  return {
    protect({ sender, receiver }) {
      pipe(sender, 'encrypt', receiver.track.kind);
      pipe(receiver, 'decrypt', receiver.track.kind);
    },
    counts: async () => structuredClone(counts),
    close() {},
  };
}
