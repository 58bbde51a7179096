const FIRST_BATCH_AFTER_MS = 750;
const NEXT_BATCH_AFTER_MS = 1500;
const GATHERED_FOR_MS = 12_000;

/**
 * Gathers a connection's ICE candidates into batches: the first goes with the session, later ones follow.
 * Make it before the local description is set.
 */
export class CandidateBatches {
  #waiting = [];
  #complete;
  #timer;

  constructor(pc) {
    this.#complete = new Promise((resolve) => {
      pc.addEventListener('icecandidate', ({ candidate }) => {
        if (candidate === null) resolve();
        else if (candidate.candidate !== '') this.#waiting.push(candidate.toJSON());
      });
    });
  }

  /** What has come when gathering ends, or after 750 ms. */
  async first() {
    await Promise.race([this.#complete, new Promise((resolve) => setTimeout(resolve, FIRST_BATCH_AFTER_MS))]);
    return this.#take();
  }

  /** Hands what comes later to `send`, every 1.5 s for 12 s. */
  sendLater(send) {
    const until = performance.now() + GATHERED_FOR_MS;
    this.#timer = setInterval(() => {
      if (this.#waiting.length > 0) send(this.#take());
      if (performance.now() >= until) this.stop();
    }, NEXT_BATCH_AFTER_MS);
  }

  /** Sends nothing more. */
  stop() {
    clearInterval(this.#timer);
  }

  #take() {
    return this.#waiting.splice(0);
  }
}
