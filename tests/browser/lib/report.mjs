import { writeWav } from './wav.mjs';

/**
 * Takes the recorded sound out of a page's report and writes it where that is wanted.
 * @returns {object} the report without the sound
 */
export function keepSound(report, audioOut) {
  if (!report.heard) return report;
  const { pcm, ...heard } = report.heard;
  if (audioOut !== undefined) writeWav(audioOut, heard.sampleRate, Buffer.from(pcm, 'base64'));
  return { ...report, heard };
}
