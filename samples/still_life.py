"""A still life, rendered by sphere tracing a signed distance field: fruit, a vase and a bowl by a window.

Sphere tracing follows Hart (1996), the Fresnel term Schlick (1994).
"""

import numpy as np

from noise import Floats, fractal, value_noise

WIDTH, HEIGHT, OVERSAMPLING = 768, 512, 2
CAMERA = np.array([0.25, 2.0, 6.2], np.float32)
TARGET = np.array([0.2, 0.80, 0.0], np.float32)
LENS = 3.05
SUN = np.array([-0.72, 0.78, 0.42], np.float32) / np.float32(np.linalg.norm([-0.72, 0.78, 0.42]))
SUN_COLOUR = np.array([1.0, 0.90, 0.74], np.float32) * 2.3
SKY_COLOUR = np.array([0.55, 0.66, 0.85], np.float32) * 0.42

TABLE, WALL, VASE, BOWL, APPLE, APPLE_2, ORANGE, PEAR, LIME, STEM = range(10)
GLOSS = np.array([0.12, 0.0, 0.55, 0.5, 0.35, 0.35, 0.14, 0.2, 0.25, 0.0], np.float32)

VASE_AT, BOWL_AT = np.float32([-1.45, 0, -0.75]), np.float32([0.95, 0, -0.35])
APPLE_AT, APPLE_2_AT = np.float32([-0.42, 0.42, 0.75]), np.float32([0.62, 0.92, -0.35])
ORANGE_AT, LIME_AT = np.float32([1.3, 0.93, -0.45]), np.float32([2.05, 0.27, 0.75])
PEAR_AT = np.float32([-1.62, 0.36, 0.85])


def render() -> Floats:
    """The picture in linear light, float32 [HEIGHT, WIDTH, 3]."""
    forward = (TARGET - CAMERA) / np.linalg.norm(TARGET - CAMERA)
    right = np.cross(forward, [0, 1, 0])
    right /= np.linalg.norm(right)
    up = np.cross(right, forward)
    rows, columns = HEIGHT * OVERSAMPLING, WIDTH * OVERSAMPLING
    picture = np.empty((rows, columns, 3), np.float32)
    x = (np.arange(columns) + 0.5 - columns / 2) / rows * 2
    for first in range(0, rows, 64):
        y = -(np.arange(first, min(first + 64, rows)) + 0.5 - rows / 2) / rows * 2
        rays = forward * LENS + x[None, :, None] * right + y[:, None, None] * up
        rays = (rays / np.linalg.norm(rays, axis=2, keepdims=True)).reshape(-1, 3).astype(np.float32)
        light = _trace(np.broadcast_to(CAMERA, rays.shape), rays, bounces=1)
        picture[first : first + 64] = light.reshape(-1, columns, 3)
    return picture.reshape(HEIGHT, OVERSAMPLING, WIDTH, OVERSAMPLING, 3).mean((1, 3))


# ------------------------------------------------------------------------------------------------ shapes


def _distances(p: Floats) -> Floats:
    """Signed distance of points [N, 3] to every shape, float32 [10, N]; a lower bound of the true distance."""
    d = np.empty((10, len(p)), np.float32)
    d[TABLE] = p[:, 1]
    d[WALL] = p[:, 2] + 3.2
    d[VASE] = _vase(p - VASE_AT)
    d[BOWL] = _bowl(p - BOWL_AT)
    d[APPLE] = _apple(p - APPLE_AT)
    d[APPLE_2] = _apple(_tilted(p - APPLE_2_AT))
    d[ORANGE] = _length(p - ORANGE_AT) - 0.41
    d[PEAR] = _pear(_lying(p - PEAR_AT))
    d[LIME] = (_length((p - LIME_AT) * np.float32([0.8, 1, 1])) - 0.27) * 0.8
    d[STEM] = np.minimum.reduce(
        [
            _capsule(p - APPLE_AT, np.float32([0, 0.2, 0]), np.float32([0.07, 0.52, 0.03]), 0.022),
            _capsule(_tilted(p - APPLE_2_AT), np.float32([0, 0.2, 0]), np.float32([-0.06, 0.5, 0.02]), 0.022),
            _capsule(_lying(p - PEAR_AT), np.float32([0, 0.6, 0]), np.float32([0.05, 0.98, 0.06]), 0.022),
        ]
    )
    return d


