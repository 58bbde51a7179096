import { CandidateBatches } from './candidates.js';

/** Raw media: echo cancellation, noise suppression and gain control would change what the test compares. */
const MICROPHONE = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
const CAMERA = { width: 640, height: 480, frameRate: 15 };

/**
 * The WebRTC half of a call. The callee makes the offer.
 *
 * The new generation has four transceivers in fixed order (microphone, camera, screen audio, screen video) even in an audio
 * call; the old one has one transceiver for each track that it sends.
 */
export class CallConnection {
  #media;
  #generation;
  #protection;
  #early = [];

  /**
   * @param {{media: 'audio'|'video', generation: 'new'|'old'}} options
   * @param {object|null} protection frame encryption, or null where the call has none
   */
  constructor({ media, generation }, protection) {
    this.#media = media;
    this.#generation = generation;
    this.#protection = protection;
    this.pc = new RTCPeerConnection({ encodedInsertableStreams: protection !== null });
    this.candidates = new CandidateBatches(this.pc);
  }

  /** Opens microphone and camera and sets the local offer. */
  async makeOffer() {
    await this.#openTracks();
    if (this.#generation === 'old') this.#addTracks();
    else await this.#addFourTransceivers();
    return this.#setLocal(await this.pc.createOffer());
  }

  /** Takes the peer's offer and sets the local answer. */
  async makeAnswer(offer) {
    await this.#openTracks();
    await this.#setRemote(offer);
    if (this.#generation === 'old') this.#addTracks();
    else await this.#fillTransceivers();
    return this.#setLocal(await this.pc.createAnswer());
  }

  /** Takes the peer's answer. */
  takeAnswer(answer) {
    return this.#setRemote(answer);
  }

  /** Adds the peer's candidates, or keeps them until its description is there. */
  async addCandidates(candidates) {
    if (this.pc.remoteDescription === null) this.#early.push(...candidates);
    else for (const candidate of candidates) await this.pc.addIceCandidate(candidate);
  }

  /** The transceiver of the peer's microphone or camera: the first of its kind. */
  first(kind) {
    return this.pc.getTransceivers().find(({ receiver }) => receiver.track.kind === kind);
  }

  /** Closes everything that the call opened. */
  close() {
    this.candidates.stop();
    this.pc.close();
    this.#protection?.close();
    this.stream?.getTracks().forEach((track) => track.stop());
  }

  async #openTracks() {
    this.stream = await navigator.mediaDevices.getUserMedia({
      audio: MICROPHONE,
      video: this.#media === 'video' ? CAMERA : false,
    });
  }

  async #addFourTransceivers() {
    for (const kind of ['audio', 'video', 'audio', 'video']) this.pc.addTransceiver(kind, { direction: 'sendrecv' });
    await this.#fillTransceivers();
  }

  async #fillTransceivers() {
    for (const transceiver of this.pc.getTransceivers()) {
      transceiver.direction = 'sendrecv';
      this.#prepare(transceiver);
    }
    for (const track of this.stream.getTracks()) await this.first(track.kind)?.sender.replaceTrack(track);
  }

  #addTracks() {
    for (const track of this.stream.getTracks()) this.pc.addTrack(track, this.stream);
    for (const transceiver of this.pc.getTransceivers()) this.#prepare(transceiver);
  }

  #prepare(transceiver) {
    this.#protection?.protect(transceiver);
    if (transceiver.receiver.track.kind === 'video') transceiver.setCodecPreferences(codecsWithVp8First());
  }

  async #setLocal(description) {
    await this.pc.setLocalDescription(description);
    return description;
  }

  async #setRemote(description) {
    await this.pc.setRemoteDescription(description);
    await this.addCandidates(this.#early.splice(0));
  }
}

function codecsWithVp8First() {
  const isVp8 = ({ mimeType }) => mimeType === 'video/VP8';
  const { codecs } = RTCRtpReceiver.getCapabilities('video');
  return [...codecs.filter(isVp8), ...codecs.filter((codec) => !isVp8(codec))];
}
