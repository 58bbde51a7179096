#!/usr/bin/env node
/**
 * Chromium's peer as a command with chat messages on its standard streams: what `run.mjs` is tried out with.
 * Exit status 0 after a call that was connected and ended; the report goes to standard error.
 */
import { createInterface } from 'node:readline';
import { openBrowser } from './lib/browser.mjs';
import { runCall } from './lib/call.mjs';
import { CALL_OPTIONS, pageOptions, readOptions } from './lib/options.mjs';
import { keepSound } from './lib/report.mjs';

const options = readOptions(process.argv.slice(2), CALL_OPTIONS);
const browser = await openBrowser({ audioIn: options['audio-in'] });
const page = await browser.newPeer(pageOptions(options));
const lines = createInterface({ input: process.stdin });
lines.on('close', () => page.abandon('standard input is closed'));
const streams = {
  onMessage: (listener) => lines.on('line', listener),
  deliver: (line) => process.stdout.write(`${line}\n`),
};
const report = keepSound(await runCall(page, streams, options), options['audio-out']);
await browser.close();
process.stderr.write(`${JSON.stringify(report)}\n`);
process.exit(report.error ? 1 : 0);
