#!/usr/bin/env python3
"""Speech quality by PESQ wideband (ITU-T P.862.2).

Compares a degraded recording with its reference and prints one JSON object:
{"pesq_wb": 4.41, "parts": 1}. pesq_wb is null, with the reason under "error", where there is no
speech to compare or a package is missing.

Example: scripts/pesq.py spoken.wav heard.wav --offset-ms 61.5
"""

import argparse
import json
import math
import os
import sys

# This file must not stand in the way of the package of the same name.
sys.path = [folder for folder in sys.path if not os.path.isfile(os.path.join(folder, "pesq.py"))]

RATE = 16_000
# PESQ aligns short recordings well and long ones badly.
PART_SECONDS = 10
SHORTEST_SECONDS = 2


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("reference", help="WAV as spoken")
    parser.add_argument("degraded", help="WAV as heard")
    parser.add_argument(
        "--offset-ms",
        type=float,
        default=0.0,
        help="how much later the degraded recording has the same sound (default 0)",
    )
    args = parser.parse_args()
    try:
        result = measure(args.reference, args.degraded, args.offset_ms)
    except Exception as error:  # whatever is wrong, the caller gets JSON
        result = {"pesq_wb": None, "parts": 0, "error": f"{type(error).__name__}: {error}"}
    json.dump(result, sys.stdout)
    print()


def measure(reference_path, degraded_path, offset_ms):
    from pesq import NoUtterancesError, pesq

    reference, degraded = load(reference_path), load(degraded_path)
    offset = round(offset_ms * RATE / 1000)
    # What was said before anybody listened is not a matter of quality.
    reference, degraded = reference[max(-offset, 0) :], degraded[max(offset, 0) :]
    length = min(len(reference), len(degraded))
    scores = []
    for start, end in parts(length):
        try:
            scores.append(pesq(RATE, reference[start:end], degraded[start:end], "wb"))
        except NoUtterancesError:
            continue  # a pause
    if not scores:
        return {"pesq_wb": None, "parts": 0, "error": "no speech in common"}
    return {"pesq_wb": round(sum(scores) / len(scores), 3), "parts": len(scores)}


def load(path):
    """Mono floats at 16 kHz."""
    import numpy
    import soundfile
    from scipy.signal import resample_poly

    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    samples = samples.mean(axis=1)
    divisor = math.gcd(rate, RATE)
    if rate != RATE:
        samples = resample_poly(samples, RATE // divisor, rate // divisor)
    return numpy.asarray(samples, dtype="float32")


def parts(length):
    """Parts of about the same length, none much longer than PART_SECONDS."""
    if length < SHORTEST_SECONDS * RATE:
        return []
    count = max(1, round(length / (PART_SECONDS * RATE)))
    bounds = [length * index // count for index in range(count + 1)]
    return list(zip(bounds, bounds[1:]))


if __name__ == "__main__":
    main()