def _vase(p: Floats) -> Floats:
    """Distance to a hollow surface of revolution with belly, neck and flared lip."""
    y = p[:, 1]
    t = np.clip(y / 2.1, 0, 1)
    profile = 0.30 + 0.36 * np.exp(-(((t - 0.36) / 0.24) ** 2)) + 0.20 * np.clip(t - 0.78, 0, 1) ** 1.5 * 6 - 0.10 * t
    shell = np.abs(_length(p[:, [0, 2]]) - profile + 0.03) - 0.03
    return np.maximum(np.maximum(shell, y - 2.1), -y).astype(np.float32) * np.float32(0.6)


def _bowl(p: Floats) -> Floats:
    """Distance to half a hollow sphere on a foot."""
    centre = p - np.float32([0, 1.08, 0])
    shell = np.abs(_length(centre * np.float32([1, 1.15, 1])) - 1.12) - 0.035
    cup = np.maximum(shell * 0.85, p[:, 1] - 0.78)
    foot = np.maximum(_length(p[:, [0, 2]]) - 0.42, p[:, 1] - 0.16)
    return np.minimum(cup, foot)


def _apple(p: Floats) -> Floats:
    """Distance to an apple: a self-intersecting torus, for its dimples, narrowed towards the bottom."""
    taper = 1 + 0.16 * np.clip(-p[:, 1], -0.4, 0.4) / 0.4
    ring = _length(p[:, [0, 2]]) * taper - 0.17
    return (np.hypot(ring, p[:, 1]) - 0.32).astype(np.float32) * np.float32(0.8)


def _pear(p: Floats) -> Floats:
    """Distance to the smooth union of two spheres."""
    a, b = _length(p) - 0.36, _length(p - np.float32([0, 0.5, 0])) - 0.19
    k = 0.28
    h = np.clip(0.5 + 0.5 * (b - a) / k, 0, 1)
    return (b + (a - b) * h - k * h * (1 - h)).astype(np.float32)


def _capsule(p: Floats, a: Floats, b: Floats, radius: float) -> Floats:
    """Distance to a capsule between the points `a` and `b`."""
    along = np.clip((p - a) @ (b - a) / ((b - a) @ (b - a)), 0, 1)
    return _length(p - a - along[:, None] * (b - a)) - np.float32(radius)


def _tilted(p: Floats) -> Floats:
    return _rotated(p, 0.5, -0.35)


def _lying(p: Floats) -> Floats:
    return _rotated(p, -1.15, 0.35)


def _rotated(p: Floats, about_z: float, about_x: float) -> Floats:
    c, s, e, f = np.cos(about_z), np.sin(about_z), np.cos(about_x), np.sin(about_x)
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.array([[1, 0, 0], [0, e, -f], [0, f, e]])
    return p @ turn.astype(np.float32)


def _length(v: Floats) -> Floats:
    return np.sqrt((v * v).sum(1))


# ------------------------------------------------------------------------------------------------ light


