import { accessSync, constants, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { delimiter, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import { PagePeer } from './page-peer.mjs';
import { readWav } from './wav.mjs';

const PAGE = fileURLToPath(new URL('../page/', import.meta.url));
const LZ_STRING = createRequire(import.meta.url).resolve('lz-string');
const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];
const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--use-fake-device-for-media-stream',
  // Grants the microphone, with which Chromium stops hiding its addresses behind mDNS names.
  '--use-fake-ui-for-media-stream',
  '--autoplay-policy=no-user-gesture-required',
  '--allow-loopback-in-peer-connection',
];

/**
 * Starts Chromium with the page.
 * @param {{audioIn?: string}} options `audioIn` is a 16-bit WAV file that its microphone plays over and over, instead of beeps
 * @returns {Promise<{version: string, newPeer(options: object): Promise<PagePeer>, checkGolden(...vectors): Promise<object>,
 *   close(): Promise<void>}>}
 */
export async function openBrowser({ audioIn }) {
  const flags = [...FLAGS];
  if (audioIn !== undefined) {
    if (readWav(audioIn).format !== 'pcm16') throw new Error(`${audioIn}: Chromium's microphone plays 16-bit WAV files alone`);
    flags.push(`--use-file-for-fake-audio-capture=${resolve(audioIn)}`);
  }
  const browser = await chromium.launch({ executablePath: chromiumPath(), args: flags });
  const server = await servePage().catch(async (error) => {
    await browser.close();
    throw error;
  });
  const newPage = async () => {
    const page = await (await browser.newContext()).newPage();
    return { page, load: () => page.goto(`http://127.0.0.1:${server.address().port}/index.html`) };
  };
  return {
    version: browser.version(),
    newPeer: async (options) => PagePeer.open(await newPage(), options),
    async checkGolden(...vectors) {
      const { page, load } = await newPage();
      await load();
      const result = await page.evaluate((given) => window.control.checkGolden(...given), vectors);
      await page.context().close();
      return result;
    },
    async close() {
      server.close();
      server.closeAllConnections();
      await browser.close();
    },
  };
}

/** Chromium's program: `$CHROMIUM`, or the first known name in `$PATH`. */
function chromiumPath() {
  if (process.env.CHROMIUM) return process.env.CHROMIUM;
  const folders = (process.env.PATH ?? '').split(delimiter);
  const found = NAMES.flatMap((name) => folders.map((folder) => join(folder, name))).find(isExecutable);
  if (!found) throw new Error(`no Chromium: none of ${NAMES.join(', ')} is in PATH; set CHROMIUM to its program`);
  return found;
}

function isExecutable(file) {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Serves `page/` and LZ-string on a free port of the loopback address: camera, microphone and WebCrypto need such an origin. */
async function servePage() {
  const server = createServer(({ url }, response) => {
    const name = url.slice(1);
    try {
      if (!/^[a-z-]+\.(js|html)$/.test(name)) throw new Error('no such file');
      const body = readFileSync(name === 'lz-string.js' ? LZ_STRING : join(PAGE, name));
      response.setHeader('content-type', name.endsWith('.html') ? 'text/html' : 'text/javascript').end(body);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((ready, failed) => server.once('error', failed).listen(0, '127.0.0.1', ready));
  return server;
}
