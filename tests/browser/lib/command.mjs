import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

/**
 * A program that speaks chat messages on its standard input and output, one a line, as the other end of a call.
 * Its standard error goes to ours.
 */
export class Command {
  #child;
  #listener = () => {};

  /** Resolves with `{exitStatus, signal, error}` once the program is gone and its last line was handed on. */
  gone;

  /** @param {string[]} words program and arguments */
  constructor([program, ...args]) {
    // Its own process group, so that whatever it starts can be ended with it.
    this.#child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'], detached: true });
    this.#child.stdin.on('error', () => {});
    createInterface({ input: this.#child.stdout }).on('line', (line) => this.#listener(line));
    this.gone = new Promise((resolve) => {
      this.#child.on('error', (error) => resolve({ exitStatus: null, signal: null, error: error.message }));
      this.#child.on('close', (exitStatus, signal) => resolve({ exitStatus, signal, error: null }));
    });
    process.on('exit', this.kill);
    this.gone.then(() => process.off('exit', this.kill));
  }

  /** Hands every line of its standard output to `listener`. */
  onMessage(listener) {
    this.#listener = listener;
  }

  /** Writes one line to its standard input. */
  deliver(line) {
    if (this.#child.stdin.writable) this.#child.stdin.write(`${line}\n`);
  }

  /** Kills the program and what it started. */
  kill = () => {
    if (this.#child.pid === undefined) return;
    try {
      process.kill(-this.#child.pid, 'SIGKILL');
    } catch {
      // The group is gone already.
    }
  };
}
