/** The least power of two that is not below `length`. */
export function nextPowerOfTwo(length) {
  return 2 ** Math.ceil(Math.log2(Math.max(1, length)));
}

/** The discrete Fourier transform, in place, of a power of two of values. */
export function fft({ real, imaginary }) {
  const size = real.length;
  for (let at = 1, mirrored = 0; at < size; at += 1) {
    let bit = size >> 1;
    for (; mirrored & bit; bit >>= 1) mirrored ^= bit;
    mirrored ^= bit;
    if (at < mirrored) {
      [real[at], real[mirrored]] = [real[mirrored], real[at]];
      [imaginary[at], imaginary[mirrored]] = [imaginary[mirrored], imaginary[at]];
    }
  }
  for (let span = 2; span <= size; span *= 2) {
    for (let turn = 0; turn < span / 2; turn += 1) {
      const angle = (-2 * Math.PI * turn) / span;
      const [cosine, sine] = [Math.cos(angle), Math.sin(angle)];
      for (let low = turn; low < size; low += span) {
        const high = low + span / 2;
        const re = real[high] * cosine - imaginary[high] * sine;
        const im = real[high] * sine + imaginary[high] * cosine;
        real[high] = real[low] - re;
        imaginary[high] = imaginary[low] - im;
        real[low] += re;
        imaginary[low] += im;
      }
    }
  }
}
