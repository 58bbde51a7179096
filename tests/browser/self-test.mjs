/**
 * Proves the peer itself: golden bytes, page against page, and `run.mjs` against the peer as a command.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { compareWavs } from './compare.mjs';
import { openBrowser } from './lib/browser.mjs';
import { runCall } from './lib/call.mjs';
import { keepSound } from './lib/report.mjs';

const SPEECH = process.env.SPEECH ?? '/usr/share/sounds/alsa';
const VOICE = { caller: join(SPEECH, 'Front_Left.wav'), callee: join(SPEECH, 'Side_Right.wav') };
const SECONDS = 3;
const LIMIT = { timeout: 120_000 };
const DEFAULTS = { version: 2, generation: 'new', transform: 'script', encryption: true, lateCandidates: false };

const folder = mkdtempSync(join(tmpdir(), 'browser-peer-'));
const heard = { caller: join(folder, 'heard-by-caller.wav'), callee: join(folder, 'heard-by-callee.wav') };
const browsers = {};

before(async () => {
  for (const file of Object.values(VOICE)) {
    assert(existsSync(file), `${file} is missing: install alsa-utils, or set SPEECH to a folder with its WAV files`);
  }
  for (const role of ['caller', 'callee']) browsers[role] = await openBrowser({ audioIn: VOICE[role] });
});

after(async () => {
  for (const browser of Object.values(browsers)) await browser.close();
  rmSync(folder, { recursive: true });
});

test('golden frames, LZ-string, keys and messages come out byte for byte', LIMIT, async (t) => {
  const vector = (name) => JSON.parse(readFileSync(new URL(`vectors/${name}.json`, import.meta.url)));
  const { checks, wrong } = await browsers.caller.checkGolden(vector('call_frames'), vector('chat_calls'));
  assert.deepEqual(wrong, []);
  t.diagnostic(`${checks} checks in Chromium ${browsers.caller.version}`);
});

for (const version of [1, 2]) {
  for (const media of ['audio', 'video']) {
    for (const transform of ['script', 'streams']) {
      pageAgainstPage(`version ${version}, ${media}, ${transform}`, { media, version, transform }, {}, (reports) => {
        for (const { callVersion, encrypted } of reports) assert.deepEqual({ callVersion, encrypted }, { callVersion: version, encrypted: true });
      });
    }
  }
}

pageAgainstPage('version 1 calls version 2', { media: 'audio', version: 1 }, { version: 2 }, (reports) => {
  for (const { callVersion } of reports) assert.equal(callVersion, 1);
});

const oldCallee = { version: 1, generation: 'old' };
pageAgainstPage('version 2 calls version 1 of the old generation', { media: 'video', transform: 'streams' }, oldCallee, (reports) => {
  for (const { callVersion } of reports) assert.equal(callVersion, 1);
  assert.deepEqual(kinds(reports[0]), ['audio', 'video']);
});

const oldCaller = { media: 'audio', version: 1, generation: 'old' };
pageAgainstPage('the old generation calls the new one', oldCaller, { version: 2, generation: 'new' }, (reports) => {
  assert.deepEqual(kinds(reports[0]), ['audio', 'video', 'audio', 'video']);
});

pageAgainstPage('no frame encryption where one side has none', { media: 'video' }, { encryption: false }, (reports) => {
  for (const { encrypted, frames } of reports) assert.deepEqual({ encrypted, frames }, { encrypted: false, frames: null });
});

pageAgainstPage('candidates that come after the sessions', { media: 'audio', lateCandidates: true }, {}, (reports) => {
  for (const { received } of reports) assert(received['x.call.extra'] >= 1, 'candidates came in x.call.extra');
});

test('run.mjs as caller ends the call of a command', LIMIT, async () => {
  await callACommand('caller', 'self');
});

test('run.mjs as callee hears a command end the call', LIMIT, async () => {
  await callACommand('callee', 'peer');
});

test('run.mjs tells failures apart', LIMIT, async () => {
  const run = (...words) => runProgram(['--role', 'caller', '--version', '2', '--media', 'audio', ...words]);
  const node = (script) => ['--', process.execPath, '-e', script];
  const [useless, garbage, silent, wrong] = [
    await run(...node('process.exit(7)')),
    await run(...node('console.log("hello"); setTimeout(() => {}, 1e6)')),
    await run('--limit', '3', ...node('setTimeout(() => {}, 1e6)')),
    await run('--end', 'never', ...node('')),
  ];
  assert.deepEqual([useless.status, useless.outcome.command.exitStatus], [1, 7]);
  assert.deepEqual([garbage.status, garbage.outcome.verdict], [2, 'pageFailed']);
  assert.match(garbage.outcome.reason, /no chat message: hello/);
  assert.deepEqual([silent.status, silent.outcome.verdict], [3, 'outOfTime']);
  assert.equal(wrong.status, 64);
});

test('a run.mjs that is told to stop takes its command along', LIMIT, async () => {
  const script = 'console.error("here"); setTimeout(() => {}, 1e6)';
  const run = spawnProgram(['--role', 'caller', '--version', '2', '--media', 'audio', '--', process.execPath, '-e', script]);
  await new Promise((resolve) => run.stderr.once('data', resolve));
  run.kill('SIGTERM');
  // The command holds standard error open as long as it lives.
  const status = await new Promise((resolve) => run.on('close', resolve));
  assert.equal(status, 3);
});

/** A call of one page with another, judged on both sides; `check` gets the caller's and the callee's reports. */
function pageAgainstPage(name, caller, callee, check) {
  test(`page against page: ${name}`, LIMIT, async (t) => {
    const options = { caller: { ...DEFAULTS, ...caller, role: 'caller' }, callee: { ...DEFAULTS, ...caller, ...callee, role: 'callee' } };
    const pages = { caller: await browsers.caller.newPeer(options.caller), callee: await browsers.callee.newPeer(options.callee) };
    const reports = { caller: runCall(pages.caller, pages.callee, { role: 'caller', seconds: SECONDS, end: 'self' }), callee: pages.callee.over };
    for (const role of ['caller', 'callee']) reports[role] = keepSound(await reports[role], heard[role]);
    await Promise.all([pages.caller.close(), pages.callee.close()]);
    for (const role of ['caller', 'callee']) judge(t, reports[role], options[role], role === 'caller' ? 'self' : 'peer');
    check([reports.caller, reports.callee]);
  });
}