def _trace(origin: Floats, rays: Floats, bounces: int) -> Floats:
    """Light that arrives along rays, float32 [N, 3]."""
    distance = _march(origin, rays)
    p = origin + rays * distance[:, None]
    hit = _distances(p).argmin(0)
    colour, bump = _surface(p, hit)
    normal = _normal(p) + bump
    normal /= _length(normal)[:, None]

    facing = np.clip(normal @ SUN, 0, 1) * _shadow(p + normal * 0.01)
    open_sky = _openness(p, normal)
    window = _blinds(p)
    light = SUN_COLOUR * (facing * window)[:, None]
    light = light + SKY_COLOUR * (open_sky * (0.65 + 0.35 * normal[:, 1]))[:, None]
    light = light + np.float32([0.30, 0.20, 0.12]) * (0.25 * open_sky * np.clip(-normal[:, 1] + 0.3, 0, 1))[:, None]
    result = colour * light

    gloss = GLOSS[hit]
    half = SUN - rays
    half /= _length(half)[:, None]
    shine = np.clip((normal * half).sum(1), 0, 1) ** 90 * (gloss * facing * window > 0) * facing * gloss * window
    result += SUN_COLOUR * (1.6 * shine)[:, None]
    if bounces:
        fresnel = gloss * (0.06 + 0.94 * (1 - np.clip(-(normal * rays).sum(1), 0, 1)) ** 5)
        mirror = np.flatnonzero(fresnel > 0.004)
        out = rays[mirror] - 2 * (rays[mirror] * normal[mirror]).sum(1)[:, None] * normal[mirror]
        reflected = _trace(p[mirror] + normal[mirror] * 0.02, out, bounces - 1)
        result[mirror] += (reflected - result[mirror]) * fresnel[mirror, None]
    return result


def _march(origin: Floats, rays: Floats, steps: int = 160, far: float = 14.0) -> Floats:
    """Distance to the first surface along each ray."""
    distance = np.full(len(rays), 0.01, np.float32)
    active = np.arange(len(rays))
    for _ in range(steps):
        free = _distances(origin[active] + rays[active] * distance[active, None]).min(0)
        distance[active] += free
        active = active[(free > 0.0006) & (distance[active] < far)]
        if not len(active):
            break
    return np.minimum(distance, far)


def _shadow(p: Floats, softness: float = 13.0) -> Floats:
    """Visible fraction of the sun, 0..1, estimated from the closest distance of the ray towards it to any shape."""
    seen = np.ones(len(p), np.float32)
    distance = np.full(len(p), 0.03, np.float32)
    active = np.arange(len(p))
    for _ in range(60):
        free = _distances(p[active] + SUN * distance[active, None])[VASE:].min(0)
        seen[active] = np.minimum(seen[active], np.clip(softness * free / distance[active] * 0.5 + 0.5, 0, 1))
        distance[active] += np.clip(free, 0.025, 0.3)
        active = active[(seen[active] > 0.004) & (distance[active] < 6)]
        if not len(active):
            break
    return seen * seen * (3 - 2 * seen)


def _openness(p: Floats, normal: Floats) -> Floats:
    """Ambient visibility of a point, 0.06..1, from distances to the shapes along its normal."""
    covered = np.zeros(len(p), np.float32)
    for k, reach in enumerate((0.04, 0.12, 0.26, 0.5)):
        covered += np.clip(reach - _distances(p + normal * reach).min(0), 0, None) / reach * 0.5**k
    return np.clip(1 - 0.62 * covered, 0.06, 1)


def _blinds(p: Floats) -> Floats:
    """Transmission of the window, 0.12..1: blurred shadows of its bars on the wall and the table."""
    along = p - SUN * ((p[:, 0] + 7) / SUN[0])[:, None]  # intersection of the ray to the sun with the window plane x = -7
    bars = np.minimum(np.abs((along[:, 2] - 3.6) % 3.6 - 1.8), np.abs((along[:, 1] - 6.9) % 5.2 - 2.6))
    return 0.12 + 0.88 * np.clip((bars - 0.05) / 0.35, 0, 1)


def _normal(p: Floats) -> Floats:
    """Unit normal of the nearest shape, from finite differences at the corners of a tetrahedron."""
    steps = np.float32([[1, -1, -1], [-1, -1, 1], [-1, 1, -1], [1, 1, 1]])
    gradient = sum(step * _distances(p + step * np.float32(0.0012)).min(0)[:, None] for step in steps)
    return gradient / np.maximum(_length(gradient), 1e-9)[:, None]


# ------------------------------------------------------------------------------------------------ surfaces


