#!/usr/bin/env node
/**
 * Walks through everything that clients ask of an SMP relay: `node walk.mjs ADDRESS [--version N[,N…]|all] [--proxy ADDRESS] [--quota N]
 * [--json]`. Prints one line a step. Exit status 0 if everything held, 1 if anything did not, 64 on wrong use.
 */
import { realpathSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { parseAddress } from './identity.mjs';
import { errors, names, quota } from './walk/errors.mjs';
import { contactLink, linksInNew, recipients } from './walk/links.mjs';
import { batches, bodies, get, queueInfo, recipientSecures, senderSecures, subscriptions, transport } from './walk/messages.mjs';
import { mixed } from './walk/mixed.mjs';
import { lateNotifier, notifications, notifierInNew } from './walk/notifications.mjs';
import { proxy } from './walk/proxy.mjs';
import { Walk } from './walk/walk.mjs';

const ALL_VERSIONS = [6, 8, 9, 11, 14, 15, 16, 19, 20];
const LEAST_VERSION = 6;
const DEFAULT_QUOTA = 128;
const SECTIONS = [
  transport,
  recipientSecures,
  senderSecures,
  bodies,
  get,
  subscriptions,
  batches,
  queueInfo,
  notifications,
  lateNotifier,
  notifierInNew,
  contactLink,
  linksInNew,
  recipients,
  errors,
  quota,
  names,
  proxy,
];

/**
 * @param {object} options `address` and `proxy` as parseAddress gives them, `versions`, `quota`
 * @param {(step: object) => void} report is called after each step
 * @returns {Promise<{ok: boolean, steps: object[]}>}
 */
export async function walkThrough(
  { address, versions, proxy: proxyAddress = null, quota: quotaOfQueues = DEFAULT_QUOTA },
  report = () => {},
) {
  const steps = [];
  for (const version of versions) {
    const walk = new Walk({ address, version, proxy: proxyAddress, quota: quotaOfQueues }, report);
    for (const section of SECTIONS) await walk.section(section);
    steps.push(...walk.steps);
  }
  if (versions.length > 1) {
    const walk = new Walk({ address, version: versions.at(-1), quota: quotaOfQueues }, report);
    await walk.section(mixed(versions));
    steps.push(...walk.steps);
  }
  return { ok: steps.every(({ ok }) => ok), steps };
}

function wanted(args) {
  const {
    values,
    positionals: [address, ...more],
  } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      version: { type: 'string', default: 'all' },
      proxy: { type: 'string' },
      quota: { type: 'string', default: String(DEFAULT_QUOTA) },
      json: { type: 'boolean', default: false },
    },
  });
  if (address === undefined || more.length > 0) throw new Error('one address is wanted');
  const versions = values.version === 'all' ? ALL_VERSIONS : values.version.split(',').map(Number);
  const quotaOfQueues = Number(values.quota);
  if (!versions.every((version) => Number.isInteger(version) && version >= LEAST_VERSION))
    throw new Error(`no versions: ${values.version}`);
  if (!Number.isInteger(quotaOfQueues) || quotaOfQueues < 3) throw new Error(`no quota: ${values.quota}`);
  return {
    json: values.json,
    options: {
      address: parseAddress(address),
      proxy: values.proxy ? parseAddress(values.proxy) : null,
      versions: versions.toSorted((a, b) => a - b),
      quota: quotaOfQueues,
    },
  };
}

async function main(args) {
  let use;
  try {
    use = wanted(args);
  } catch (error) {
    console.error(`${error.message}\nnode walk.mjs ADDRESS [--version N[,N…]|all] [--proxy ADDRESS] [--quota N] [--json]`);
    return 64;
  }
  const line = ({ version, name, ok, error }) => console.log(`v${version} ${name}: ${ok ? 'OK' : `FAILED, ${error}`}`);
  const result = await walkThrough(use.options, use.json ? undefined : line);
  if (use.json) console.log(JSON.stringify(result, null, 2));
  else console.log(`${result.steps.filter(({ ok }) => ok).length} of ${result.steps.length} steps held`);
  return result.ok ? 0 : 1;
}

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url))
  process.exitCode = await main(process.argv.slice(2));
