"""The job that every rival does: an exponential mean and a fading least-squares slope per patient. Only the standard library."""

HALF_LIFE_S = 28 * 86400.0
FADE = 0.1


def step(state, at, value):
    """One reading into a patient's numbers: (new state, exponential mean, slope in mmHg per day)."""
    if state is None:
        return [at, value, 1.0, 0.0, 0.0, value, 0.0], value, 0.0
    last, mean, n, t, tt, y, ty = state
    gap = (at - last) / 86400.0
    keep = 0.5 ** ((at - last) / HALF_LIFE_S)
    # Times count backwards from the newest reading, so that sums stay small however long somebody measures.
    tt, t, ty = tt - 2 * gap * t + gap * gap * n, t - gap * n, ty - gap * y
    n, t, tt, y, ty = n * keep + 1.0, t * keep, tt * keep, y * keep + value, ty * keep
    mean += FADE * (value - mean)
    spread = n * tt - t * t
    return [at, mean, n, t, tt, y, ty], mean, (n * ty - t * y) / spread if spread > 1e-9 else 0.0
