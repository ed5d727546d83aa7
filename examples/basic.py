"""Count: report START, START + STEPSIZE, ... as the metric `value`, one point every PAUSE seconds.

The import is the one of scripts written for Spell, which Augury serves inside a run. No package is needed:

    augury hyper grid --param a=0,2,4 --param b=1.3,1.7 -- \
        python basic.py --start :a: --stepsize :b: --steps 30
"""

import argparse
import time

try:
    from spell.metrics import send_metric
except ImportError:  # outside a run there is no `spell`
    from augury_sdk import send_metric


def main():
    """Read the options and count."""
    parser = argparse.ArgumentParser(description="Report a series of numbers.")
    parser.add_argument("--start", type=float, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--stepsize", type=float, required=True)
    parser.add_argument("--pause", type=float, default=1, metavar="SECONDS")
    options = parser.parse_args()
    for step in range(options.steps):
        if step:
            time.sleep(options.pause)
        value = options.start + step * options.stepsize
        send_metric("value", value)
        print(value, flush=True)


if __name__ == "__main__":
    main()
