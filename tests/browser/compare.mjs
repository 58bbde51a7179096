#!/usr/bin/env node
/**
 * Says whether the sound that arrived is the sound that was sent: `node compare.mjs SENT.wav RECEIVED.wav`. Prints one JSON object.
 * Exit status 0 if it is, 1 if it is not, 64 on wrong use.
 */
import { realpathSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { fft, nextPowerOfTwo } from './lib/fft.mjs';
import { readWav } from './lib/wav.mjs';

const RATE = 8000;
const WINDOW = RATE / 2;
const HOP = RATE / 4;
/** A window quieter than this share of the loudest one says nothing: it is a pause, or comfort noise. */
const QUIET = 0.2;
/** Opus and a jitter buffer leave 0.85 to 0.96; other words of the same voice reach 0.51. */
const SAME_WAVEFORM = 0.75;
/** Neighbouring windows follow each other if their places in the sent sound are this much apart or less from where they should be. */
const STRETCH = 0.06 * RATE;
/** One jump of the sound in three seconds leaves 0.8 and more; other words of the same voice reach 0.54. */
const SAME_ORDER = 0.6;
const MIN_WINDOWS = 3;
/** Of a long recording, as many windows are searched for, spread evenly. */
const MAX_WINDOWS = 40;

/**
 * Compares two WAV files of any rates.
 *
 * A jitter buffer stretches and shortens sound as it plays, and jumps when the network or the machine stalls, so one correlation over
 * everything would lose its alignment. Received sound is therefore cut into windows of half a second, and each that is loud enough is
 * searched for in the sent sound by normalised cross-correlation, at 8 kHz. `waveform` is the median of the windows' peaks: it tells
 * that the very samples are those sent. `order` is the share of neighbouring windows that were found one after the other: it tells
 * that the pieces make up the same whole. The sent sound may be played once or over and over.
 *
 * @returns {{same: boolean, waveform: number, order: number, windows: number, delaySeconds: number|null}} `delaySeconds` is how much
 *   later the best window is in the received file than in the sent one, reckoned from the sent sound's latest repetition
 */
export function compareWavs(sentFile, receivedFile) {
  const sent = load(sentFile);
  const received = load(receivedFile);
  if (sent.length < WINDOW) throw new Error(`${sentFile} is shorter than ${WINDOW / RATE} s`);
  const reference = looped(sent, WINDOW);
  const windows = loudWindows(received).map((start) => ({ start, ...bestMatch(reference, received.subarray(start, start + WINDOW)) }));
  const waveform = median(windows.map(({ peak }) => peak));
  const order = shareInOrder(windows, sent.length);
  const best = windows.toSorted((a, b) => b.peak - a.peak)[0];
  return {
    same: windows.length >= MIN_WINDOWS && waveform >= SAME_WAVEFORM && order >= SAME_ORDER,
    waveform,
    order,
    windows: windows.length,
    delaySeconds: best ? modulo(best.start - best.lag, sent.length) / RATE : null,
  };
}

function load(file) {
  const { sampleRate, samples } = readWav(file);
  return withoutMean(resample(samples, sampleRate));
}

/** To 8 kHz by a windowed sinc that cuts off at 3.6 kHz or below the source's own limit. */
function resample(samples, from) {
  const cutoff = Math.min(3600, 0.45 * from) / from;
  const reach = Math.ceil(8 / cutoff);
  const kernels = new Map();
  const out = new Float64Array(Math.floor((samples.length * RATE) / from));
  for (let at = 0; at < out.length; at += 1) {
    // The place in the source is a whole number of samples and this many parts in 8000.
    const parts = (at * from) % RATE;
    if (!kernels.has(parts)) kernels.set(parts, sinc(cutoff, reach, parts / RATE));
    const kernel = kernels.get(parts);
    const first = (at * from - parts) / RATE - reach;
    for (let tap = Math.max(0, -first); tap < kernel.length && first + tap < samples.length; tap += 1) {
      out[at] += samples[first + tap] * kernel[tap];
    }
  }
  return out;
}

/** A low-pass filter about a centre that lies `fraction` of a sample behind its middle tap, under a Hann window. */
function sinc(cutoff, reach, fraction) {
  return Float64Array.from({ length: 2 * reach + 1 }, (_, tap) => {
    const distance = tap - reach - fraction;
    if (Math.abs(distance) >= reach) return 0;
    const phase = 2 * Math.PI * cutoff * distance;
    return 2 * cutoff * (phase === 0 ? 1 : Math.sin(phase) / phase) * (0.5 + 0.5 * Math.cos((Math.PI * distance) / reach));
  });
}

function loudWindows(samples) {
  const starts = [];
  for (let start = 0; start + WINDOW <= samples.length; start += HOP) starts.push(start);
  const loudness = starts.map((start) => rms(samples.subarray(start, start + WINDOW)));
  const limit = QUIET * Math.max(...loudness);
  const loud = starts.filter((_, index) => loudness[index] > limit);
  const step = Math.max(1, loud.length / MAX_WINDOWS);
  return Array.from({ length: Math.floor(loud.length / step) }, (_, index) => loud[Math.floor(index * step)]);
}

function shareInOrder(windows, length) {
  const following = windows.slice(1).filter(({ start, lag }, index) => {
    const before = windows[index];
    const off = modulo(start - before.start - (lag - before.lag), length);
    return Math.min(off, length - off) <= STRETCH;
  });
  return windows.length < 2 ? 0 : following.length / (windows.length - 1);
}

function modulo(value, length) {
  return ((value % length) + length) % length;
}

/** The sound, repeated until a piece of `more` samples can begin anywhere in its first turn. */
function looped(samples, more) {
  return Float64Array.from({ length: samples.length + more }, (_, at) => samples[at % samples.length]);
}

/**
 * The highest correlation of `piece`, whose mean is near 0, with any stretch of `reference`, each divided by both stretches'
 * energies (about their means), and where that stretch begins.
 */
function bestMatch(reference, piece) {
  const products = correlate(reference, piece);
  const pieceEnergy = piece.reduce((sum, value) => sum + value * value, 0);
  const [sums, squares] = [runningSums(reference), runningSums(reference.map((value) => value * value))];
  const floor = (1e-4 * squares.at(-1) * piece.length) / reference.length;
  let best = { peak: 0, lag: 0 };
  for (let lag = 0; lag + piece.length <= reference.length; lag += 1) {
    const end = lag + piece.length;
    const energy = squares[end] - squares[lag] - (sums[end] - sums[lag]) ** 2 / piece.length;
    const peak = energy > floor ? products[lag] / Math.sqrt(energy * pieceEnergy) : 0;
    if (peak > best.peak) best = { peak, lag };
  }
  return best;
}

/** Sums of products of `piece` with `reference` from each position on. */
function correlate(reference, piece) {
  const size = nextPowerOfTwo(reference.length + piece.length);
  const [a, b] = [reference, piece].map((values) => {
    const real = new Float64Array(size);
    real.set(values);
    const spectrum = { real, imaginary: new Float64Array(size) };
    fft(spectrum);
    return spectrum;
  });
  // a · conj(b), conjugated once more so that a forward transform goes back.
  const product = { real: new Float64Array(size), imaginary: new Float64Array(size) };
  for (let at = 0; at < size; at += 1) {
    product.real[at] = a.real[at] * b.real[at] + a.imaginary[at] * b.imaginary[at];
    product.imaginary[at] = a.real[at] * b.imaginary[at] - a.imaginary[at] * b.real[at];
  }
  fft(product);
  return product.real.map((value) => value / size);
}

function runningSums(values) {
  const sums = new Float64Array(values.length + 1);
  for (let at = 0; at < values.length; at += 1) sums[at + 1] = sums[at] + values[at];
  return sums;
}

function withoutMean(values) {
  const mean = values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
  return values.map((value) => value - mean);
}

function rms(values) {
  return Math.sqrt(values.reduce((sum, value) => sum + value * value, 0) / values.length);
}

function median(values) {
  return values.length === 0 ? 0 : values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
}

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const files = process.argv.slice(2);
  if (files.length !== 2) {
    process.stderr.write('usage: compare.mjs SENT.wav RECEIVED.wav\n');
    process.exit(64);
  }
  const result = compareWavs(...files);
  process.stdout.write(`${JSON.stringify(result)}\n`);
  process.exitCode = result.same ? 0 : 1;
}