def _surface(p: Floats, hit: np.ndarray) -> tuple[Floats, Floats]:
    """Linear colour 0..1 and a change of the normal for points [N, 3] on the shapes `hit` [N]."""
    colour, bump = np.zeros_like(p), np.zeros_like(p)
    paints = (_wood, _plaster, _glaze, _blue_bowl, _red, _yellow_red, _orange, _pear_skin, _lime, _bark)
    for shape, paint in enumerate(paints):
        chosen = np.flatnonzero(hit == shape)
        if len(chosen):
            colour[chosen], bump[chosen] = paint(p[chosen])
    return colour, bump


def _wood(p: Floats) -> tuple[Floats, Floats]:
    plank = np.floor(p[:, 2] / 0.62 + 0.31)
    q = np.stack([p[:, 0] * 0.5 + plank * 7.7, plank * 3.1, p[:, 2] * 2.2], 1).astype(np.float32)
    rings = np.sin(26 * (q[:, 2] + 0.35 * fractal(q * np.float32([1, 1, 1.4]), 3, 4)))
    fibre = fractal(p * np.float32([6, 1, 90]) + plank[:, None].astype(np.float32), 9, 3)
    tone = 0.5 + 0.22 * rings + 0.45 * fibre + 0.16 * np.sin(plank * 12.9)
    colour = _blend(np.float32([0.105, 0.043, 0.018]), np.float32([0.30, 0.142, 0.060]), tone)
    gap = np.clip(np.abs((p[:, 2] / 0.62 + 0.31) % 1 - 0.5) * 2 - 0.972, 0, 1) / 0.028
    colour *= (1 - 0.8 * gap)[:, None]
    bump = np.stack([0 * fibre, 0 * fibre, 0.05 * fibre], 1)
    return colour, bump.astype(np.float32)


def _plaster(p: Floats) -> tuple[Floats, Floats]:
    rough = fractal(p * np.float32(1.1), 21, 6)
    grain = fractal(p * np.float32(14), 25, 3)
    colour = _blend(np.float32([0.20, 0.235, 0.235]), np.float32([0.315, 0.34, 0.325]), 0.5 + 0.7 * rough)
    slope = [fractal((p + np.float32([d == 0, d == 1, 0]) * 0.04) * np.float32(14), 25, 3) - grain for d in (0, 1, 2)]
    return colour, np.stack(slope, 1) * np.float32(0.12)


def _glaze(p: Floats) -> tuple[Floats, Floats]:
    q = p - VASE_AT
    angle = np.arctan2(q[:, 2], q[:, 0])
    wave = 0.045 * np.sin(angle * 9)
    runs = fractal(np.stack([np.cos(angle) * 2, q[:, 1] * 0.8, np.sin(angle) * 2], 1).astype(np.float32) * 2, 31, 5)
    edge = 1.35 + wave + 0.16 * runs
    top = _step(q[:, 1], edge, 0.03)
    body = _blend(np.float32([0.62, 0.55, 0.44]), np.float32([0.80, 0.74, 0.63]), 0.5 + 0.8 * runs)
    glaze = _blend(np.float32([0.02, 0.10, 0.13]), np.float32([0.07, 0.27, 0.27]), 0.4 + 0.9 * runs)
    colour = body + (glaze - body) * top[:, None]
    bands = _step(np.abs(q[:, 1] - 0.62 - 0.02 * np.sin(angle * 14)), np.full(len(q), 0.035), 0.008)
    bands = np.minimum(bands, _step(np.abs(q[:, 1] - 0.80), np.full(len(q), 0.012), 0.006))
    colour = np.float32([0.16, 0.06, 0.03]) + (colour - np.float32([0.16, 0.06, 0.03])) * bands[:, None]
    speck = fractal(p * np.float32(24), 36, 2) > 0.42
    return np.where(speck[:, None], colour * 0.45, colour), np.zeros_like(p)


