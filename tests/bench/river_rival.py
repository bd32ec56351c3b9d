"""River at the same job, row by row in memory, without broker or durable state: its learners know no time between rows.

`python -m tests.bench.river_rival READINGS PATIENTS`, run by the rivals' own environment; prints one JSON line.
"""

import json
import random
import sys
import time

from river import drift, linear_model, preprocessing, stats

readings, patients = map(int, sys.argv[1:])
draw = random.Random(7)
rows = [(draw.randrange(patients), n / patients / 2, 120 + draw.gauss(0, 9)) for n in range(readings)]
told = {}


def timed(name, new, use):
    held = {}
    began = time.process_time()
    for who, day, value in rows:
        if who not in held:
            held[who] = new()
        use(held[who], day, value)
    told[name] = readings / (time.process_time() - began)


def mean_and_slope(kept, day, value):
    mean, line = kept
    mean.update(value)
    line.predict_one({"day": day})
    line.learn_one({"day": day}, value)


timed(
    "mean and slope",
    lambda: (stats.EWMean(0.1), preprocessing.StandardScaler() | linear_model.LinearRegression()),
    mean_and_slope,
)
timed("Page-Hinkley", drift.PageHinkley, lambda kept, _, value: kept.update(value))
print(json.dumps(told))
