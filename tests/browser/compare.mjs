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
const ENVELOPE_STEP = RATE / 50;
/** Opus leaves 0.9 and more; other speech of the same voice reaches 0.5. */
const SAME_WAVEFORM = 0.75;
const SAME_ENVELOPE = 0.75;
const MIN_WINDOWS = 3;
/** Of a long recording, as many windows are searched for, spread evenly. */
const MAX_WINDOWS = 40;

/**
 * Compares two WAV files of any rates.
 *
 * A jitter buffer stretches and shortens sound as it plays, so one correlation over everything would lose its alignment. Received sound
 * is therefore cut into windows of half a second, and each that is loud enough is searched for in the sent sound by normalised
 * cross-correlation, at 8 kHz. `waveform` is the median of the windows' peaks: it tells that the very samples are those sent.
 * `envelope` is the peak of the same correlation for the loudness, in steps of 20 ms, of what was received from the first sound to the
 * last: it tells that the pieces come in the right order. The sent sound may be played once or over and over.
 *
 * @returns {{same: boolean, waveform: number, envelope: number, windows: number, delaySeconds: number|null}} `delaySeconds` is how much
 *   later sound is in the received file than in the sent one, by the envelope, and less than the sent file's length where that repeats
 */
export function compareWavs(sentFile, receivedFile) {
  const sent = load(sentFile);
  const received = load(receivedFile);
  const peaks = loudWindows(received).map((start) => bestMatch(looped(sent, WINDOW), received.subarray(start, start + WINDOW)).peak);
  const waveform = median(peaks);
  const shape = compareEnvelopes(sent, received);
  return {
    same: peaks.length >= MIN_WINDOWS && waveform >= SAME_WAVEFORM && shape.peak >= SAME_ENVELOPE,
    waveform,
    envelope: shape.peak,
    windows: peaks.length,
    delaySeconds: shape.delaySeconds,
  };
}

function load(file) {
  const { sampleRate, samples } = readWav(file);
  return withoutMean(resample(samples, sampleRate));
}

/** To 8 kHz by a windowed sinc that cuts off at 3.6 kHz or below the source's own limit. */
function resample(samples, from) {
  const cutoff = Math.min(3600, 0.45 * from) / from;
  const reach = Math.ceil(16 / cutoff / 2);
  const out = new Float64Array(Math.floor((samples.length * RATE) / from));
  for (let at = 0; at < out.length; at += 1) {
    const centre = (at * from) / RATE;
    const first = Math.max(0, Math.ceil(centre - reach));
    const last = Math.min(samples.length - 1, Math.floor(centre + reach));
    for (let tap = first; tap <= last; tap += 1) {
      const distance = tap - centre;
      const phase = 2 * Math.PI * cutoff * distance;
      const sinc = phase === 0 ? 1 : Math.sin(phase) / phase;
      out[at] += samples[tap] * 2 * cutoff * sinc * (0.5 + 0.5 * Math.cos((Math.PI * distance) / reach));
    }
  }
  return out;
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

function compareEnvelopes(sent, received) {
  const all = envelope(received);
  const limit = QUIET * Math.max(...all);
  const first = all.findIndex((loudness) => loudness > limit);
  const outline = withoutMean(all.slice(first, all.findLastIndex((loudness) => loudness > limit) + 1));
  const { peak, lag } = bestMatch(envelope(looped(sent, received.length)), outline);
  const delaySeconds = ((first - lag) * ENVELOPE_STEP) / RATE;
  const length = sent.length / RATE;
  return { peak, delaySeconds: delaySeconds < 0 ? delaySeconds + length : delaySeconds };
}

/** The sound, repeated until a piece of `more` samples can begin anywhere in its first turn. */
function looped(samples, more) {
  return Float64Array.from({ length: samples.length + more }, (_, at) => samples[at % samples.length]);
}

function envelope(samples) {
  return Float64Array.from({ length: Math.floor(samples.length / ENVELOPE_STEP) }, (_, at) =>
    rms(samples.subarray(at * ENVELOPE_STEP, (at + 1) * ENVELOPE_STEP)),
  );
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
