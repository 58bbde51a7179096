#!/usr/bin/env node
/**
 * Runs a call between Chromium and a command that speaks chat messages on its standard streams, and judges it.
 * Prints one JSON object. See README.md for its exit status.
 */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { setTimeout as sleep } from 'node:timers/promises';
import { openBrowser } from './lib/browser.mjs';
import { runCall } from './lib/call.mjs';
import { Command } from './lib/command.mjs';
import { CALL_OPTIONS, pageOptions, readOptions, seconds, UsageError } from './lib/options.mjs';
import { keepSound } from './lib/report.mjs';

const USAGE = `usage: run.mjs --role caller|callee --version 1|2 --media audio|video [--generation new|old] [--transform script|streams]
               [--encryption on|off] [--late-candidates] [--audio-in FILE.wav] [--audio-out FILE.wav]
               [--seconds N] [--end self|peer] [--limit SECONDS] -- COMMAND ARGS…
       run.mjs --self-test`;
const STATUS = { ok: 0, commandFailed: 1, pageFailed: 2, outOfTime: 3, usage: 64 };
/** How long after the end of the call the command may take to leave. */
const LEAVE_MS = 15_000;
const LEAVE_FAILED_CALL_MS = 3_000;
/** How long page and command may take to stop when the time limit is over. */
const GIVE_UP_MS = 5_000;

async function main(args) {
  if (args.length === 1 && args[0] === '--self-test') return selfTest();
  const split = args.indexOf('--');
  const command = split < 0 ? [] : args.slice(split + 1);
  if (command.length === 0) throw new UsageError('no command after --');
  const options = readOptions(args.slice(0, split), { ...CALL_OPTIONS, limit: { type: 'string' } });
  const limit = options.limit === undefined ? options.seconds + 120 : seconds('limit', options.limit);
  const outcome = await judge(options, command, limit);
  process.stdout.write(`${JSON.stringify(outcome, null, 1)}\n`);
  return STATUS[outcome.verdict];
}

async function judge(options, words, limit) {
  const browser = await openBrowser({ audioIn: options['audio-in'] });
  let command;
  try {
    const page = await browser.newPeer(pageOptions(options));
    command = new Command(words);
    const ended = call(page, command, options);
    const outcome = (await within(limit * 1000, ended)) ?? (await giveUp(page, command, ended, limit));
    return { ...outcome, chromium: browser.version };
  } finally {
    command?.kill();
    await browser.close();
  }
}

async function call(page, command, { role, seconds, end, 'audio-out': audioOut }) {
  let over = false;
  let goneEarly = false;
  command.gone.then((outcome) => {
    goneEarly = !over;
    page.abandon(`the command is gone without x.call.end: ${JSON.stringify(outcome)}`);
  });
  const report = keepSound(await runCall(page, command, { role, seconds, end }), audioOut);
  over = true;
  const leftByItself = (await within(report.error ? LEAVE_FAILED_CALL_MS : LEAVE_MS, command.gone)) !== undefined;
  if (!leftByItself) command.kill();
  const outcome = { ...(await command.gone), leftByItself };
  return { ...verdict(report, outcome, end, goneEarly), page: report, command: outcome };
}

function verdict(report, { exitStatus, leftByItself }, end, goneEarly) {
  const failed = (reason) => ({ verdict: 'commandFailed', reason });
  if (report.error) return goneEarly ? failed(report.error) : { verdict: 'pageFailed', reason: report.error };
  if (report.endedBy !== end) return failed('the command ended the call before its time');
  if (!leftByItself) return failed(`the command was still there ${LEAVE_MS / 1000} s after the call`);
  if (exitStatus !== 0) return failed(`the command's exit status is ${exitStatus}`);
  return { verdict: 'ok', reason: null };
}

async function giveUp(page, command, ended, limit) {
  const reason = `the time limit of ${limit} s is over`;
  await within(GIVE_UP_MS, page.abandon(reason));
  command.kill();
  return { ...(await within(GIVE_UP_MS, ended)), verdict: 'outOfTime', reason };
}

/** What `promise` resolves with, or undefined if that takes longer. */
function within(milliseconds, promise) {
  return Promise.race([promise, sleep(milliseconds, undefined, { ref: false })]);
}

function selfTest() {
  const tests = spawn(process.execPath, ['--test', fileURLToPath(new URL('self-test.mjs', import.meta.url))], { stdio: 'inherit' });
  return new Promise((resolve) => tests.on('close', (status) => resolve(status ?? 1)));
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(signal, () => process.exit(STATUS.outOfTime));

main(process.argv.slice(2)).then(
  (status) => process.exit(status),
  (error) => {
    const usage = error instanceof UsageError;
    process.stderr.write(usage ? `${error.message}\n${USAGE}\n` : `${error.stack}\n`);
    if (!usage) process.stdout.write(`${JSON.stringify({ verdict: 'pageFailed', reason: error.message })}\n`);
    process.exit(usage ? STATUS.usage : STATUS.pageFailed);
  },
);
