/**
 * The peer in a page of Chromium, as the driver sees it. It speaks to the other end of a call through `onMessage` and `deliver`.
 */
export class PagePeer {
  #page;
  #listener = () => {};

  /** Resolves when the call is connected. */
  connected;

  /** Resolves with the page's report when the call is over, however it ended. Always after `connected`, if that was reached. */
  over;

  static async open({ page, load }, options) {
    const peer = new PagePeer();
    peer.#page = page;
    const happened = {};
    peer.connected = new Promise((resolve) => (happened.connected = resolve));
    peer.over = new Promise((resolve) => (happened.over = ({ report }) => resolve(report)));
    happened.message = ({ text }) => peer.#listener(text);
    const lost = (error) => happened.over({ report: { error } });
    page.on('crash', () => lost('the page crashed'));
    page.on('close', () => lost('the page was closed'));
    page.on('pageerror', (error) => lost(`error in the page: ${error.message}`));
    await page.exposeFunction('tellDriver', (event) => happened[event.type](event));
    await load();
    await page.evaluate((given) => window.control.open(given), options);
    return peer;
  }

  /** Starts the call: the caller invites, the callee waits. */
  async start(role) {
    if (role === 'caller') await this.#page.evaluate(() => window.peer.call());
  }

  /** Hands every chat message that the page sends to `listener`. */
  onMessage(listener) {
    this.#listener = listener;
  }

  /** Gives the page a line of chat messages. */
  deliver(line) {
    return this.#tell((text) => window.peer.receive(text), line);
  }

  /** Ends the call from the page's side. */
  end() {
    return this.#tell(() => window.peer.end());
  }

  /** Makes the page give up, unless its call is over. */
  abandon(reason) {
    return this.#tell((text) => window.peer.abandon(text), reason);
  }

  /** Closes the page. */
  close() {
    return this.#page.context().close();
  }

  /** A page that is gone has reported so through `over`. */
  #tell(work, argument) {
    return this.#page.evaluate(work, argument).catch(() => {});
  }
}
