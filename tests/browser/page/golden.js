import { fromHex, hex } from './bytes.js';
import { decryptFrame, encryptFrame, frameKey } from './frames.js';
import { isSentKey, mediaKey } from './keys.js';
import { callIdOf, encodeMessage, parseLine, PeerMisbehaved, readAnswer, readExtra, readInvitation, readOffer } from './messages.js';

const CALL = '"params":{"callId":"luuFPHrkierdJ2FPLb8Nyw=="';
/** Lines that no peer may send. */
const REFUSED = [
  '',
  'not JSON',
  '1',
  '{"event":"x.call.end"}',
  `{"v":"one","event":"x.call.end",${CALL}}}`,
  '{"event":"x.call.end","params":{"callId":"luuFPHrkierdJ2FPLb8Nyw"}}',
  `{"event":"x.call.inv",${CALL},"invitation":null}}`,
  `{"event":"x.call.inv",${CALL},"invitation":{"callType":{"media":"audio","capabilities":{"encryption":true}}}}}`,
  `{"event":"x.call.inv",${CALL},"invitation":{"callVRange":null,"callType":{"media":"audio","capabilities":{"encryption":false}}}}}`,
  `{"event":"x.call.extra",${CALL},"extra":{"rtcExtraInfo":{"rtcIceCandidates":"[]"}}}}`,
];
const READERS = { 'x.call.inv': readInvitation, 'x.call.offer': readOffer, 'x.call.answer': readAnswer, 'x.call.extra': readExtra };

const PKCS8_PREFIX = '302e020100300506032b656e04220420';

/**
 * Checks this page's frames, LZ-string, keys and messages against bytes that SimpleX Chat's programs produced.
 * @returns {Promise<{checks: number, wrong: string[]}>}
 */
export async function checkGolden(callFrames, chatCalls) {
  const result = { checks: 0, wrong: [] };
  const expect = (name, found, wanted) => {
    result.checks += 1;
    if (found !== wanted) result.wrong.push(`${name}: ${found} is not ${wanted}`);
  };
  await checkFrames(callFrames, expect);
  for (const { name, text, lz_base64: packed } of callFrames.lz_string) {
    expect(`compress ${name}`, LZString.compressToBase64(text), packed);
    expect(`decompress ${name}`, LZString.decompressFromBase64(packed), text);
    expect(`decompress ${name} without padding`, LZString.decompressFromBase64(packed.replace(/=+$/, '')), text);
  }
  await checkKeys(chatCalls.calls, expect);
  for (const { event, text } of chatCalls.messages) checkMessage(event, text, expect);
  for (const line of REFUSED) expect(`refusal of ${line}`, refuses(line), true);
  return result;
}

async function checkFrames({ key: keyHex, frames, tampered }, expect) {
  const key = await frameKey(fromHex(keyHex));
  for (const { name, frame_type: type, iv, frame_in: plain, frame_out: sealed, decrypts_to: opened } of frames) {
    expect(`encrypt ${name}`, hex(await encryptFrame(key, fromHex(plain), type, fromHex(iv))), sealed);
    expect(`decrypt ${name}`, hex(await decryptFrame(key, fromHex(sealed), type)), opened === 'same' ? plain : opened);
  }
  for (const { name, frame_type: type, frame_out: sealed, result } of tampered) {
    const outcome = await decryptFrame(key, fromHex(sealed), type).then(() => 'ok', () => 'error');
    expect(`decrypt ${name}`, outcome, result);
  }
}

async function checkKeys(calls, expect) {
  for (const call of calls.filter(({ caller_dh_private: secret }) => secret)) {
    for (const [mine, theirs] of [['caller', 'callee'], ['callee', 'caller']]) {
      const der = fromHex(PKCS8_PREFIX + call[`${mine}_dh_private`]);
      const privateKey = await crypto.subtle.importKey('pkcs8', der, { name: 'X25519' }, false, ['deriveBits']);
      const peerKey = call[`${theirs}_dh_public_as_sent`];
      expect(`${theirs}'s key is well-formed`, isSentKey(peerKey), true);
      const key = async (version) => hex(await mediaKey({ version, callId: call.call_id, privateKey, peerKey }));
      expect(`version 1 key of the ${mine}`, await key(1), call.x25519_shared_secret);
      expect(`version 2 key of the ${mine}`, await key(2), call.computed_call_version_2_key);
    }
  }
}

function checkMessage(event, text, expect) {
  const [message] = parseLine(text);
  const { v, msgId } = JSON.parse(text);
  expect(`${event} written again`, encodeMessage(v, event, message.params, msgId), text);
  expect(`${event} has a call id`, callIdOf(message).length, 24);
  READERS[event]?.(message);
}

function refuses(line) {
  try {
    for (const message of parseLine(line)) {
      callIdOf(message);
      READERS[message.event]?.(message);
    }
    return false;
  } catch (error) {
    return error instanceof PeerMisbehaved;
  }
}
