import { base64 } from './bytes.js';

/**
 * Records a remote audio track as 16-bit mono PCM.
 * @returns {{stop(): Promise<{sampleRate: number, seconds: number, gaps: number, pcm: string}>}} `pcm` is base64 of little-endian samples,
 *   `gaps` how often the track's timestamps jumped
 */
export function recordAudio(track) {
  // Chromium decodes a remote track only while something plays it.
  const player = document.createElement('audio');
  player.srcObject = new MediaStream([track]);
  player.play().catch(() => {});
  const recording = { sampleRate: 48000, gaps: 0, chunks: [] };
  let due;
  const reading = readTrack(track, 200, (data) => {
    recording.sampleRate = data.sampleRate;
    if (due !== undefined && Math.abs(data.timestamp - due) > 2000) recording.gaps += 1;
    due = data.timestamp + data.duration;
    recording.chunks.push(monoSamples(data));
  });
  return {
    async stop() {
      await reading.stop();
      player.srcObject = null;
      return finished(recording);
    },
  };
}

/**
 * Looks at the pictures of a remote video track.
 * @returns {{stop(): Promise<{frames: number, width: number, height: number, meanLuma: number|null, lumaDeviation: number|null}>}}
 *   size and luma (0 to 255) are those of the last picture looked at: the first, and every tenth after it
 */
export function watchVideo(track) {
  const seen = { frames: 0, width: 0, height: 0, meanLuma: null, lumaDeviation: null };
  const reading = readTrack(track, 10, async (frame) => {
    if (seen.frames % 10 === 0) Object.assign(seen, await look(frame));
    seen.frames += 1;
  });
  return {
    async stop() {
      await reading.stop();
      return seen;
    },
  };
}

/** Hands each frame of a track to `use` until stopped. */
function readTrack(track, maxBufferSize, use) {
  const reader = new MediaStreamTrackProcessor({ track, maxBufferSize }).readable.getReader();
  let stopped = false;
  const done = (async () => {
    for (;;) {
      const { value, done: over } = await reader.read();
      if (over) return;
      // A frame that comes after the stop is closed unseen.
      if (!stopped) await use(value);
      value.close();
    }
  })();
  return {
    async stop() {
      stopped = true;
      await reader.cancel();
      await done;
    },
  };
}

function monoSamples(data) {
  const mono = new Float32Array(data.numberOfFrames);
  const plane = new Float32Array(data.numberOfFrames);
  for (let planeIndex = 0; planeIndex < data.numberOfChannels; planeIndex += 1) {
    data.copyTo(plane, { planeIndex, format: 'f32-planar' });
    for (let at = 0; at < plane.length; at += 1) mono[at] += plane[at] / data.numberOfChannels;
  }
  return mono;
}

function finished({ sampleRate, gaps, chunks }) {
  const samples = new Int16Array(chunks.reduce((length, chunk) => length + chunk.length, 0));
  let at = 0;
  for (const chunk of chunks) {
    for (const value of chunk) samples[at++] = Math.round(Math.max(-1, Math.min(1, value)) * 32767);
  }
  return { sampleRate, seconds: samples.length / sampleRate, gaps, pcm: base64(new Uint8Array(samples.buffer)) };
}

/** Size and luma of a picture whose first plane is luma (I420, NV12 and their kin, as decoders give them). */
async function look(frame) {
  const size = { width: frame.displayWidth, height: frame.displayHeight };
  if (!/^(I4|NV)/.test(frame.format ?? '')) return size;
  const planes = new Uint8Array(frame.allocationSize());
  const [{ offset, stride }] = await frame.copyTo(planes);
  const { width, height } = frame.visibleRect;
  let sum = 0;
  let squares = 0;
  for (let row = 0; row < height; row += 1) {
    for (const luma of planes.subarray(offset + row * stride, offset + row * stride + width)) {
      sum += luma;
      squares += luma * luma;
    }
  }
  const meanLuma = sum / (width * height);
  return { ...size, meanLuma, lumaDeviation: Math.sqrt(Math.max(0, squares / (width * height) - meanLuma ** 2)) };
}