async function callACommand(role, end) {
  const [ourFiles, otherRole] = [heard[role], role === 'caller' ? 'callee' : 'caller'];
  const common = ['--version', '2', '--media', 'video', '--seconds', String(SECONDS)];
  const { status, outcome } = await runProgram([
    ...common, '--role', role, '--end', end, '--audio-in', VOICE[role], '--audio-out', ourFiles,
    '--', process.execPath, program('stdio-peer.mjs'),
    ...common, '--role', otherRole, '--end', end === 'self' ? 'peer' : 'self', '--audio-in', VOICE[otherRole], '--audio-out', heard[otherRole],
  ]);
  assert.deepEqual([status, outcome?.verdict, outcome?.reason], [0, 'ok', null]);
  assert.equal(outcome.page.endedBy, end);
  assertSound(role);
  assertSound(otherRole);
}

function judge(t, report, { role, media }, endedBy) {
  assert.equal(report.error, null);
  assert.equal(report.endedBy, endedBy);
  assert.deepEqual(report.ignored, []);
  assert(report.connectedSeconds >= SECONDS - 1, `connected for ${report.connectedSeconds} s`);
  assert.equal(report.transport.dtlsState, 'connected');
  assert.match(report.transport.srtpCipher, /AES/);
  assert(report.audio.received.packets > SECONDS * 25, `${report.audio.received.packets} audio packets came`);
  assert(report.audio.received.totalAudioEnergy > 0.01, 'sound came');
  if (report.encrypted) assertEncrypted(report, media);
  if (media === 'video') assertPictures(report);
  const { waveform, order } = assertSound(role);
  const { srtpCipher, dtlsCipher, tlsVersion, dtlsRole } = report.transport;
  const figures = [
    `${role}: ${srtpCipher}, ${dtlsCipher}, TLS ${tlsVersion} ${dtlsRole}, connected in ${report.acceptToConnectedMs} ms`,
    `sound ${waveform.toFixed(2)} in order ${order.toFixed(2)}, ${report.audio.received.packets} audio packets, ${report.seen?.frames ?? 0} pictures`,
    `frames ${JSON.stringify(report.frames)}, longest message ${report.longestSent}`,
  ];
  t.diagnostic(figures.join(', '));
}

/** Every frame that was sent went through the transform, and every one that came was authentic. */
function assertEncrypted({ frames, audio, video }, media) {
  assert(frames.audio.encrypted >= audio.sent.packets, `${frames.audio.encrypted} of ${audio.sent.packets} audio frames were encrypted`);
  assert(frames.audio.decrypted > SECONDS * 25, `${frames.audio.decrypted} audio frames were decrypted`);
  if (media === 'video') {
    const encoded = video.sent.framesEncoded;
    assert(frames.video.encrypted >= encoded - 2, `${frames.video.encrypted} of ${encoded} pictures were encrypted`);
    assert(frames.video.decrypted >= video.received.framesDecoded, `${frames.video.decrypted} pictures were decrypted`);
  }
  assert.deepEqual([frames.audio.failed, frames.video.failed], [0, 0]);
}

function assertPictures({ video, seen }) {
  assert.equal(video.received.codec, 'video/VP8');
  assert(video.sent.framesEncoded > SECONDS * 2, `${video.sent.framesEncoded} pictures were sent`);
  assert(video.received.framesDecoded > SECONDS * 2, `${video.received.framesDecoded} pictures were decoded`);
  assert(seen.frames > SECONDS * 2 && seen.width > 0 && seen.lumaDeviation > 10, `pictures are no pictures: ${JSON.stringify(seen)}`);
}

/** What a side heard is what the other one said, and not what it said itself. */
function assertSound(role) {
  const other = role === 'caller' ? 'callee' : 'caller';
  const result = compareWavs(VOICE[other], heard[role]);
  assert(result.same, `the ${role} heard something else: ${JSON.stringify(result)}`);
  assert(!compareWavs(VOICE[role], heard[role]).same, `the ${role} heard itself`);
  return result;
}

function kinds({ peerSession }) {
  return peerSession.map(({ kind }) => kind);
}

async function runProgram(args) {
  const run = spawnProgram(args);
  let [printed, errors] = ['', ''];
  run.stdout.on('data', (text) => (printed += text));
  run.stderr.on('data', (text) => (errors += text));
  const status = await new Promise((resolve) => run.on('close', resolve));
  return { status, outcome: printed === '' ? null : JSON.parse(printed), errors };
}

function spawnProgram(args) {
  return spawn(process.execPath, [program('run.mjs'), ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
}

function program(name) {
  return fileURLToPath(new URL(name, import.meta.url));
}
