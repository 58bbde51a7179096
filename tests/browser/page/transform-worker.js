import { frameTransform, noFrames } from './frame-counts.js';
import { frameKey } from './frames.js';

const counts = { audio: noFrames(), video: noFrames() };
let key;

onmessage = async ({ data }) => {
  if (data.key) key = await frameKey(data.key);
  postMessage(counts);
};

onrtctransform = ({ transformer }) => {
  const { operation, medium } = transformer.options;
  const changed = transformer.readable.pipeThrough(frameTransform(operation, key, counts[medium]));
  // Closing the connection breaks the pipe, which is no error.
  changed.pipeTo(transformer.writable).catch(() => {});
};