def _blue_bowl(p: Floats) -> tuple[Floats, Floats]:
    q = p - BOWL_AT
    angle = np.arctan2(q[:, 2], q[:, 0])
    petals = np.abs(np.sin(angle * 7)) * 0.13 + 0.40
    line = np.minimum(np.abs(q[:, 1] - petals), np.abs(q[:, 1] - 0.68))
    ink = 1 - _step(line, np.full(len(q), 0.02), 0.01)
    dots = np.hypot((angle * 7 / np.pi) % 1 - 0.5, (q[:, 1] - 0.60) * 5.0) < 0.13
    ink = np.maximum(ink, dots) * (0.75 + 0.4 * fractal(p * np.float32(5), 41, 3))
    china = np.float32([0.78, 0.78, 0.74]) * (1 + 0.05 * fractal(p * np.float32(2), 43, 3))[:, None]
    return china + (np.float32([0.035, 0.07, 0.29]) - china) * np.clip(ink, 0, 1)[:, None], np.zeros_like(p)


def _red(p: Floats) -> tuple[Floats, Floats]:
    return _apple_skin(p - APPLE_AT, np.float32([0.36, 0.022, 0.02]), np.float32([0.62, 0.40, 0.08]), 51)


def _yellow_red(p: Floats) -> tuple[Floats, Floats]:
    return _apple_skin(_tilted(p - APPLE_2_AT), np.float32([0.45, 0.07, 0.03]), np.float32([0.58, 0.50, 0.10]), 61)


def _apple_skin(q: Floats, red: Floats, pale: Floats, seed: int) -> tuple[Floats, Floats]:
    angle = np.arctan2(q[:, 2], q[:, 0])
    around = np.stack([np.cos(angle) * 6, q[:, 1] * 1.2, np.sin(angle) * 6], 1).astype(np.float32)
    streaks = fractal(around * np.float32([1.6, 1, 1.6]), seed, 5)
    ripeness = 0.78 - 1.5 * np.clip(q[:, 1] - 0.12, 0, 1) + 0.9 * streaks + 0.35 * np.sin(angle + seed)
    colour = _blend(pale, red, ripeness)
    dots = value_noise(q * np.float32(30), seed + 7) > 0.80
    return np.where(dots[:, None], colour * 0.6 + pale * 0.3, colour), np.zeros_like(q)


def _orange(p: Floats) -> tuple[Floats, Floats]:
    pores = fractal(p * np.float32(17), 71, 2)
    colour = _blend(np.float32([0.64, 0.20, 0.012]), np.float32([0.80, 0.33, 0.03]), 0.5 + 0.8 * pores)
    q = p * np.float32(17)
    slope = [value_noise(q + 0.35 * np.eye(3, dtype=np.float32)[d], 71) - value_noise(q, 71) for d in range(3)]
    return colour, np.stack(slope, 1) * np.float32(0.22)


def _pear_skin(p: Floats) -> tuple[Floats, Floats]:
    blush = fractal(p * np.float32(1.7), 81, 4)
    colour = _blend(np.float32([0.40, 0.44, 0.06]), np.float32([0.62, 0.50, 0.09]), 0.5 + 1.2 * blush)
    freckles = value_noise(p * np.float32(34), 85) > 0.62
    return np.where(freckles[:, None], colour * np.float32([0.66, 0.56, 0.5]), colour), np.zeros_like(p)


def _lime(p: Floats) -> tuple[Floats, Floats]:
    tone = fractal(p * np.float32(12), 91, 3)
    colour = _blend(np.float32([0.09, 0.22, 0.025]), np.float32([0.22, 0.40, 0.05]), 0.5 + tone)
    return colour, np.stack([tone, value_noise(p * np.float32(12), 95), tone], 1) * np.float32(0.05)


def _bark(p: Floats) -> tuple[Floats, Floats]:
    ridges = fractal(p * np.float32(30), 99, 2)
    return _blend(np.float32([0.06, 0.035, 0.015]), np.float32([0.17, 0.11, 0.05]), ridges), np.zeros_like(p)


def _blend(a: Floats, b: Floats, t: Floats) -> Floats:
    return a + (b - a) * np.clip(t, 0, 1)[:, None].astype(np.float32)


def _step(value: Floats, edge: Floats, width: float) -> Floats:
    """Smoothstep of `width` around `edge`: 0 below, 1 above."""
    t = np.clip((value - edge) / width * 0.5 + 0.5, 0, 1)
    return (t * t * (3 - 2 * t)).astype(np.float32)
