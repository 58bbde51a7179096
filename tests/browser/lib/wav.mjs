import { readFileSync, writeFileSync } from 'node:fs';

const PCM = 1;
const FLOAT = 3;
const EXTENSIBLE = 0xfffe;

/**
 * Reads a WAV file of 16-bit PCM or 32-bit float as one channel, the mean of its channels.
 * @returns {{sampleRate: number, format: 'pcm16'|'float32', samples: Float64Array}} samples from -1 to 1
 */
export function readWav(file) {
  const bytes = readFileSync(file);
  if (bytes.toString('latin1', 0, 4) !== 'RIFF' || bytes.toString('latin1', 8, 12) !== 'WAVE') throw new Error(`${file} is no WAV file`);
  const { fmt, data } = chunks(bytes);
  if (!fmt || !data) throw new Error(`${file} has no ${fmt ? 'data' : 'fmt'} chunk`);
  const tag = fmt.readUInt16LE(0) === EXTENSIBLE ? fmt.readUInt16LE(24) : fmt.readUInt16LE(0);
  const [channels, sampleRate, bits] = [fmt.readUInt16LE(2), fmt.readUInt32LE(4), fmt.readUInt16LE(14)];
  const format = { [`${PCM}/16`]: 'pcm16', [`${FLOAT}/32`]: 'float32' }[`${tag}/${bits}`];
  if (!format || channels === 0) {
    throw new Error(`${file} has ${channels} channels of ${bits} bits in format ${tag}; wanted is 16-bit PCM or 32-bit float`);
  }
  const read = format === 'pcm16' ? (at) => data.readInt16LE(at * 2) / 32768 : (at) => data.readFloatLE(at * 4);
  const samples = new Float64Array(Math.floor(data.length / (channels * (bits / 8))));
  for (let at = 0; at < samples.length; at += 1) {
    for (let channel = 0; channel < channels; channel += 1) samples[at] += read(at * channels + channel) / channels;
  }
  return { sampleRate, format, samples };
}

/** Writes little-endian 16-bit mono samples as a WAV file. */
export function writeWav(file, sampleRate, pcm) {
  const header = Buffer.alloc(44);
  header.write('RIFF', 0);
  header.writeUInt32LE(36 + pcm.length, 4);
  header.write('WAVEfmt ', 8);
  header.writeUInt32LE(16, 16);
  header.writeUInt16LE(PCM, 20);
  header.writeUInt16LE(1, 22);
  header.writeUInt32LE(sampleRate, 24);
  header.writeUInt32LE(sampleRate * 2, 28);
  header.writeUInt16LE(2, 32);
  header.writeUInt16LE(16, 34);
  header.write('data', 36);
  header.writeUInt32LE(pcm.length, 40);
  writeFileSync(file, Buffer.concat([header, pcm]));
}

/** The RIFF chunks by name. A writer that was cut short may leave a data chunk longer than its file: what is there is taken. */
function chunks(bytes) {
  const found = {};
  for (let at = 12; at + 8 <= bytes.length; ) {
    const length = bytes.readUInt32LE(at + 4);
    found[bytes.toString('latin1', at, at + 4).trim()] ??= bytes.subarray(at + 8, at + 8 + length);
    at += 8 + length + (length % 2);
  }
  return found;
}
