/** Things that arrive and are waited for, each within a time. */

/** An answer that did not come in time. */
export class NoAnswer extends Error {
  name = 'NoAnswer';
}

export class Mailbox {
  #items = [];
  #waiting = [];
  #closed = null;

  put(item) {
    const index = this.#waiting.findIndex(({ matches }) => matches(item));
    if (index < 0) this.#items.push(item);
    else this.#waiting.splice(index, 1)[0].resolve(item);
  }

  /** Nothing comes any more: who waits, and who asks for what is not here yet, gets `error`. */
  close(error) {
    if (this.#closed) return;
    this.#closed = error;
    for (const { reject } of this.#waiting.splice(0)) reject(error);
  }

  /** Those that nobody took, without taking them. */
  get left() {
    return [...this.#items];
  }

  /**
   * The first item that `matches`, past or to come.
   *
   * @param {string} what for the error: "no `what` within …"
   */
  take(matches, seconds, what) {
    const index = this.#items.findIndex(matches);
    if (index >= 0) return Promise.resolve(this.#items.splice(index, 1)[0]);
    if (this.#closed) return Promise.reject(this.#closed);
    return new Promise((resolve, reject) => {
      const waiter = { matches, resolve: settle(resolve), reject: settle(reject) };
      const timer = setTimeout(() => {
        this.#waiting.splice(this.#waiting.indexOf(waiter), 1);
        reject(new NoAnswer(`no ${what} within ${seconds} s`));
      }, seconds * 1000);
      function settle(then) {
        return (value) => {
          clearTimeout(timer);
          then(value);
        };
      }
      this.#waiting.push(waiter);
    });
  }
}
