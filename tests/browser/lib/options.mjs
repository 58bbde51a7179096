import { parseArgs } from 'node:util';

/** The command line is wrong. */
export class UsageError extends Error {}

const CHOICES = {
  role: ['caller', 'callee'],
  version: ['1', '2'],
  media: ['audio', 'video'],
  generation: ['new', 'old'],
  transform: ['script', 'streams'],
  encryption: ['on', 'off'],
  end: ['self', 'peer'],
};

/** The command line options of every program that runs a page in a call. */
export const CALL_OPTIONS = {
  role: { type: 'string' },
  version: { type: 'string' },
  media: { type: 'string' },
  generation: { type: 'string', default: 'new' },
  transform: { type: 'string', default: 'script' },
  encryption: { type: 'string', default: 'on' },
  'late-candidates': { type: 'boolean', default: false },
  'audio-in': { type: 'string' },
  'audio-out': { type: 'string' },
  seconds: { type: 'string', default: '5' },
  end: { type: 'string', default: 'self' },
};

/**
 * Reads command line words.
 * @param {string[]} args
 * @param {object} options for `node:util`'s parseArgs
 * @returns {object} the values, with `seconds` as a number and every option of a choice checked
 */
export function readOptions(args, options) {
  const values = parse(args, options);
  for (const [name, choices] of Object.entries(CHOICES)) {
    if (name in options && !choices.includes(values[name])) {
      throw new UsageError(`--${name} ${values[name] ?? 'is missing and'} must be ${choices.join(' or ')}`);
    }
  }
  return { ...values, seconds: seconds('seconds', values.seconds) };
}

/** The page's options out of command line values. */
export function pageOptions({ role, version, media, generation, transform, encryption, 'late-candidates': lateCandidates }) {
  return { role, version: Number(version), media, generation, transform, encryption: encryption === 'on', lateCandidates };
}

/** A whole number of seconds from 1 to 3,600. */
export function seconds(name, text) {
  const number = Number(text);
  if (/^\d{1,4}$/.test(text) && number >= 1 && number <= 3600) return number;
  throw new UsageError(`--${name} ${text} must be a number of seconds from 1 to 3600`);
}

function parse(args, options) {
  try {
    return parseArgs({ args, options, strict: true, allowPositionals: false }).values;
  } catch (error) {
    throw new UsageError(error.message);
  }
}
