import { checkGolden } from './golden.js';
import { Peer } from './peer.js';

/**
 * What the driver calls. Events go back through `tellDriver`, a function that the driver puts into the window.
 */
window.control = {
  /** Makes this page's peer; see {@link Peer} for the options. */
  open(options) {
    window.peer = new Peer(options, (event) => window.tellDriver(event));
  },
  checkGolden,
};
